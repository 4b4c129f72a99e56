"""What people and machines read: messages on standard error, results on standard output."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from builder.report import size as size

if TYPE_CHECKING:
    from pathlib import Path

    from builder.pipeline.building import Built
    from builder.report import Reporter
    from dsl.errors import ImgbuildError, Problem


def print_json(value: Any) -> None:
    """Print a result for machines."""
    json.dump(value, sys.stdout, indent=2, ensure_ascii=False, default=str)
    sys.stdout.write("\n")


def error(problem: ImgbuildError, *, json_wanted: bool, code: str = "") -> None:
    """Say what is wrong and what to do about it: on standard error, or as an object on standard output for machines.

    Args:
        code: in place of the error's own.
    """
    from builder.errors import ConfigureError, RolloutError
    from dsl.errors import DefinitionError

    if json_wanted:
        print_json(error_data(problem, code))
        return
    if isinstance(problem, DefinitionError):
        print(problems_text(problem.problems), file=sys.stderr)
        return
    print(problem.message if code == problem.message else f"error: {problem.message}", file=sys.stderr, flush=True)
    if isinstance(problem, ConfigureError | RolloutError) and problem.output:
        print("".join(f"  | {line}\n" for line in problem.output.splitlines()), end="", file=sys.stderr)
    if problem.hint:
        print(f"hint: {problem.hint}", file=sys.stderr)


def error_data(problem: ImgbuildError, code: str = "") -> dict[str, Any]:
    """An error as plain data."""
    from builder.errors import ConfigureError, RolloutError
    from dsl.errors import DefinitionError

    data: dict[str, Any] = {"error": code or problem.code, "message": problem.message, "hint": problem.hint}
    if isinstance(problem, DefinitionError):
        data["problems"] = [problem_data(one) for one in problem.problems]
    if isinstance(problem, ConfigureError):
        data |= {"package": problem.package, "script": problem.script, "output": problem.output}
    if isinstance(problem, RolloutError):
        data["output"] = problem.output
    return data


def problem_data(problem: Problem) -> dict[str, Any]:
    """A problem as plain data."""
    return {
        "file": str(problem.place.file),
        "line": problem.place.line,
        "column": problem.place.column,
        "code": problem.code,
        "message": problem.message,
        "hint": problem.hint,
    }


def problems_text(problems: tuple[Problem, ...], kind: str = "error") -> str:
    """Problems as people read them: place, message, source line with a caret, hint."""
    lines = []
    for problem in problems:
        lines.append(f"{problem.place}: {kind}: {problem.message}")
        if problem.source_line.strip():
            source = problem.source_line.rstrip().replace("\t", " ")[:200]
            lines += [f"    {source}", "    " + " " * (min(problem.place.column, 200) - 1) + "^"]
        if problem.hint:
            lines.append(f"    hint: {problem.hint}")
    return "\n".join(lines)


def change(text: str, data: Any, report: Path | None, *, json_wanted: bool) -> None:
    """Tell what a command changed, to people or to machines, and write it down for a reviewer.

    Args:
        text: Markdown.
        report: the file for it, if one is wanted.
    """
    if report:
        report.write_text(text)
    if json_wanted:
        print_json(data)
    else:
        print(text, end="")


def failures(built: Iterable[Built]) -> bool:
    """Tell why images were not built; whether there are such."""
    errors = [one.error for one in built if one.error]
    for problem in errors:
        error(problem, json_wanted=False)
    return bool(errors)


def table(rows: Sequence[tuple[str, ...]], head: tuple[str, ...]) -> str:
    """Columns of text, as wide as they must be."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in [head, *rows]
    ]
    return "\n".join(lines)


def reporter(verbosity: int) -> Reporter:
    """Progress with rich on a terminal, plain lines elsewhere, nothing with ``-q``."""
    from builder.report import Silent

    if verbosity < 0:
        return Silent()
    if sys.stderr.isatty():
        from builder.cli.terminal import Terminal

        return Terminal(verbosity)
    return Plain(verbosity)


class Plain:
    """Lines for logs."""

    def __init__(self, verbosity: int) -> None:
        self._verbosity = verbosity

    def step(self, message: str) -> None:
        """A stage of the work begins."""
        print(message, file=sys.stderr, flush=True)

    def progress(self, task: str, done: int, total: int, unit: str = "") -> None:
        """Told only at the end: logs are read afterwards."""
        if done == total and total:
            amount = size(total) if unit == "B" else str(total)
            print(f"{task}: {amount}", file=sys.stderr, flush=True)

    def note(self, message: str) -> None:
        """Something worth knowing."""
        print(message, file=sys.stderr, flush=True)

    def warn(self, message: str) -> None:
        """Something to look at."""
        print(f"warning: {message}", file=sys.stderr, flush=True)

    def detail(self, message: str) -> None:
        """Something for ``-v``."""
        if self._verbosity > 0:
            print(f"  {message}", file=sys.stderr, flush=True)
