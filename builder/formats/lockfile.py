"""Locks ↔ text that people review: sorted, one line a package, stable under ``git diff``."""

from __future__ import annotations

import json
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any, TypeVar

import yaml

from builder.model.digest import CacheKey, Digest
from builder.model.lock import (
    BuiltLayer,
    Grouping,
    Lock,
    LockedAnswer,
    LockedGroup,
    LockedPackage,
    LockedSource,
    LockedUser,
    LockFile,
    Revision,
)
from dsl.errors import DefinitionError, Place, Problem

LOCK_VERSION = 1
_HEADER = "# Made by `imgbuild lock`; read it in reviews, do not edit it.\n"
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
T = TypeVar("T")


def read(path: Path) -> LockFile:
    """The locks of a file; none if there is no file.

    Raises:
        DefinitionError: it is damaged, for instance by a merge.
    """
    try:
        text = path.read_text()
    except FileNotFoundError:
        return LockFile()
    except (OSError, UnicodeDecodeError) as error:
        raise _broken(path, 1, f"the lock cannot be read: {error}") from None
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith(("<<<<<<<", "=======", ">>>>>>>")):
            raise _broken(path, number, "a merge left its marks in the lock")
    try:
        data = yaml.load(text, _Loader)
        if not isinstance(data, dict) or data.get("lock") != LOCK_VERSION:
            raise ValueError(f"`lock: {LOCK_VERSION}` is expected")
        locks = tuple(_lock(entry) for entry in data["definitions"])
        return LockFile(locks, _rows(Revision, data.get("revisions", ())))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise _broken(path, mark.line + 1 if mark else 1, "the lock is not YAML") from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _broken(path, 1, f"the lock is damaged: {error}") from None


def text(locks: LockFile) -> str:
    """The file of some locks."""
    parts = [_HEADER, f"lock: {LOCK_VERSION}\n"]
    if locks.revisions:
        parts.append("revisions:\n" + _lines(locks.revisions))
    parts.append("definitions:\n")
    for lock in sorted(locks.locks, key=lambda x: (x.name, x.architecture)):
        parts.append(f"- name: {json.dumps(lock.name)}\n")
        for name in ("architecture", "rules", "fingerprint", "stands_on"):
            parts.append(f"  {name}: {json.dumps(getattr(lock, name))}\n")
        parts.append(f"  bins: {lock.grouping.bins}\n  alone: {json.dumps(lock.grouping.alone)}\n")
        for name in ("sources", "packages", "users", "groups", "answers", "compiler", "clock", "built"):
            rows = getattr(lock, name)
            if rows:
                parts.append(f"  {name}:\n" + _lines(rows, "  "))
    return "".join(parts)


def _lines(rows: tuple[Any, ...], indent: str = "") -> str:
    return "".join(f"{indent}- {json.dumps(astuple(row), ensure_ascii=False)}\n" for row in sorted(rows))


def _lock(data: dict[str, Any]) -> Lock:
    return Lock(
        name=data["name"],
        architecture=data["architecture"],
        rules=int(data["rules"]),
        fingerprint=data["fingerprint"],
        stands_on=Digest.parse(data["stands_on"]) if data["stands_on"] else None,
        sources=_rows(LockedSource, data.get("sources", ())),
        packages=_rows(LockedPackage, data.get("packages", ())),
        users=_rows(LockedUser, data.get("users", ())),
        groups=_rows(LockedGroup, data.get("groups", ())),
        grouping=Grouping(int(data["bins"]), tuple(data["alone"])),
        compiler=_rows(LockedPackage, data.get("compiler", ())),
        clock=_rows(LockedPackage, data.get("clock", ())),
        answers=_rows(LockedAnswer, data.get("answers", ())),
        built=_rows(BuiltLayer, data.get("built", ())),
    )


_TYPES: dict[str, Any] = {"Digest": Digest.parse, "CacheKey": CacheKey, "int": int, "str": str}


def _rows(kind: type[T], rows: Any) -> tuple[T, ...]:
    types = [str(field.type) for field in fields(kind)]  # type: ignore[arg-type]
    found = []
    for row in rows:
        if len(row) != len(types):
            raise ValueError(f"a line of {kind.__name__} has {len(row)} values, not {len(types)}")
        if any(name in ("int", "str") and type(value).__name__ != name for name, value in zip(types, row, strict=True)):
            raise ValueError(f"a line of {kind.__name__} has a value of the wrong type: {row}")
        found.append(kind(*(_TYPES[name](value) for name, value in zip(types, row, strict=True))))
    return tuple(found)


def _broken(path: Path, line: int, message: str) -> DefinitionError:
    hint = "take one side and run `imgbuild lock`, or delete it and lock anew"
    return DefinitionError((Problem(Place(path, line), "lock", message, hint),))
