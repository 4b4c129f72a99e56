"""In which order tasks begin."""

from __future__ import annotations

import os
import subprocess
import sys

from builder.pipeline.schedule import Task, most_urgent_first


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
