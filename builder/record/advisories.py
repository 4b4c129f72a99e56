"""Advisories in the record: what a feed says, read once for each content of it, and when each and its fix were first seen."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, and_, delete, insert, select, tuple_, update

from builder.model.advisory import Advisory
from builder.record import schema

_KEY = ("source", "suite", "name", "introduced")
_TOLD = ("fixed", "severity", "waiting", "aliases", "published", "summary")


@dataclass(frozen=True, slots=True)
class Kept:
    """A feed, but for its advisories.

    Attributes:
        suites: what it speaks of.
        broken: records that could not be read, and why.
    """

    suites: frozenset[str]
    broken: tuple[str, ...]


def kept(connection: Connection, name: str, digest: str) -> Kept | None:
    """A feed, if what it says now is what was read last.

    Args:
        digest: of its document.
    """
    table = schema.feed
    row = connection.execute(select(table).where(table.c.name == name)).one_or_none()
    if row is None or row.digest != digest.removeprefix("sha256:"):
        return None
    return Kept(frozenset(json.loads(row.suites)), tuple(json.loads(row.broken)))


def keep(
    connection: Connection, name: str, digest: str, told: Iterable[Advisory], feed: Kept, now: int
) -> None:  # fmt: skip
    """Remember what a feed says now; what it said before, too, keeps the time at which it was first seen."""
    table = schema.feed
    values = {
        "digest": digest.removeprefix("sha256:"),
        "suites": json.dumps(sorted(feed.suites)),
        "broken": json.dumps(feed.broken),
    }
    mine = table.c.name == name
    if connection.execute(update(table).where(mine).values(**values)).rowcount == 0:
        connection.execute(insert(table).values(name=name, **values))
    _write(connection, connection.execute(select(table.c.id).where(mine)).scalar_one(), told, now)


def _write(connection: Connection, feed: int, told: Iterable[Advisory], now: int) -> None:
    row = schema.advisory
    names = (*_KEY, *_TOLD, "seen", "mended")
    columns = [row.c[name] for name in names]
    old = {
        tuple(found[:4]): tuple(found) for found in connection.execute(select(*columns).where(row.c.feed_id == feed))
    }
    new = {}
    for one in told:
        key = (one.source, one.suite, one.id, one.introduced)
        said = (one.fixed, one.severity, one.waiting, " ".join(one.aliases), one.published, one.summary)
        seen, mended = old[key][-2:] if key in old else (now, 0)
        # A fix that is taken back and comes again is a new one.
        new[key] = (*key, *said, seen, (mended or now) if one.fixed else 0)
    gone = [key for key, found in old.items() if new.get(key) != found]
    for first in range(0, len(gone), 1000):
        keys = tuple_(*(row.c[name] for name in _KEY)).in_(gone[first : first + 1000])
        connection.execute(delete(row).where(and_(row.c.feed_id == feed, keys)))
    fresh = [
        dict(zip(("feed_id", *names), (feed, *found), strict=True))
        for key, found in new.items()
        if old.get(key) != found
    ]
    if fresh:
        connection.execute(insert(row), fresh)


def about(connection: Connection, name: str, shown: str, sources: Iterable[str] | None = None) -> Iterator[Advisory]:
    """What a feed says of some source packages, or all of it.

    Args:
        shown: what it is called in messages.
    """
    row, feed = schema.advisory, schema.feed
    query = select(*(row.c[name] for name in (*_KEY, *_TOLD, "seen", "mended"))).select_from(row.join(feed))
    query = query.where(feed.c.name == name)
    if sources is not None:
        query = query.where(row.c.source.in_(sorted(sources)))
    for (
        source,
        suite,
        id_,
        introduced,
        fixed,
        severity,
        waiting,
        aliases,
        published,
        summary,
        seen,
        mended,
    ) in connection.execute(query):
        yield Advisory(
            id_, source, suite, introduced, fixed, severity, waiting, tuple(aliases.split()), published, summary, shown,
            seen, mended,
        )  # fmt: skip
