"""Holds and withdrawals ↔ text that people review: a file of each, one decision after the other, sorted."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

import yaml

from builder.model.decision import Hold, Withdrawal
from dsl.errors import DefinitionError, Place, Problem

T = TypeVar("T", Hold, Withdrawal)
_NEEDED = ("package", "image", "tag", "because")
_HEADERS = {
    "holds": "# What does not move, and why: `imgbuild security hold`.\n",
    "withdrawn": "# Releases that nobody is to use, and the tags that publishing has to move: `imgbuild withdraw`.\n",
}


def read(path: Path) -> tuple[Hold, ...]:
    """The holds of a file; none if there is no file.

    Raises:
        DefinitionError: it is damaged.
    """
    return _read(path, "holds", Hold)


def read_withdrawn(path: Path) -> tuple[Withdrawal, ...]:
    """The withdrawals of a file; none if there is no file.

    Raises:
        DefinitionError: it is damaged.
    """
    return _read(path, "withdrawn", Withdrawal)


def text(rows: Iterable[Hold]) -> str:
    """The file of some holds; empty if there are none."""
    return _text("holds", tuple(sorted(rows)))


def withdrawn_text(rows: Iterable[Withdrawal]) -> str:
    """The file of some withdrawals, as they came to be."""
    return _text("withdrawn", tuple(sorted(rows, key=lambda row: (row.since, row.image, row.tag))))


def _text(name: str, rows: tuple[Hold, ...] | tuple[Withdrawal, ...]) -> str:
    parts = [f"{_HEADERS[name]}{name}:\n"]
    for row in rows:
        told = [(one.name, getattr(row, one.name)) for one in fields(row)]
        lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}\n" for key, value in told if value]
        parts.append("- " + "  ".join(lines))
    return "".join(parts) if rows else ""


@dataclass(frozen=True, slots=True)
class _File:
    """A file's text, for what is wrong at a place of it."""

    path: Path
    lines: tuple[str, ...]

    def broken(self, message: str, line: int = 1, column: int = 1, hint: str = "") -> Problem:
        """What is wrong."""
        hint = hint or "take one side of a merge, or write it anew by `imgbuild security hold`"
        source = self.lines[line - 1] if line <= len(self.lines) else ""
        return Problem(Place(self.path, line, column), "decision", message, hint, source)

    def at(self, node: yaml.Node, message: str, hint: str = "") -> Problem:
        """What is wrong at a node."""
        return self.broken(message, node.start_mark.line + 1, node.start_mark.column + 1, hint)


def _read(path: Path, name: str, kind: type[T]) -> tuple[T, ...]:
    file = _File(path, ())
    try:
        text = path.read_text("utf-8")
        file = _File(path, tuple(text.split("\n")))
        for number, line in enumerate(file.lines, start=1):
            if line.startswith(("<<<<<<<", "=======", ">>>>>>>")):
                raise DefinitionError((file.broken("a merge left its marks here", number),))
        # All is text: a day is no date, and 1.10 is not 1.1.
        root, found = yaml.compose(text, yaml.BaseLoader), yaml.load(text, yaml.BaseLoader)
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        said = f"it cannot be read: {getattr(error, 'problem', None) or error}".partition("\n")[0]
        raise DefinitionError((file.broken(said, *where),)) from None
    if (
        not isinstance(root, yaml.MappingNode)
        or not isinstance(found, dict)
        or set(found) != {name}
        or not isinstance(found[name] or [], list)
    ):
        raise DefinitionError((file.broken(f"`{name}:` with a list is expected"),))
    if len(root.value) > 1:
        raise DefinitionError((file.at(root.value[1][0], f"`{name}` is here a second time"),))
    rows: list[T] = []
    problems: list[Problem] = []
    for entry, node in zip(found[name] or (), root.value[0][1].value or (), strict=True):
        wrong = tuple(_wrong(file, kind, entry, node))
        problems += wrong
        if not wrong:
            rows.append(_row(kind, entry))
    if problems:
        raise DefinitionError(tuple(problems))
    return tuple(rows)


def _wrong(file: _File, kind: type[T], entry: Any, node: yaml.Node) -> Iterator[Problem]:
    """What is wrong with an entry, at its places."""
    known = {one.name: one.type != "str" for one in fields(kind)}
    if not isinstance(entry, dict):
        yield file.at(node, f"{entry!r} is not expected here; what is: {', '.join(known)}")
        return
    nodes = {key.value: (key, value) for key, value in node.value if isinstance(key, yaml.ScalarNode)}
    for key, value in entry.items():
        at_key, at_value = nodes.get(str(key), (node, node))
        if key not in known:
            near = difflib.get_close_matches(str(key), known, 1)
            hint = f"did you mean `{near[0]}`?" if near else ""
            yield file.at(at_key, f"`{key}` is not expected here; what is: {', '.join(known)}", hint)
        elif not isinstance(value, list if known[key] else str):
            yield file.at(at_value, f"`{key}` is {value!r}: {'a list' if known[key] else 'text'} is expected")
        elif key == "until" and isinstance(value, str) and value and not _is_day(value):
            yield file.at(at_value, f"`until` is {value!r}: this is no day", "write it as 2026-12-31")
    for key in _NEEDED:
        if key in known and not entry.get(key):
            yield file.at(node, f"this entry has no `{key}`")


def _row(kind: type[T], entry: Mapping[str, Any]) -> T:
    values: dict[str, Any] = {}
    for one in fields(kind):
        many = one.type != "str"
        values[one.name] = tuple(map(str, entry.get(one.name) or ())) if many else entry.get(one.name, "")
    return kind(**values)


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False
