"""Errors of the language.

ImgbuildError             everything that a user is told without a traceback
└── DefinitionError       problems in definitions, each at its place
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class ImgbuildError(Exception):
    """An error that is told to the user in one message and a way out.

    Args:
        message: what is wrong, naming the place.
        hint: what the user can do about it; empty if there is nothing to add.
    """

    code = "error"
    """A stable name for tests and ``--json``."""
    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> Any:
        # Errors come back from worker processes, whatever their constructors take.
        return _restored, (type(self), self.args, self.__dict__)


def _restored(kind: type[ImgbuildError], args: tuple[Any, ...], state: dict[str, Any]) -> ImgbuildError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where something stands in a file; lines and columns count from 1."""

    file: Path
    line: int = 1
    column: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing that is wrong in a definition.

    Attributes:
        place: the file, line and column.
        code: a stable name, such as ``unknown-key``, for tests and ``--json``.
        message: what was found and what was expected.
        hint: the nearest right name, or the way out.
        source_line: the offending line as it stands in the file.
    """

    place: Place
    code: str
    message: str
    hint: str = ""
    source_line: str = ""


class DefinitionError(ImgbuildError):
    """All the problems found in the definitions that were read."""

    code = "definition"
    exit_code = 2

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        self.problems = tuple(sorted(problems))
        super().__init__("\n".join(f"{p.place}: {p.message}" for p in self.problems))


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint for a name that is none of the known ones: the nearest of them, or all."""
    import difflib

    there = sorted(known)
    match = difflib.get_close_matches(name, there, 1, 0.6)
    if match:
        return f"did you mean {match[0]!r}?"
    return f"there are: {', '.join(there)}" if there else ""
