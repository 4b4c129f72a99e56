"""What lies in registries, or was sent there just now → publications: where a release is, since when, by which tags."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from builder.errors import RegistryError
from builder.model.image import StoredImage
from builder.model.release import Publication, Release
from builder.pipeline.edges import Edges
from builder.registry import address
from builder.transports import REGISTRY
from builder.transports.evidence import ARTIFACTS
from builder.transports.oci_layout import RELEASE, SEALED
from dsl.catalog import Catalog
from dsl.naming import Names

if TYPE_CHECKING:
    from builder.transports.parcels import Parcel
    from builder.transports.shipping import Sent

TIME = "org.imgbuild.published"
"""The annotation of what refers to an image that says when it was published first: registries keep no times."""
_LATEST = "latest"


def notes(told: Mapping[str, str]) -> dict[str, str]:
    """What a layout or a registry says of an image by itself: neither what lies beside it, nor when it was published."""
    beside = (*ARTIFACTS, *SEALED.values(), TIME, RELEASE)
    return {key: value for key, value in told.items() if key.startswith("org.imgbuild.") and key not in beside}


def sent(parcels: Sequence[Parcel], done: Sequence[Sent], host: str) -> Iterator[tuple[Publication, Parcel]]:
    """What is published now of what was to be sent, -dev builds left out: they are no releases.

    Since when it is there is known of what had to be sent.
    """
    for parcel, one in zip(parcels, done, strict=True):
        said = parcel.notes
        revision = said.get("org.imgbuild.revision", "")
        if one.error or not parcel.fixed or not revision.isdigit():
            continue
        yield (
            Publication(
                said.get("org.imgbuild.component", ""), said.get("org.imgbuild.image", ""),
                said.get("org.imgbuild.version", ""), int(revision), f"{host}/{parcel.repository}", one.digest,
                tuple(tag for tag in one.tags if tag != parcel.tag),
                _seconds(said.get(TIME, "")) if one.status == "published" else 0,
            ),
            parcel,
        )  # fmt: skip


def of(release: Release, stored: StoredImage) -> tuple[Publication, ...]:
    """Where a release was found, if that is a registry."""
    kind, _, name = stored.name.partition(":")
    if kind != REGISTRY:
        return ()
    where = address.parse(name)
    return (
        Publication(
            release.component, release.image, release.version, release.revision, f"{where.host}/{where.path}",
            stored.named or release.digest, time=_seconds(stored.notes.get(TIME, "")),
        ),
    )  # fmt: skip


def own(catalog: Catalog, edges: Edges) -> tuple[str, ...]:
    """The repositories that a workspace's images have in its registry, as images are named on the command line.

    Only what is there is named; that the registry does not answer is told.
    """
    if not catalog.workspace.registry:
        return ()
    from builder.registry import content
    from builder.transports import registry

    home = address.home(catalog.workspace.registry, catalog.names)
    names = sorted({home.repository(one.name, image.name) for one in catalog.components for image in one.images})
    try:
        with registry.session(home.address, edges.reporter) as session:
            there = [name for name in names if content.tags(session, name)]
    except RegistryError as error:
        edges.reporter.warn(f"what is published is not known from there: {error.message}")
        return ()
    return tuple(f"{REGISTRY}:{home}{name}" for name in there)


def with_floating(found: Iterable[Publication], place: str, names: Names) -> Iterator[Publication]:
    """What was found in a place, with the tags that name it now beside its own.

    Args:
        place: as images are named on the command line.

    Raises:
        RegistryError: the registry does not answer.
    """
    from builder.registry import content
    from builder.transports import registry

    repositories: dict[str, list[Publication]] = {}
    for one in found:
        repositories.setdefault(one.repository, []).append(one)
    scheme = "http://" if place.startswith(f"{REGISTRY}:http://") else ""
    for repository, mine in repositories.items():
        where = address.parse(scheme + repository)
        wanted = {_LATEST, *(tag for one in mine for tag in names.floating(one.version))}
        with registry.session(where) as session:
            tags = sorted(wanted & set(content.tags(session, where.path) or ()))
            leads = {tag: content.digest_of(session, where.path, tag) for tag in tags}
        for one in mine:
            yield replace(one, floating=tuple(tag for tag in tags if leads[tag] == one.digest))


def _seconds(text: str) -> int:
    try:
        return int(datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp())
    except (ValueError, OverflowError):
        return 0
