"""Locks × what the record knows of publications → what is out there in another version than it is locked in now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from builder.errors import RecordError
from builder.model.lock import Artifact
from builder.pipeline import locking, packages, recording, selection
from builder.pipeline.edges import Edges
from builder.security import judging
from dsl.catalog import Catalog, Definition

if TYPE_CHECKING:
    from builder.record.database import Record

Published = Mapping[str, tuple[Artifact, ...]]
"""By the keys of images: what their newest published release holds, and their locks do not hold so any more."""
NOTHING: Published = MappingProxyType({})
Behind = Mapping[str, Mapping[str, tuple[Artifact, ...]]]
"""By what advisories name: the images that have it in another version where they are published."""


def published(catalog: Catalog, targets: Iterable[str], edges: Edges) -> Published:
    """What of some images is published otherwise than it is locked, as far as publications are known.

    Raises:
        UnknownTarget: there is no such image.
    """
    images = selection.images(catalog, targets)
    try:
        return _published(catalog, images, recording.opened(catalog, edges.store), edges)
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
    found: dict[str, tuple[Artifact, ...]] = {}
    with record.reading() as connection:
        newest = publications.newest(connection, name)
        for image in images:
            out, now = newest.get((image.component or "", image.name)), known.get(image.key)
            if out is None:
                continue
            if now and (out.version, out.revision, out.content_key) == (now.version, now.revision, now.content_key):
                continue
            mine = [locks[part.key] for part in image.chain() if part.key in locks]
            has = {judging.named(one) for lock in mine for one in lock.held}
            held = (one.artifact for one in releases.held_at(connection, out.image, out.number))
            found[image.key] = tuple(one for one in held if judging.named(one) not in has)
    return found


def behind(images: Iterable[Definition], out: Published) -> Behind:
    """The same for some images by what advisories name, and the names of the images."""
    found: dict[str, dict[str, tuple[Artifact, ...]]] = {}
    for image in images:
        for one in out.get(image.key, ()):
            rows = found.setdefault(judging.named(one)[0], {})
            rows[image.name] = (*rows.get(image.name, ()), one)
    return found
