"""How long work tells of itself: a silent algorithm is given a reporter."""

from __future__ import annotations

from typing import Protocol


class Reporter(Protocol):
    """Told of the work; the command line shows it (rich, plain lines, JSON), tests collect it."""

    def step(self, message: str) -> None:
        """A stage of the work begins."""

    def progress(self, task: str, done: int, total: int, unit: str = "") -> None:
        """So much of a task is done; ``unit`` is ``B`` for bytes."""

    def note(self, message: str) -> None:
        """Something worth knowing that is no error."""

    def warn(self, message: str) -> None:
        """Something that the user should look at."""

    def detail(self, message: str) -> None:
        """Something for ``-v``."""


class Silent:
    """Tells nobody."""

    def step(self, message: str) -> None: ...

    def progress(self, task: str, done: int, total: int, unit: str = "") -> None: ...

    def note(self, message: str) -> None: ...

    def warn(self, message: str) -> None: ...

    def detail(self, message: str) -> None: ...


def size(count: int) -> str:
    """Bytes as people read them: ``1.4 MB``."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000 or unit == "GB":
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    raise AssertionError
