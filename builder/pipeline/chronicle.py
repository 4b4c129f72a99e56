"""The record × feeds of advisories → what releases of images moved, and how long after a fix each came."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from builder.errors import RecordError
from builder.model.advisory import ANNOUNCEMENT, OPEN, Advisory, State
from builder.model.release import Held, Publication
from builder.model.release import Release as Recorded
from builder.overview.values import Month, Release
from builder.pipeline import in_use, recording, securing
from builder.pipeline.edges import Edges
from builder.security import judging
from builder.security.feeds import Feed
from dsl import versions
from dsl.catalog import Catalog, Definition

if TYPE_CHECKING:
    from builder.record.database import Record
    from builder.record.releases import Span

_LOOKED_AT = 400
"""How many releases of an image are looked at, the newest ones: more than a year of nights."""
_SHOWN = 20
_MONTHS = 12
_DAY = 86400


@dataclass(frozen=True, slots=True)
class Chronicle:
    """What became of images.

    Attributes:
        releases: by the keys of images, newest first.
        months: oldest first.
    """

    releases: Mapping[str, tuple[Release, ...]] = field(default_factory=dict)
    months: tuple[Month, ...] = ()


@dataclass(frozen=True, slots=True)
class _Move:
    """What a release made of a package: from one row to the other; None where it came, or went."""

    old: Held | None
    new: Held | None


def told(catalog: Catalog, images: Iterable[Definition], feeds: tuple[Feed, ...], edges: Edges) -> Chronicle:
    """What the record tells of some images; nothing if it cannot be had: whoever read the feeds has told that."""
    try:
        record = recording.opened(catalog, edges.store)
        recording.follow(catalog, record, edges.reporter)
        return _told(catalog, images, feeds, record)
    except RecordError:
        return Chronicle()


def _told(catalog: Catalog, images: Iterable[Definition], feeds: tuple[Feed, ...], record: Record) -> Chronicle:
    from builder.record import publications, releases

    wanted = {(image.component, image.name): image for image in images}
    found: dict[str, tuple[Release, ...]] = {}
    steps: list[tuple[Recorded, tuple[_Move, ...]]] = []
    with record.reading() as connection:
        for one in releases.images(connection, recording.workspace(catalog)):
            image = wanted.get((one.component, one.name))
            if image is None:
                continue
            first = max(0, one.newest - _LOOKED_AT)
            known = releases.some(connection, one, range(first, one.newest + 1))
            moves = _moves(releases.moved_since(connection, one.number, first), (at for at in known if at > first))
            out = publications.since(connection, one.number, max(first, one.newest - _SHOWN + 1))
            shown = sorted(known, reverse=True)[:_SHOWN]
            found[image.key] = tuple(_release(known[at], moves.get(at, ()), out.get(at, ())) for at in shown)
            steps += [(known[at], rows) for at, rows in moves.items()]
    return Chronicle(found, _months(steps, feeds, in_use.Origins(catalog, feeds).of))


def _moves(spans: Iterable[Span], numbers: Iterable[int]) -> dict[int, tuple[_Move, ...]]:
    """What moved with some releases, by their numbers; a package that only changed its place did not."""
    came: dict[int, dict[str, Held]] = {}
    went: dict[int, dict[str, Held]] = {}
    for span in spans:
        came.setdefault(span.first, {})[span.held.name] = span.held
        went.setdefault(span.last + 1, {})[span.held.name] = span.held
    found: dict[int, tuple[_Move, ...]] = {}
    for at in numbers:
        new, old = came.get(at, {}), went.get(at, {})
        pairs = [_Move(old.get(name), new.get(name)) for name in sorted({*new, *old})]
        found[at] = tuple(x for x in pairs if not (x.old and x.new) or x.old.version != x.new.version)
    return found


def _release(one: Recorded, moves: Iterable[_Move], out: Iterable[Publication]) -> Release:
    lines: dict[str, None] = {}
    for move in moves:
        if move.old and move.new:
            same = move.old.source_version == move.new.source_version or not move.new.source
            name = move.new.name if same else move.new.source
            before, after = (x.version if same else x.source_version for x in (move.old, move.new))
            lines[f"{name} {before} → {after}"] = None
        elif move.new:
            lines[f"{move.new.name} {move.new.version} is new"] = None
        elif move.old:
            lines[f"{move.old.name} is gone"] = None
    day = datetime.fromtimestamp(one.time, UTC).date() if one.time else None
    return Release(versions.tag(one.version, one.revision), day, tuple(lines), tuple(x.repository for x in out))


def _months(
    steps: Iterable[tuple[Recorded, Iterable[_Move]]], feeds: tuple[Feed, ...], origin: Callable[[Held], str]
) -> tuple[Month, ...]:
    """How long fixes took; one counts once for each day on which images with it were released.

    Args:
        origin: the suite by whose name advisories speak of a package.
    """
    rows = [(one.time, x.old, x.new) for one, moves in steps for x in moves if one.time and x.old and x.new]
    known = securing.about(feeds, (new.artifact for _, _, new in rows))
    closed: dict[tuple[str, str, str, str], tuple[Advisory, ...]] = {}
    fixes: dict[tuple[str, str, date], int] = {}
    for time, old, new in rows:
        suite = origin(new)
        name, version = judging.named(new.artifact)
        key = (suite, name, judging.named(old.artifact)[1], version)
        if key not in closed:
            closed[key] = tuple(x for x in known.get((suite, name), ()) if _closes(x, old, new))
        for advisory in closed[key]:
            begin = _fixed_since(advisory)
            # A fix that was seen only when it was out says nothing of how long it took.
            if begin and begin <= time:
                day = datetime.fromtimestamp(time, UTC).date()
                fixes[advisory.id, name, day] = (time - begin) // _DAY
    months: dict[str, list[int]] = {}
    for (_, _, day), days in fixes.items():
        months.setdefault(day.isoformat()[:7], []).append(days)
    return tuple(Month(name, tuple(sorted(months[name]))) for name in sorted(months)[-_MONTHS:])


def _closes(advisory: Advisory, old: Held, new: Held) -> bool:
    return (
        judging.state(old.artifact, advisory) in OPEN and judging.state(new.artifact, advisory) == State.FIXED
    )  # fmt: skip


def _fixed_since(advisory: Advisory) -> int:
    """Since when there is a fix: when it was announced, or when the record first saw one, whichever is earlier; 0 if nobody
    knows."""
    announced = 0
    if ANNOUNCEMENT.match(advisory.id):
        with contextlib.suppress(ValueError, OverflowError):
            announced = int(datetime.fromisoformat(advisory.published.replace("Z", "+00:00")).timestamp())
    return min(filter(None, (announced, advisory.mended)), default=0)
