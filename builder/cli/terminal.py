"""Progress on a terminal, by rich."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn


class Terminal:
    """Bars on standard error that leave when they are full."""

    def __init__(self, verbosity: int) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._verbosity = verbosity
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}

    def step(self, message: str) -> None:
        """A stage of the work begins."""
        self._console.print(message, markup=False)

    def progress(self, task: str, done: int, total: int, unit: str = "") -> None:
        """A bar for each task under way."""
        if self._bars is None:
            columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%")
            self._bars = Progress(*columns, TimeElapsedColumn(), console=self._console, transient=True)
            self._bars.start()
        if task not in self._tasks:
            self._tasks[task] = self._bars.add_task(task, total=total)
        self._bars.update(self._tasks[task], completed=done, total=total)
        if done >= total:
            self._bars.remove_task(self._tasks.pop(task))
        if not self._tasks:
            self._bars.stop()
            self._bars = None

    def close(self) -> None:
        """Take bars away that work left behind when it failed, and give the cursor back."""
        if self._bars is not None:
            self._bars.stop()
            self._bars, self._tasks = None, {}

    def note(self, message: str) -> None:
        """Something worth knowing."""
        self._console.print(message, markup=False)

    def warn(self, message: str) -> None:
        """Something to look at."""
        self._console.print(f"warning: {message}", style="yellow", markup=False)

    def detail(self, message: str) -> None:
        """Something for ``-v``."""
        if self._verbosity > 0:
            self._console.print(f"  {message}", style="dim", markup=False)
