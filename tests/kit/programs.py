"""Programs of this machine with what they need, for roots that tests make."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest

from builder.formats.places import canonical
from builder.tools.process import run


def programs(names: Iterable[str]) -> dict[str, Path]:
    """Where in a root each file comes from; skips the test if a program is missing."""
    found: dict[str, Path] = {}
    for name in names:
        where = shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin")
        if where is None:
            pytest.skip(f"needs {name}")
        found[canonical(where)] = Path(where).resolve()
        listed = run(["ldd", where], check=False)
        for word in listed.text.split():
            if word.startswith("/") and listed.code == 0:
                found[canonical(word)] = Path(word).resolve()
    return found
