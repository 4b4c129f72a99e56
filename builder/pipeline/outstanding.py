"""Locks × what the record knows of publications → what is out there in another version than it is locked in now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from builder.errors import RecordError
from builder.model.lock import Artifact
from builder.model.release import Held
from builder.pipeline import locking, packages, recording, selection
from builder.pipeline.edges import Edges
from builder.security import judging
from dsl.catalog import Catalog, Definition

if TYPE_CHECKING:
    from builder.record.database import Record

Published = Mapping[str, tuple[Artifact, ...]]
"""By the keys of images: what their newest published release holds, and their locks do not hold so any more."""
NOTHING: Published = MappingProxyType({})
Behind = Mapping[str, tuple[tuple[Artifact, frozenset[str]], ...]]
"""By what advisories name: each other version of it that is published, and the names of the images that have that."""


def published(catalog: Catalog, targets: Iterable[str], edges: Edges) -> Published:
    """What of some images is published otherwise than it is locked, as far as publications are known.

    Raises:
        UnknownTarget: there is no such image.
    """
    images = selection.images(catalog, targets)
    try:
        record = recording.existing(catalog, edges.store)
        return _published(catalog, images, record, edges) if record else NOTHING
    except RecordError:
        # Whoever read the feeds has told that.
        return NOTHING


def _published(catalog: Catalog, images: tuple[Definition, ...], record: Record, edges: Edges) -> Published:
    from builder.record import publications, releases

    name = recording.workspace(catalog)
    with record.reading() as connection:
        if not publications.newest(connection, name):
            return NOTHING
    recording.follow(catalog, record, edges.reporter)
    known = locking.revisions(catalog, images)
    locks = locking.read(selection.definitions(images), packages.architecture(catalog))
    out: dict[str, frozenset[int]] = {}
    with record.reading() as connection:
        newest = publications.newest(connection, name)
        for image in images:
            last, now = newest.get((image.component or "", image.name)), known.get(image.key)
            if last is None:
                continue
            if now and (last.version, last.revision, last.content_key) == (now.version, now.revision, now.content_key):
                continue
            out[image.key] = releases.packages_at(connection, last.image, last.number)
        held = releases.packages(connection, frozenset().union(*out.values()))
    numbers: dict[tuple[str, str], set[int]] = {}
    for number, one in held.items():
        numbers.setdefault(_named(one), set()).add(number)
    # By number, since thousands of packages are the same few hundred.
    has = {
        key: frozenset(number for one in lock.held for number in numbers.get(judging.named(one), ()))
        for key, lock in locks.items()
    }
    found: dict[str, tuple[Artifact, ...]] = {}
    for image in images:
        mine = (has[part.key] for part in image.chain() if part.key in has)
        if image.key in out:
            found[image.key] = tuple(held[number].artifact for number in sorted(out[image.key].difference(*mine)))
    return found


def _named(one: Held) -> tuple[str, str]:
    return (one.source, one.source_version) if one.source else judging.named(one.artifact)


def behind(images: Iterable[Definition], out: Published) -> Behind:
    """The same for some images, by what advisories name: these are judged once for each version."""
    found: dict[str, dict[str, tuple[Artifact, set[str]]]] = {}
    for image in images:
        for one in out.get(image.key, ()):
            name, version = judging.named(one)
            found.setdefault(name, {}).setdefault(version, (one, set()))[1].add(image.name)
    return {
        name: tuple((one, frozenset(images_)) for one, images_ in rows.values()) for name, rows in found.items()
    }  # fmt: skip
