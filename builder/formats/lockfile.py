"""Locks ↔ text that people review: sorted, one line a package, stable under ``git diff``."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import astuple, fields
from functools import lru_cache
from operator import attrgetter
from pathlib import Path
from typing import Any, TypeVar

import deflate
import yaml

from builder.model.digest import CacheKey, Digest
from builder.model.lock import (
    BuiltLayer,
    Grouping,
    Lock,
    LockedAnswer,
    LockedEnvironment,
    LockedGroup,
    LockedPackage,
    LockedSource,
    LockedText,
    LockedUser,
    LockedWheel,
    LockFile,
    Revision,
)
from dsl.errors import DefinitionError, Place, Problem

LOCK_VERSION = 1
_GZIP = b"\x1f\x8b"
_LARGEST = 64 << 20
_LEVEL = 6
"""Of libdeflate: fewer bytes than zlib's best, for a fifth of its work; every build packs all its locks."""
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
    return parse(text, path)


@lru_cache(maxsize=256)
def parse(text: str, path: Path) -> LockFile:
    """The locks of a file's text; the same text is read once.

    Args:
        path: what messages call it.

    Raises:
        DefinitionError: it is damaged.
    """
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith(("<<<<<<<", "=======", ">>>>>>>")):
            raise _broken(path, number, "a merge left its marks in the lock")
    try:
        data = _as_written(text) or yaml.load(text, _Loader)
        if not isinstance(data, dict) or data.get("lock") != LOCK_VERSION:
            raise ValueError(f"`lock: {LOCK_VERSION}` is expected")
        locks = tuple(_lock(entry) for entry in data["definitions"])
        return LockFile(locks, tuple(_revisions(data.get("revisions", ()), LockFile(locks).usual)))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise _broken(path, mark.line + 1 if mark else 1, "the lock is not YAML") from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _broken(path, 1, f"the lock is damaged: {error}") from None


def packed(text: str) -> bytes:
    """A lock as it lies beside an image: by gzip, since each release is sent with its own."""
    return bytes(deflate.gzip_compress(text.encode(), _LEVEL))


def unpacked(data: bytes) -> bytes:
    """The text of a lock that lies beside an image; what is not by gzip is as it is.

    Raises:
        ValueError: it is cut off or damaged, or too large to be a lock.
    """
    if not data.startswith(_GZIP):
        return data
    reader = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        found = reader.decompress(data, _LARGEST)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if not reader.eof:
        raise ValueError("it is cut off, or too large")
    return found


def beside(data: bytes, image: str) -> tuple[Lock, ...]:
    """The locks that lie beside an image, of its chain from the bottom.

    Args:
        image: what messages call it.

    Raises:
        DefinitionError: they are damaged.
    """
    path = Path(f"{image} (its lock)")
    try:
        text = unpacked(data).decode("utf-8", "replace")
    except ValueError as error:
        raise _broken(path, 1, f"the lock is damaged: {error}") from None
    return parse(text, path).locks


def text(locks: LockFile) -> str:
    """The file of some locks."""
    revisions = "revisions:\n" + "".join(_revision_lines(locks)) if locks.revisions else ""
    ordered = sorted(locks.locks, key=lambda lock: (lock.name, lock.architecture))
    return with_sections((section(lock) for lock in ordered), revisions)


def with_sections(sections: Iterable[str], revisions: str = "") -> str:
    """A file of sections, in the order in which they come."""
    return f"{_HEADER}lock: {LOCK_VERSION}\n{revisions}definitions:\n{''.join(sections)}"


def section(lock: Lock) -> str:
    """One lock's part of a file."""
    parts = [f"- name: {json.dumps(lock.name)}\n"]
    for name in ("architecture", "rules", "fingerprint", "stands_on"):
        parts.append(f"  {name}: {json.dumps(getattr(lock, name))}\n")
    if lock.text:
        parts.append(f"  text: {json.dumps([lock.text.version, lock.text.digest])}\n")
    parts.append(f"  bins: {lock.grouping.bins}\n  alone: {json.dumps(lock.grouping.alone)}\n")
    for name in (
        "sources", "packages", "environments", "wheels", "users", "groups", "answers", "compiler", "clock", "built",
    ):  # fmt: skip
        rows = getattr(lock, name)
        if rows:
            parts.append(f"  {name}:\n" + _lines(rows, "  "))
    return "".join(parts)


def _revisions(rows: Any, usual: str) -> Iterator[Revision]:
    short = len(fields(Revision)) - 1
    for row in rows:
        (found,) = _rows(Revision, [(*row, usual) if len(row) == short else row])
        yield found


def _revision_lines(locks: LockFile) -> Iterator[str]:
    usual = locks.usual
    for row in sorted(locks.revisions, key=attrgetter("image", "architecture")):
        values = astuple(row)
        said = values if row.architecture not in ("", usual) else values[:-1]
        yield f"- {json.dumps(said, ensure_ascii=False)}\n"


def _lines(rows: tuple[Any, ...], indent: str = "") -> str:
    values = attrgetter(*(field.name for field in fields(rows[0])))
    return "".join(f"{indent}- {json.dumps(values(row), ensure_ascii=False)}\n" for row in sorted(rows))


def _as_written(text: str) -> dict[str, Any] | None:
    """The data of a file that has the form in which it was written, at a tenth of YAML's time; None if it has not."""
    data: dict[str, Any] = {}
    here: dict[str, Any] = data
    rows: list[Any] = []
    try:
        for line in text.splitlines():
            if line.startswith(("- [", "  - [")):
                rows.append(json.loads(line[line.index("[") :]))
            elif line.startswith("- name: ") and "definitions" in data:
                here = {"name": json.loads(line[8:])}
                data["definitions"].append(here)
            elif line and not line.startswith("#"):
                if not line.startswith(" "):
                    here = data
                name, _, value = line.partition(":")
                if value:
                    here[name.strip()] = json.loads(value)
                else:
                    rows = here[name.strip()] = []
    except ValueError:
        return None
    return data


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
        environments=_rows(LockedEnvironment, data.get("environments", ())),
        wheels=_rows(LockedWheel, data.get("wheels", ())),
        built=_rows(BuiltLayer, data.get("built", ())),
        text=_rows(LockedText, [data["text"]])[0] if data.get("text") else None,
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
