"""In which order tasks begin."""

from __future__ import annotations

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
