"""The command line as a user runs it: a project as files, a run as a value."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
IMGBUILD = (sys.executable, "-m", "builder.cli.main")


@dataclass(frozen=True, slots=True)
class Run:
    """How a command ended."""

    code: int
    output: str
    errors: str

    @property
    def json(self) -> Any:
        """Its output as plain data."""
        return json.loads(self.output)


def environment(cache: Path, env: Mapping[str, str] | None = None) -> dict[str, str]:
    """What imgbuild is run with: a store of its own."""
    return {**os.environ, "XDG_CACHE_HOME": str(cache), "PYTHONPATH": str(ROOT), **(env or {})}


def imgbuild(
    *words: str,
    cache: Path,
    cwd: Path = ROOT,
    env: Mapping[str, str] | None = None,
    umask: int = 0o022,
    under: Sequence[str] = (),
) -> Run:
    """Run imgbuild in a process of its own, with a store of its own.

    Args:
        under: a command that runs it, such as ``faketime``.
    """
    result = subprocess.run(
        [*under, *IMGBUILD, *words],
        cwd=cwd, env=environment(cache, env), capture_output=True, text=True, umask=umask, check=False,
    )  # fmt: skip
    return Run(result.returncode, result.stdout, result.stderr)


def project(folder: Path, files: Mapping[str, str]) -> Path:
    """Write a project."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder
