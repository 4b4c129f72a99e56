"""Holds and withdrawals ↔ text that people review: a file of each, one decision after the other, sorted."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import yaml

from builder.model.decision import Hold, Withdrawal
from dsl.errors import DefinitionError, Place, Problem

T = TypeVar("T", Hold, Withdrawal)
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


def _read(path: Path, name: str, kind: type[T]) -> tuple[T, ...]:
    try:
        text = path.read_text()
        for number, line in enumerate(text.splitlines(), start=1):
            if line.startswith(("<<<<<<<", "=======", ">>>>>>>")):
                raise _broken(path, number, "a merge left its marks here")
        found = yaml.safe_load(text)
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        mark = getattr(error, "problem_mark", None)
        raise _broken(path, mark.line + 1 if mark else 1, f"it cannot be read: {error}".partition("\n")[0]) from None
    if not isinstance(found, dict) or set(found) != {name} or not isinstance(found[name], list | None):
        raise _broken(path, 1, f"`{name}:` with a list is expected")
    return tuple(_row(path, kind, entry) for entry in found[name] or ())


def _row(path: Path, kind: type[T], entry: Any) -> T:
    known = {one.name: one for one in fields(kind)}
    if not isinstance(entry, dict) or set(entry) - known.keys():
        wrong = ", ".join(sorted(map(str, set(entry) - known.keys()))) if isinstance(entry, dict) else repr(entry)
        raise _broken(path, 1, f"{wrong} is not expected here; what is: {', '.join(known)}")
    values: dict[str, Any] = {}
    for key, one in known.items():
        many = one.type != "str"
        value = entry.get(key, [] if many else "")
        if many and isinstance(value, list):
            values[key] = tuple(map(str, value))
        elif not many and not isinstance(value, dict | list):
            # A day without quotes is a date to YAML.
            values[key] = str(value)
        else:
            raise _broken(path, 1, f"`{key}` is {value!r}")
    missing = [key for key in ("package", "image", "because") if key in known and not values[key]]
    if missing:
        raise _broken(path, 1, f"an entry has no `{missing[0]}`")
    return kind(**values)


def _broken(path: Path, line: int, message: str) -> DefinitionError:
    hint = "take one side of a merge, or write it anew by `imgbuild security hold`"
    return DefinitionError((Problem(Place(path, line), "decision", message, hint),))
