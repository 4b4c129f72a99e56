"""Publications in the record: in which repositories of which registries releases lie, since when, and by which tags."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, and_, insert, or_, select, update

from builder.model.release import Publication
from builder.record import numbers, schema
from builder.record.numbers import Numbers


def add(connection: Connection, workspace: str, found: Iterable[Publication]) -> None:
    """Add publications, or what more is known of them: the time that is known first stays.

    A tag that moves names one release of a repository: whichever comes last has it.
    """
    images, number = Numbers(connection, schema.image), numbers.workspace(connection, workspace)
    for one in found:
        image = images.of((number, one.component, one.image))
        images.flush()
        _put(connection, image, one)


def _put(connection: Connection, image: int, one: Publication) -> None:
    row = schema.publication
    there = and_(row.c.image_id == image, row.c.repository == one.repository)
    mine = and_(there, row.c.version == one.version, row.c.revision == one.revision)
    digest, floating, time = one.digest.removeprefix("sha256:"), set(one.floating), one.time
    is_there = False
    for old in connection.execute(select(row).where(there, or_(mine, row.c.floating != ""))).all():
        had = set(old.floating.split())
        if (old.version, old.revision) == (one.version, one.revision):
            is_there = True
            if old.digest == digest:
                floating, time = floating | had, old.time or time
        elif had & set(one.floating):
            other = and_(there, row.c.version == old.version, row.c.revision == old.revision)
            left = " ".join(sorted(had - set(one.floating)))
            connection.execute(update(row).where(other).values(floating=left))
    values = {"digest": digest, "floating": " ".join(sorted(floating)), "time": time}
    if is_there:
        connection.execute(update(row).where(mine).values(**values))
    else:
        own = {"image_id": image, "version": one.version, "revision": one.revision, "repository": one.repository}
        connection.execute(insert(row).values(**own, **values))


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest release of an image that is published.

    Attributes:
        image, number: of the image, and of the release.
    """

    image: int
    number: int
    version: str
    revision: int
    content_key: str


def newest(connection: Connection, workspace: str) -> dict[tuple[str, str], Newest]:
    """The newest published releases of a workspace's images, by component and image; none of what nobody publishes."""
    image, row, where = schema.image, schema.release, schema.publication
    other = row.alias()
    is_out = (where.c.image_id == other.c.image_id, where.c.version == other.c.version,
              where.c.revision == other.c.revision)  # fmt: skip
    last = (
        select(other.c.number)
        .where(other.c.image_id == image.c.id, select(where.c.image_id).where(*is_out).correlate(other).exists())
        .order_by(other.c.number.desc())
        .limit(1)
        .correlate(image)
        .scalar_subquery()
    )
    query = (
        select(image.c.component, image.c.name, image.c.id, row.c.number, row.c.version, row.c.revision,
               row.c.content_key)
        .select_from(image.join(schema.workspace).join(row, and_(row.c.image_id == image.c.id, row.c.number == last)))
        .where(schema.workspace.c.name == workspace)
        .where(select(where.c.image_id).where(where.c.image_id == image.c.id).correlate(image).exists())
    )  # fmt: skip
    return {(found.component, found.name): Newest(*found[2:]) for found in connection.execute(query)}


def since(connection: Connection, image: int, number: int) -> dict[int, tuple[Publication, ...]]:
    """Where the releases of an image lie, by their numbers, from one of them on."""
    row, where, names = schema.release, schema.publication, schema.image
    same = and_(
        where.c.image_id == row.c.image_id, where.c.version == row.c.version, where.c.revision == row.c.revision
    )
    query = (
        select(row.c.number, names.c.component, names.c.name, where.c.version, where.c.revision, where.c.repository,
               where.c.digest, where.c.floating, where.c.time)
        .select_from(row.join(where, same).join(names, names.c.id == row.c.image_id))
        .where(row.c.image_id == image, row.c.number >= number)
        .order_by(row.c.number, where.c.repository)
    )  # fmt: skip
    found: dict[int, list[Publication]] = {}
    for one in connection.execute(query):
        found.setdefault(one.number, []).append(
            Publication(*one[1:6], f"sha256:{one.digest}", tuple(one.floating.split()), one.time)
        )
    return {at: tuple(rows) for at, rows in found.items()}
