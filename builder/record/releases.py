"""Releases in the record: added in whatever order they become known, and asked for by what they hold."""

from __future__ import annotations

import bisect
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, func, insert, or_, select, update

from builder.model.release import Held, Release
from builder.record import numbers as numbers_
from builder.record import schema
from builder.record.numbers import Numbers
from builder.record.spans import Item, Spans
from builder.transports import naming

_AT_ONCE = 5_000
"""How many releases wait in memory to be written."""


@dataclass(frozen=True, slots=True)
class Span:
    """A package that an image holds in some of its releases.

    Attributes:
        image: its number.
        first, last: numbers of the image's releases, both included.
    """

    image: int
    held: Held
    first: int
    last: int


def add(connection: Connection, workspace: str, releases: Iterable[Release]) -> int:
    """Add releases, or what more is known of them.

    A release is known by its version and revision. One whose content is another one is what it is now: until it is
    published or merged its revision may still get another meaning.

    Returns:
        how many were new.
    """
    adding = _Adding(connection, numbers_.workspace(connection, workspace))
    new = 0
    for count, release in enumerate(releases, start=1):
        new += adding.add(release)
        if count % _AT_ONCE == 0:
            adding.flush()
    adding.flush()
    return new


def forget(connection: Connection, workspace: str) -> None:
    """Take all releases of a workspace away."""
    number = numbers_.workspace(connection, workspace)
    mine = select(schema.image.c.id).where(schema.image.c.workspace_id == number)
    for table in (schema.held, schema.laid, schema.publication, schema.release):
        connection.execute(delete(table).where(table.c.image_id.in_(mine)))
    connection.execute(delete(schema.image).where(schema.image.c.workspace_id == number))
    connection.execute(delete(schema.history).where(schema.history.c.workspace_id == number))


def heads(connection: Connection, workspace: str) -> dict[str, str]:
    """The commit up to which each repository was read, by its folder."""
    table, names = schema.history, schema.workspace
    query = select(table.c.folder, table.c.head).join(names).where(names.c.name == workspace)
    return {row.folder: row.head for row in connection.execute(query)}


def keep_head(connection: Connection, workspace: str, folder: str, head: str) -> None:
    """Remember the commit up to which a repository was read."""
    table, number = schema.history, numbers_.workspace(connection, workspace)
    connection.execute(delete(table).where(table.c.workspace_id == number, table.c.folder == folder))
    connection.execute(insert(table).values(workspace_id=number, folder=folder, head=head))


@dataclass(frozen=True, slots=True)
class Summary:
    """What the record has of a workspace.

    Attributes:
        since: the time of the oldest release of which one is known; 0 if there is none.
        published: how many releases lie in some registry.
    """

    images: int
    releases: int
    built: int
    since: int
    published: int = 0


def summary(connection: Connection, workspace: str) -> Summary:
    """What the record has of a workspace."""
    row, image = schema.release, schema.image
    query = (
        select(func.count(image.c.id.distinct()), func.count(), func.count(row.c.digest),
               func.min(func.nullif(row.c.time, 0)))
        .select_from(row.join(image).join(schema.workspace))
        .where(schema.workspace.c.name == workspace)
    )  # fmt: skip
    images, count, built, since = connection.execute(query).one()
    where = schema.publication
    out = select(where.c.image_id, where.c.version, where.c.revision).distinct()
    out = out.select_from(where.join(image).join(schema.workspace)).where(schema.workspace.c.name == workspace)
    published = connection.execute(select(func.count()).select_from(out.subquery())).scalar_one()
    return Summary(images, count, built, since or 0, published)


def has(connection: Connection, workspace: str, release: tuple[str, str, str, int]) -> bool:
    """Whether a release is known, by its component, image, version and revision."""
    row, image = schema.release, schema.image
    component, name, version, revision = release
    query = (
        select(row.c.number)
        .select_from(row.join(image).join(schema.workspace))
        .where(schema.workspace.c.name == workspace, image.c.component == component, image.c.name == name)
        .where(row.c.version == version, row.c.revision == revision)
    )
    return connection.execute(query).first() is not None


def holding(connection: Connection, workspace: str, names: Iterable[str]) -> tuple[Span, ...]:
    """Where packages are, by the name of a binary package, a source package or a wheel (its project's, or with its
    environment)."""
    package, place, held, image = schema.package, schema.place, schema.held, schema.image
    asked = tuple(names)
    wheels = [package.c.name.endswith(f"/{name}", autoescape=True) for name in asked if "/" not in name]
    query = (
        select(image.c.id, place.c.definition, place.c.layer, package.c.name,
               package.c.version, package.c.source, package.c.source_version, place.c.why, held.c.first, held.c.last)
        .select_from(held.join(package).join(place).join(image).join(schema.workspace))
        .where(schema.workspace.c.name == workspace)
        .where(or_(package.c.name.in_(asked), package.c.source.in_(asked), *wheels))
    )  # fmt: skip
    return tuple(Span(row[0], Held(*row[1:8]), row.first, row.last) for row in connection.execute(query))


@dataclass(frozen=True, slots=True)
class Image:
    """An image that has releases.

    Attributes:
        newest: the number of its newest release.
    """

    number: int
    component: str
    name: str
    newest: int


def images(connection: Connection, workspace: str) -> tuple[Image, ...]:
    """The images of a workspace, by their names."""
    image, row = schema.image, schema.release
    query = (
        select(image.c.id, image.c.component, image.c.name, func.max(row.c.number))
        .select_from(row.join(image).join(schema.workspace))
        .where(schema.workspace.c.name == workspace)
        .group_by(image.c.id, image.c.component, image.c.name)
    )  # fmt: skip
    found = (Image(*row) for row in connection.execute(query))
    return tuple(sorted(found, key=lambda one: (one.name, one.component)))


def some(connection: Connection, image: Image, numbers: Iterable[int] | None = None) -> dict[int, Release]:
    """Releases of an image by their numbers, without what they hold.

    Args:
        numbers: none for all.
    """
    row = schema.release
    query = select(
        row.c.number, row.c.version, row.c.revision, row.c.content_key, row.c.lock, row.c.commit, row.c.time,
        row.c.digest, row.c.config,
    ).where(row.c.image_id == image.number)  # fmt: skip
    if numbers is not None:
        query = query.where(row.c.number.in_(sorted(numbers)))
    return {
        found.number: Release(
            image.component, image.name, found.version, found.revision, found.content_key, _sha256(found.lock),
            found.commit, found.time, _sha256(found.digest), _sha256(found.config),
        )
        for found in connection.execute(query.order_by(row.c.number))
    }  # fmt: skip


def held_at(connection: Connection, image: int, number: int) -> tuple[Held, ...]:
    """What a release of an image holds."""
    held = schema.held
    return tuple(span.held for span in _spans(connection, image, held.c.first <= number, held.c.last >= number))


def packages_at(connection: Connection, image: int, number: int) -> frozenset[int]:
    """The numbers of the packages that a release of an image holds: many releases hold the same ones."""
    held = schema.held
    query = select(held.c.package_id).where(held.c.image_id == image, held.c.first <= number, held.c.last >= number)
    return frozenset(connection.scalars(query))


def packages(connection: Connection, numbers_: Iterable[int]) -> dict[int, Held]:
    """Packages by their numbers, wherever they are held."""
    row, wanted = schema.package, frozenset(numbers_)
    query = select(row.c.id, row.c.name, row.c.version, row.c.source, row.c.source_version)
    return {one.id: Held("", "", *one[1:], "") for one in connection.execute(query) if one.id in wanted}


def moved_since(connection: Connection, image: int, number: int) -> tuple[Span, ...]:
    """The packages of an image that came after one of its releases, or were there no more."""
    held = schema.held
    ended = and_(held.c.last >= number, held.c.last < schema.OPEN)
    return _spans(connection, image, or_(held.c.first > number, ended))


def _spans(connection: Connection, image: int, *where: ColumnElement[bool]) -> tuple[Span, ...]:
    held, place, package = schema.held, schema.place, schema.package
    query = select(
        place.c.definition, place.c.layer, package.c.name, package.c.version, package.c.source,
        package.c.source_version, place.c.why, held.c.first, held.c.last,
    ).select_from(held.join(package).join(place)).where(held.c.image_id == image, *where)  # fmt: skip
    return tuple(Span(image, Held(*row[:7]), row.first, row.last) for row in connection.execute(query))


def layers(connection: Connection, image: Image) -> dict[tuple[str, str], list[tuple[int, int, str]]]:
    """The layers of an image as far as they are known, by definition and name: from which up to which release, and
    digest."""
    laid, place, layer = schema.laid, schema.place, schema.layer
    query = select(place.c.definition, place.c.layer, laid.c.first, laid.c.last, layer.c.digest)
    query = query.select_from(laid.join(place).join(layer)).where(laid.c.image_id == image.number)
    found: dict[tuple[str, str], list[tuple[int, int, str]]] = {}
    for row in connection.execute(query):
        found.setdefault((row.definition, row.layer), []).append((row.first, row.last, _sha256(row.digest)))
    return found


def _sha256(digits: str) -> str:
    return f"sha256:{digits}" if digits else ""


def _digits(digest: str) -> str:
    return digest.removeprefix("sha256:")


class _Adding:
    """One transaction that adds releases."""

    def __init__(self, connection: Connection, workspace: int) -> None:
        self._connection, self._workspace = connection, workspace
        self._images = Numbers(connection, schema.image)
        self._packages = Numbers(connection, schema.package)
        self._places = Numbers(connection, schema.place)
        self._layers = Numbers(connection, schema.layer)
        self._known: dict[int, _Image] = {}
        # What many releases share is looked up once: by where it is in memory, and kept so that it stays there.
        self._items: dict[int, tuple[tuple[Held, ...], frozenset[Item]]] = {}

    def add(self, release: Release) -> bool:
        number = self._images.of((self._workspace, release.component, release.image))
        if number not in self._known:
            self._images.flush()
            self._known[number] = _Image(self._connection, number, release.component, release.image)
        held = frozenset[Item]().union(*map(self._of, release.held))
        laid = frozenset(
            (self._layers.of((one.key, _digits(one.digest), one.size)), self._places.of((one.definition, one.name, "")))
            for one in release.layers
        )
        return self._known[number].put(_Entry(replace(release, held=(), layers=()), held, laid))

    def _of(self, part: tuple[Held, ...]) -> frozenset[Item]:
        known = self._items.get(id(part))
        if known is None:
            found = frozenset(
                (
                    self._packages.of((one.name, one.version, one.source, one.source_version)),
                    self._places.of((one.definition, one.layer, one.why)),
                )
                for one in part
            )
            known = self._items[id(part)] = (part, found)
        return known[1]

    def flush(self) -> None:
        """Write what has changed."""
        for numbers in (self._packages, self._places, self._layers):
            numbers.flush()
        for image in self._known.values():
            image.flush()
        self._items.clear()


@dataclass(frozen=True, slots=True)
class _Entry:
    """A release, without what it holds, and that as numbers."""

    release: Release
    held: frozenset[Item]
    laid: frozenset[Item]

    @property
    def name(self) -> tuple[str, int]:
        """What it is known by."""
        return (self.release.version, self.release.revision)

    def after(self, old: _Entry) -> _Entry:
        """What is known now of a release of which something was known before."""
        new, had = self.release, old.release
        if new.content_key != had.content_key:
            return self
        # The first commit that has it says when it was released, and it has one digest.
        if had.commit or not new.commit:
            new = replace(new, commit=had.commit, time=had.time or new.time)
        new = replace(new, digest=new.digest or had.digest, config=new.config or had.config)
        return _Entry(new, self.held or old.held, self.laid or old.laid)


def _order(release: Release) -> tuple[Any, ...]:
    """A key that sorts the releases of an image, oldest first; one of an unknown time is older than all others."""
    return (release.time, naming.age(release.reference))


class _Image:
    """The releases of one image while some are added."""

    def __init__(self, connection: Connection, number: int, component: str, name: str) -> None:
        self._connection, self._number = connection, number
        self._rows = list(some(connection, Image(number, component, name, 0)).values())
        self._where = {(row.version, row.revision): at for at, row in enumerate(self._rows)}
        self._written = len(self._rows)
        self._held = Spans(connection, schema.held, number)
        self._laid = Spans(connection, schema.laid, number)
        # What does not come after all others waits, so that what comes after it is written anew once.
        self._waiting: list[_Entry] = []
        self._new: set[tuple[str, int]] = set()

    def put(self, new: _Entry) -> bool:
        """Add a release, or what more is known of it: whether it is new."""
        at = self._where.get(new.name)
        if at is None:
            fresh = new.name not in self._new
            self._new.add(new.name)
            if not self._waiting and (not self._rows or _order(self._rows[-1]) < _order(new.release)):
                self._append(new)
            else:
                self._waiting.append(new)
            return fresh
        if self._waiting or not self._updated(at, new):
            self._waiting.append(new)
        return False

    def _updated(self, at: int, new: _Entry) -> bool:
        """Whether all that is new of a release is in its own row, and it stays where it is."""
        old = self._rows[at]
        merged = new.after(_Entry(old, new.held, new.laid)).release
        around = [*self._rows[max(at - 1, 0) : at], merged, *self._rows[at + 1 : at + 2]]
        if (merged.content_key, merged.digest) != (old.content_key, old.digest) or around != sorted(around, key=_order):
            return False
        self._rows[at] = merged
        if merged != old and at < self._written:
            row = schema.release.c
            mine = (row.image_id == self._number, row.number == at)
            self._connection.execute(update(schema.release).where(*mine).values(**self._values(at)))
        return True

    def _append(self, new: _Entry) -> None:
        number = len(self._rows)
        self._where[new.name] = number
        self._rows.append(new.release)
        self._held.append(number, new.held)
        self._laid.append(number, new.laid)

    def _settle(self) -> None:
        """Put those that wait where they belong, and all that are newer after them."""
        waiting, self._waiting = self._waiting, []
        begin = min(bisect.bisect_left(self._rows, _order(one.release), key=_order) for one in waiting)
        begin = min(begin, *(self._where.get(one.name, begin) for one in waiting))
        self._write()
        later = [_Entry(row, self._held.at(at), self._laid.at(at)) for at, row in enumerate(self._rows) if at >= begin]
        entries = {one.name: one for one in later}
        for one in waiting:
            entries[one.name] = one.after(entries[one.name]) if one.name in entries else one
        self._held.cut(begin)
        self._laid.cut(begin)
        row = schema.release.c
        self._connection.execute(delete(schema.release).where(row.image_id == self._number, row.number >= begin))
        del self._rows[begin:]
        self._written = min(self._written, begin)
        self._where = {(one.version, one.revision): at for at, one in enumerate(self._rows)}
        for one in sorted(entries.values(), key=lambda entry: _order(entry.release)):
            self._append(one)

    def flush(self) -> None:
        """Write what has changed."""
        if self._waiting:
            self._settle()
        self._write()

    def _write(self) -> None:
        rows = [self._values(at) for at in range(self._written, len(self._rows))]
        if rows:
            self._connection.execute(insert(schema.release), rows)
        self._written = len(self._rows)
        self._held.flush()
        self._laid.flush()

    def _values(self, at: int) -> dict[str, Any]:
        one = self._rows[at]
        return {
            "image_id": self._number, "number": at, "version": one.version, "revision": one.revision,
            "content_key": one.content_key, "lock": _digits(one.lock), "commit": one.commit, "time": one.time,
            "digest": _digits(one.digest), "config": _digits(one.config),
        }  # fmt: skip
