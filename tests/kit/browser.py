"""Debian's Chromium, without a window."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright


@contextlib.contextmanager
def started() -> Iterator[Browser]:
    """A browser for as long as it is used. Skips where there is none."""
    where = shutil.which("chromium")
    if where is None:
        pytest.skip("needs chromium")
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=where, args=["--no-sandbox"])
        yield found
        found.close()
