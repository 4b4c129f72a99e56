"""Run a command and see what it takes: time on the wall, of the processors, and memory of the whole process tree."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")
_EVERY = 0.05
_PSS_EVERY = 10
"""Samples: the kernel walks all pages of a process to tell its share."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a command took.

    Attributes:
        wall: in seconds.
        cpu: of all processors of the machine but for waiting: right where nothing else runs.
        rss: the largest sum of resident memory of its processes, in bytes; what they share counts for each.
        pss: the same, with what is shared counted once.
        output: what it said.
    """

    wall: float
    cpu: float
    rss: int
    pss: int
    output: str


class Failed(Exception):
    """A command that must not fail did."""


def run(
    argv: Sequence[str], env: Mapping[str, str] | None = None, cwd: Path | None = None, memory: bool = False
) -> Usage:
    """Run a command to its end.

    Args:
        env: added to ours.
        memory: whether to look at its memory while it runs.

    Raises:
        Failed: it ended with another code than 0.
    """
    before, started = busy(), time.perf_counter()
    rss = pss = samples = 0
    with subprocess.Popen(
        argv, env={**os.environ, **(env or {})}, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, errors="replace",
    ) as child:  # fmt: skip
        try:
            while memory and child.poll() is None:
                tree = descendants(child.pid)
                rss = max(rss, sum(map(_rss, tree)))
                if samples % _PSS_EVERY == 0:
                    pss = max(pss, sum(map(_pss, tree)))
                samples += 1
                time.sleep(_EVERY)
            output, _ = child.communicate()
        except BaseException:
            child.terminate()
            raise
    wall, cpu = time.perf_counter() - started, busy() - before
    if child.returncode:
        raise Failed(f"{' '.join(argv)} ended with {child.returncode}:\n{output[-3000:]}")
    return Usage(round(wall, 3), round(cpu, 2), rss, pss, output)


def called(call: Callable[[], object]) -> tuple[float, float]:
    """How long a call takes: on the wall, and of the machine's processors."""
    before, started = busy(), time.perf_counter()
    call()
    return round(time.perf_counter() - started, 3), round(busy() - before, 2)


def busy() -> float:
    """Seconds that the machine's processors have worked."""
    user, nice, system, _idle, _wait, irq, softirq = map(int, Path("/proc/stat").read_text().split()[1:8])
    return (user + nice + system + irq + softirq) / _TICKS


def descendants(root: int) -> tuple[int, ...]:
    """A process and all that come from it."""
    children: dict[int, list[int]] = {}
    for pid, parent in _parents():
        children.setdefault(parent, []).append(pid)
    found = [root]
    for pid in found:
        found += children.get(pid, ())
    return tuple(found)


def _parents() -> Iterator[tuple[int, int]]:
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                yield int(name), int(Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[1])


def _rss(pid: int) -> int:
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    return 0


def _pss(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0
