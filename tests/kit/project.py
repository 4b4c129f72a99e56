"""The command line as a user runs it: a project as files, a run as a value."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
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


def own(path: Path, data: bytes) -> None:
    """Give a file other bytes; other stores may have the same file by a link, and keep theirs."""
    path.unlink()
    path.write_bytes(data)


def take_kept(cache: Path) -> None:
    """Give a store the packages of ``$IMGBUILD_TEST_CACHE``, a folder as ``$XDG_CACHE_HOME`` is one; a new one has none yet."""
    kept = os.environ.get("IMGBUILD_TEST_CACHE")
    if kept and (blobs := Path(kept) / "imgbuild/blobs").is_dir():
        shutil.copytree(blobs, cache / "imgbuild/blobs", copy_function=_link)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


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


_PR_SET_CHILD_SUBREAPER = 36


class Running:
    """imgbuild while it runs, as a terminal would start it: the head of a process group."""

    def __init__(self, process: subprocess.Popen[str], known: frozenset[int]) -> None:
        self._process = process
        self._known = known

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def until(self, what: Callable[[], bool], seconds: float = 60) -> None:
        """Wait for something to become true while it runs."""
        deadline = time.monotonic() + seconds
        while not what():
            assert self._process.poll() is None, f"it has ended: {self.end()}"
            assert time.monotonic() < deadline, f"nothing happened: {self._descendants()}"
            time.sleep(0.002)

    def runs(self, program: str) -> bool:
        """Whether it, or what it started, runs a program."""
        return program in self._descendants().values()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal: Ctrl-C to the whole group, as a terminal does, others to the process alone."""
        if number == signal.SIGINT:
            os.killpg(self.pid, number)
        else:
            self._process.send_signal(number)

    def end(self, seconds: float = 60) -> Run:
        """Wait for its end."""
        output, errors = self._process.communicate(timeout=seconds)
        return Run(self._process.returncode, output, errors)

    def left_over(self, seconds: float = 5) -> dict[int, str]:
        """Processes that it started and that run on, after a moment in which the kernel ends them."""
        deadline = time.monotonic() + seconds
        while (found := self._descendants()) and time.monotonic() < deadline:
            time.sleep(0.01)
        return found

    def kill_all(self) -> None:
        """End whatever still runs."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        for pid in self._descendants():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _descendants(self) -> dict[int, str]:
        # Orphans become our children (we are their subreaper): so nothing gets lost.
        parents: dict[int, tuple[int, str]] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    name, _, rest = (entry / "stat").read_text().partition("(")[2].rpartition(")")
                    state, parent = rest.split()[:2]
                    if state == "Z" and int(parent) == os.getpid() and int(entry.name) not in (self.pid, *self._known):
                        os.waitpid(int(entry.name), os.WNOHANG)
                    elif state != "Z":
                        parents[int(entry.name)] = (int(parent), name)
        found: dict[int, str] = {}
        for pid, (above, name) in parents.items():
            line = [pid, above]
            while line[-1] in parents and line[-1] != os.getpid():
                line.append(parents[line[-1]][0])
            if line[-1] == os.getpid() and not self._known & set(line):
                found[pid] = name
        return found


@contextlib.contextmanager
def running(*words: str, cache: Path, cwd: Path, env: Mapping[str, str] | None = None) -> Iterator[Running]:
    """Start imgbuild; whatever of it still runs is ended with the block."""
    prctl = ctypes.CDLL(None).prctl
    prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    known = frozenset(
        int(pid) for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()
    )
    process = subprocess.Popen(
        [*IMGBUILD, *words],
        cwd=cwd, env=environment(cache, env), text=True, process_group=0,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    started = Running(process, known)
    try:
        yield started
    finally:
        started.kill_all()
        for pipe in (process.stdout, process.stderr):
            if pipe:
                pipe.close()
        prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def mounts_with(text: str) -> list[str]:
    """Mounts of any process whose line has a text: what a build leaves mounted."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/mountinfo"):
        with contextlib.suppress(OSError):
            found |= {line for line in path.read_text().splitlines() if text in line}
    return sorted(found)
