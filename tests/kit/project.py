"""The command line as a user runs it: a project as files, a run as a value."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


@dataclass(frozen=True, slots=True)
class Run:
    """How a command ended."""

    code: int
    output: str
    errors: str


def imgbuild(
    *words: str, cache: Path, cwd: Path = ROOT, env: Mapping[str, str] | None = None, umask: int = 0o022
) -> Run:
    """Run imgbuild in a process of its own, with a store of its own."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache), "PYTHONPATH": str(ROOT), **(env or {})}
    result = subprocess.run(
        [sys.executable, "-m", "builder.cli.main", *words],
        cwd=cwd, env=environment, capture_output=True, text=True, umask=umask, check=False,
    )  # fmt: skip
    return Run(result.returncode, result.stdout, result.stderr)


def project(folder: Path, files: Mapping[str, str]) -> Path:
    """Write a project."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder
