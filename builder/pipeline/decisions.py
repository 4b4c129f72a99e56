"""The files of what people decided, and how they are written: with locks, all of them or none."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from builder.errors import UsageError, of_system
from builder.model.decision import Hold, Statement
from builder.security import holds, vex
from builder.tools import files, git
from dsl import document
from dsl.catalog import Catalog
from dsl.errors import DefinitionError, Place, Problem

HOLDS = "security/holds.yaml"
WITHDRAWN = "security/withdrawn.yaml"
VEX = "security/vex.openvex.json"


def write(folder: Path, texts: Mapping[Path, str], doing: str = "decisions cannot be written") -> None:
    """Write the files that say something new, all of them or none; an empty text takes a file away.

    Args:
        folder: the workspace's, where one that is ended over it leaves a note.
        doing: what is said of a failure.
    """
    changed = {path: text for path, text in texts.items() if _text(path) != text}
    try:
        for path in changed:
            path.parent.mkdir(parents=True, exist_ok=True)
        files.write_all(folder, {path: text.encode() for path, text in changed.items() if text})
        for path in (path for path, text in changed.items() if not text):
            path.unlink()
    except OSError as error:
        raise of_system(error, doing, ", ".join(map(str, changed))) from None


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""


def today() -> str:
    """The day by which decisions end, in UTC."""
    return now()[:10]


def now() -> str:
    """The time of a decision: RFC 3339, in UTC."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def author(catalog: Catalog) -> str:
    """Who decides: as git knows them.

    Raises:
        UsageError: git does not know.
    """
    found = git.identity(catalog.root)
    if not found:
        raise UsageError(
            "nobody is known who could decide this",
            "say `git config user.name NAME` and `git config user.email ADDRESS`",
        )
    return found


def last_day(text: str) -> str:
    """The day on which a decision ends, from the command line.

    Raises:
        UsageError: it is none, or it is over.
    """
    try:
        day = datetime.strptime(text, "%Y-%m-%d").strftime("%Y-%m-%d")
    except ValueError:
        raise UsageError(f"--until {text}: this is no day", "say it as 2026-12-31") from None
    if day < today():
        raise UsageError(f"--until {text}: this day is over", "a decision ends in the future")
    return day


def reason(text: str) -> str:
    """Why something is decided, from the command line.

    Raises:
        UsageError: it says nothing.
    """
    found = " ".join(text.split())
    if not found:
        raise UsageError("--because says nothing", "a decision is worth its reason")
    return found


def all_holds(catalog: Catalog) -> tuple[Hold, ...]:
    """Everything that was held, those too that are over."""
    return holds.read(catalog.root / HOLDS)


def holds_in_force(catalog: Catalog) -> tuple[Hold, ...]:
    """What is held today."""
    day = today()
    return tuple(hold for hold in all_holds(catalog) if not hold.over(day))


def withdrawn(catalog: Catalog) -> dict[str, frozenset[str]]:
    """The tags of releases that nobody is to use, by the names of their images."""
    found: dict[str, set[str]] = {}
    for one in holds.read_withdrawn(catalog.root / WITHDRAWN):
        found.setdefault(one.image, set()).add(one.tag)
    return {image: frozenset(tags) for image, tags in found.items()}


def problems(catalog: Catalog) -> tuple[Problem, ...]:
    """All that is wrong with what was decided."""
    found: list[Problem] = []
    for read in (all_holds, withdrawn, statements):
        try:
            read(catalog)
        except DefinitionError as error:
            found += error.problems
    return tuple(found)


def vex_document(catalog: Catalog) -> Mapping[str, Any] | None:
    """The workspace's own OpenVEX document, as it is written; None if there is none.

    Raises:
        DefinitionError: it is damaged, for instance by a merge.
    """
    path = catalog.root / VEX
    try:
        text = _text(path)
    except (OSError, UnicodeDecodeError) as error:
        raise DefinitionError((_broken(Place(path), f"it cannot be read: {error}"),)) from None
    if not text:
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        place = Place(path, getattr(error, "lineno", 1), getattr(error, "colno", 1))
        raise DefinitionError((_broken(place, "this is not JSON"),)) from None
    if not vex.is_vex(found):
        raise DefinitionError((_broken(Place(path), "this is no OpenVEX document"),))
    assert isinstance(found, dict)
    return found


def statements(catalog: Catalog) -> tuple[Statement, ...]:
    """What the workspace itself decided of flaws.

    Raises:
        DefinitionError: a decision cannot be read: it must not be lost in silence.
    """
    told = vex_document(catalog)
    if told is None:
        return ()
    found, broken = vex.read(told)
    if broken:
        raise DefinitionError(tuple(_told(catalog.root / VEX, number, said) for number, said in broken))
    return tuple(replace(one, own=True) for one in found)


def _told(path: Path, number: int, said: str) -> Problem:
    """What is wrong with a statement, or with the list of them, where that stands."""
    said = f"statement {number}: {said}" if number else said
    try:
        # JSON is YAML as far as places go.
        read = document.parse(_text(path), path)
    except DefinitionError:
        return _broken(Place(path), said)
    place = read.place(("statements", number - 1) if number else ("statements",))
    return replace(_broken(place, said), source_line=read.line(place))


def _broken(place: Place, message: str) -> Problem:
    hint = "take one side of a merge, or decide it anew by `imgbuild security ignore`"
    return Problem(place, "decision", message, hint)
