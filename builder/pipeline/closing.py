"""Releases that come in place of others × feeds → the advisories that this closes, by what the record says that they hold."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from builder.errors import RecordError, UsageError
from builder.pipeline import in_use, securing
from builder.pipeline.edges import Edges
from builder.pipeline.finding import Chosen
from builder.pipeline.securing import Finding
from dsl.catalog import Catalog


@dataclass(frozen=True, slots=True)
class Closed:
    """What is open in releases before, and not after them.

    Attributes:
        findings: each for the images in which it is so.
        unknown: releases that the record does not know.
    """

    findings: tuple[Finding, ...] = ()
    unknown: tuple[str, ...] = ()


def between(catalog: Catalog, moved: Iterable[tuple[str, str, str]], edges: Edges) -> Closed:
    """The advisories that some releases close, by the feeds as they were read last: no address is asked.

    Args:
        moved: images, with the tags of what runs and of what comes.
    """
    pairs = {f"{image}:{old}": f"{image}:{new}" for image, old, new in moved}
    if not pairs:
        return Closed()
    names = frozenset((*pairs, *pairs.values()))
    feeds = securing.read_feeds(catalog, (), edges, offline=True)
    try:
        status = in_use.status(catalog, (), feeds, Chosen("named", references=names), edges)
    except (RecordError, UsageError):
        return Closed(unknown=tuple(sorted(names)))
    there = {(one.advisory.id, one.advisory.source, image) for one in status.open for image in one.images}
    unknown = tuple(sorted(names - {*status.releases}))
    found = []
    for one in status.open:
        key = one.advisory.id, one.advisory.source
        images = tuple(
            old for old in one.images if old in pairs and pairs[old] not in unknown and (*key, pairs[old]) not in there
        )
        if images:
            found.append(replace(one, images=tuple(image.rpartition(":")[0] for image in images)))
    return Closed(tuple(found), unknown)
