"""In which order tasks begin."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from builder.pipeline.schedule import Task, most_urgent_first, run
from builder.report import Silent


def task(key: str, weight: int, *needs: str) -> Task:
    return Task(key, key, print, (), frozenset(needs), weight)


def test_what_most_work_waits_for_begins_first() -> None:
    tasks = (
        task("qemu", 45),
        task("base", 5),
        task("python", 3),
        task("base-state", 10, "base"),
        task("python-state", 40, "base-state", "python"),
        task("records", 0, "python-state", "elsewhere"),
    )
    found = [one.key for one in most_urgent_first(tasks)]
    assert found == ["base", "base-state", "qemu", "python", "python-state", "records"]


READ_BY = os.getpid()
"""The process that read this module."""


def read_here() -> bool:
    return os.getpid() == READ_BY


def test_workers_find_the_modules_of_tasks_read() -> None:
    code = f"""
from builder.pipeline.schedule import Task, run
from builder.report import Silent
from {__name__} import read_here

if __name__ == "__main__":
    print(run((Task("a", "a", read_here, ()),), 1, "", Silent()).results)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "{'a': False}\n", done.stderr


def makes_and_waits(folder: str, until: str) -> bool:
    os.mkdir(folder)
    for _ in range(600):
        if os.path.isdir(until):
            return True
        time.sleep(0.05)
    return False


def test_a_task_begins_when_one_that_it_needs_has_made_enough(tmp_path: Path) -> None:
    first, last = str(tmp_path / "first"), str(tmp_path / "last")
    tasks = (
        Task("goes-on", "", makes_and_waits, (first, last)),
        Task("begins", "", os.mkdir, (last,), frozenset({"goes-on"}), enough={"goes-on": (first,)}),
    )
    assert run(tasks, 2, "", Silent()).results == {"goes-on": True, "begins": None}
