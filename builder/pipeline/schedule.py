"""Tasks that need each other, run in worker processes; a failed one ends only those that need it."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from builder.errors import MakeError, of_system
from builder.report import Reporter
from dsl.errors import ImgbuildError

_LOOK = 0.02
"""After how many seconds it looks whether a needed task has made enough, while there is nothing else to do."""


@dataclass(frozen=True, slots=True)
class Task:
    """One call in a worker process.

    Attributes:
        key: its name; others that need its effect name it in ``needs``.
        title: what it does, for people.
        call, args: must pickle.
        weight: how long it takes, compared with others: of those that may run, the one that most work waits for goes first.
        enough: of a needed task, by its key, the folders with which this one may begin, though that one goes on.
    """

    key: str
    title: str
    call: Callable[..., Any]
    args: tuple[Any, ...]
    needs: frozenset[str] = frozenset()
    weight: int = 0
    enough: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def has_enough(self, key: str) -> bool:
        """Whether a needed task has made all that this one needs of it."""
        return key in self.enough and all(map(os.path.isdir, self.enough[key]))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of the tasks, by key.

    Attributes:
        results: of those that ended well.
        errors: of those that failed.
        skipped: those that were not run, and the failed task because of which.
    """

    results: Mapping[str, Any] = field(default_factory=dict)
    errors: Mapping[str, ImgbuildError] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)


def run(tasks: tuple[Task, ...], jobs: int, place: str, reporter: Reporter) -> Outcome:
    """Run the tasks, each when those that it needs are done.

    Args:
        jobs: how many at once.
        place: where they write, for errors.
    """
    import multiprocessing
    from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing.util import get_temp_dir

    results: dict[str, Any] = {}
    errors: dict[str, ImgbuildError] = {}
    skipped: dict[str, str] = {}
    waiting = {task.key: task for task in most_urgent_first(tasks)}
    if not waiting:
        return Outcome()
    running: dict[Future[Any], Task] = {}
    known = frozenset(waiting)
    context = multiprocessing.get_context("forkserver")
    # Else each worker would read them by itself.
    context.set_forkserver_preload(sorted({task.call.__module__ for task in tasks}))
    pool = ProcessPoolExecutor(jobs, context, _prepare, (get_temp_dir(),))
    try:
        while waiting or running:
            for task in list(waiting.values()):
                needs = task.needs & known
                cause = next((key for key in sorted(needs) if key in errors or key in skipped), None)
                if cause is not None:
                    skipped[task.key] = skipped.get(cause, cause)
                    del waiting[task.key]
                # Not more than there are workers: a task that others wait for may still become ready.
                elif len(running) < jobs and all(key in results or task.has_enough(key) for key in needs):
                    reporter.detail(task.title)
                    running[pool.submit(task.call, *task.args)] = task
                    del waiting[task.key]
            looking = len(running) < jobs and any(task.enough for task in waiting.values())
            done, _ = wait(running, _LOOK if looking else None, FIRST_COMPLETED) if running else (set(), set())
            for future in done:
                task = running.pop(future)
                try:
                    results[task.key] = future.result()
                except ImgbuildError as error:
                    errors[task.key] = error
                except BrokenProcessPool:
                    raise MakeError(
                        f"a worker died: {task.title}", "was it killed, or is the machine out of memory?"
                    ) from None
                except OSError as error:
                    errors[task.key] = of_system(error, task.title, place)
                reporter.progress("layers", len(results) + len(errors), len(tasks))
    except BaseException:
        for process in list((pool._processes or {}).values()):
            process.kill()
        pool.shutdown(wait=True, cancel_futures=True)
        raise
    pool.shutdown()
    return Outcome(results, errors, skipped)


def most_urgent_first(tasks: tuple[Task, ...]) -> tuple[Task, ...]:
    """Tasks by the weight of the longest chain of tasks that begins with each (list scheduling by critical path).

    Args:
        tasks: each after those that it needs.
    """
    weights = {task.key: task.weight for task in tasks}
    rank = dict(weights)
    for task in reversed(tasks):
        for key in task.needs & rank.keys():
            rank[key] = max(rank[key], weights[key] + rank[task.key])
    return tuple(sorted(tasks, key=lambda task: -rank[task.key]))


def _prepare(temporary: str) -> None:
    # Ctrl-C goes to the whole process group: the parent decides, and workers never outlive it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, args=(temporary,), daemon=True).start()


def _end_with_parent(temporary: str) -> None:
    import multiprocessing
    import shutil

    # The kernel's own way (PR_SET_PDEATHSIG) looks at the fork server, which lives as long as its workers do.
    parent = multiprocessing.parent_process()
    assert parent is not None, "it runs in a worker"
    parent.join()
    # A parent that was killed could not remove the folder of its fork server's socket.
    shutil.rmtree(temporary, ignore_errors=True)
    os.kill(os.getpid(), signal.SIGKILL)
