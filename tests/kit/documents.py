"""Documents followed to the letter: their blocks of commands, run in a fresh copy of the repository."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.kit.engines import Docker
from tests.kit.project import ROOT, environment

BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHOWN = {
    "./run-tests": "these tests",
    "./imgbuild build nova ": "the whole of nova is built by other tests",
    "./imgbuild build horizon ": "the three steps from Kolla are gone by tests/e2e/test_plugins.py",
    "./imgbuild -C examples/plugins build horizon ": "the same",
    "./imgbuild diff oci:out:horizon ": "the same",
}
"""Lines that are not run here, and why."""


def checkout(folder: Path) -> Path:
    """A fresh copy of the repository, which finds its libraries there already."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, check=True,
    )  # fmt: skip
    copy = folder / "a clone"
    for name in listed.stdout.decode().split("\0"):
        if name and (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)
    os.utime(copy / "pyproject.toml", (0, 0))
    (copy / ".venv").symlink_to((ROOT / ".venv").resolve())
    return copy


def run(script: str, cwd: Path, cache: Path, env: Mapping[str, str]) -> str:
    """Run a script that says ``imgbuild``: what it prints; it must end well."""
    with tempfile.TemporaryDirectory() as shim:
        program = Path(shim) / "imgbuild"
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m builder.cli.main "$@"\n')
        program.chmod(0o755)
        result = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script], cwd=cwd, capture_output=True, text=True, check=False,
            env=environment(cache, {**env, "PATH": f"{shim}:{os.environ['PATH']}"}),
        )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@contextlib.contextmanager
def followed(
    document: str, checkout: Path, cache: Path, docker: Docker, port: int, env: Mapping[str, str] | None = None
) -> Iterator[str]:
    """Run a document's blocks in one shell, and give their output.

    Args:
        port: a free one, in place of each that the document publishes.
        env: beside what a person has in a terminal.
    """
    lines = "\n".join(BLOCK.findall((checkout / document).read_text())).splitlines()
    script = "\n".join(line for line in lines if not line.startswith(tuple(SHOWN)))
    script = re.sub(r"--publish (\d+):", f"--publish 127.0.0.1:{port}:", script)
    script = re.sub(r"http://localhost:\d+/", f"http://localhost:{port}/", script)
    assert script, "it has something to run"
    place = checkout.parent / "somewhere"
    place.mkdir()
    own = os.environ | {
        "DOCKER_HOST": docker.host, "XDG_CACHE_HOME": str(cache), "PATH": f"{checkout}:{os.environ['PATH']}", **(env or {}),
    }  # fmt: skip
    own.pop("PYTHONPATH", None)
    try:
        result = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=place if document.startswith("docs/") else checkout,
            env=own, text=True, capture_output=True, check=False,
        )  # fmt: skip
        assert result.returncode == 0, result.stdout + result.stderr
        yield result.stdout
    finally:
        for name in docker("ps", "--quiet", "--all").split():
            docker("rm", "--force", name)
