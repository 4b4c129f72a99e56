"""Images from where they lie → somewhere else, with what lies beside them, byte for byte."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from builder import transports
from builder.errors import UsageError
from builder.model.digest import Digest
from builder.model.image import Image, StoredImage
from builder.model.release import moment
from builder.pipeline import building, locking, published, recording, selection, workspace
from builder.pipeline.edges import Edges
from builder.registry import address
from builder.registry.logins import Logins
from builder.registry.session import Session
from builder.transports import Named, naming, shipping
from builder.transports.evidence import ARTIFACTS, Evidence
from builder.transports.parcels import Parcel
from builder.trust import cosign
from dsl import versions
from dsl.catalog import Catalog
from dsl.naming import Names

_OURS = "org.imgbuild.component"


@dataclass(frozen=True, slots=True)
class Copied:
    """An image that is there now.

    Attributes:
        source, target: as the command line names them.
        digest: of its manifest; empty if the source keeps none.
    """

    source: str
    target: str
    digest: Digest | str

    def data(self) -> dict[str, Any]:
        """For machines."""
        return {"source": self.source, "target": self.target, "digest": self.digest or None}


def copy(catalog: Catalog, sources: Iterable[str], target: str, edges: Edges) -> tuple[Copied, ...]:
    """Copy images.

    Args:
        catalog: what comes into a registry is recorded, if it is an image of its own.
        sources: each an image, the newest that fits; or a place without a name, for the newest release of each image there.
        target: a way out, as `imgbuild build --to` has it, or ``registry:HOST[:PORT][/PREFIX]``.

    Raises:
        UsageError: there is no such image, or it cannot be written there.
        ImageError: one is damaged.
        RegistryError: a registry does not answer, or refuses.
    """
    found = [stored for source in sources for stored in _newest(source, catalog.names, edges)]
    kind, colon, rest = target.partition(":")
    if kind == transports.REGISTRY and colon:
        return tuple(_send(catalog, found, rest, edges))
    way = transports.parse_target(target, building.offered(catalog))
    transports.require((way,), [naming.split(naming.tagged(stored.name))[0] for stored in found], edges.store)
    return tuple(_write(found, way, edges))


def released(catalog: Catalog, targets: Iterable[str], registry: str) -> tuple[str, ...]:
    """Where the releases lie that the locks say are current.

    Args:
        targets: none for everything.
        registry: ``HOST[:PORT][/PREFIX]``; empty for the workspace's.

    Raises:
        UsageError: there is no such target, it has no release, or no registry is named.
        ImgbuildError: a lock cannot be read.
    """
    home = workspace.home(catalog, registry)
    images = selection.images(catalog, targets)
    revisions = locking.revisions(catalog, images)
    found = []
    for image in images:
        if revision := revisions.get(image.key):
            site = catalog.component_of(image).overlay or ""
            tag = home.names.tag(versions.tag(revision.version, revision.revision), site)
            found.append(f"registry:{home}{home.repository(image.component or '', image.name)}:{tag}")
        elif targets:
            raise UsageError(f"{image.name} is not locked", f"run `imgbuild lock {image.component or image.name}`")
    return tuple(found)


def _newest(source: str, called: Names, edges: Edges) -> Iterator[StoredImage]:
    """What a source means: of a place that has several releases of an image, the newest of each."""
    names = transports.releases(source, edges.store, called)
    last = {naming.split(naming.tagged(name))[0]: name for name in names}
    for name in last.values():
        stored = transports.read_stored(name, edges.store, called)
        if not stored.kept:
            edges.reporter.warn(f"{name}: no manifest is kept there, so what is written has another digest")
        yield stored


def _write(found: Iterable[StoredImage], way: transports.Target, edges: Edges) -> Iterator[Copied]:
    for stored in found:
        image = transports.parsed(stored)
        reference = _reference(stored, image)
        name = naming.split(reference)[0]
        beside = _evidence(stored, edges)
        seals = {cosign.SIGNATURES: beside.signatures, cosign.ATTESTATIONS: beside.attestations}
        kept = {kind: given for kind, given in seals.items() if given}
        named = Named(name, reference, published.notes(stored.notes), dict(_beside(stored)), kept)
        transports.write(image, way, named, edges.store, edges.reporter)
        yield Copied(stored.name, str(way.of(name)), image.digest if stored.kept else "")


def _send(catalog: Catalog, found: Iterable[StoredImage], where: str, edges: Edges) -> Iterator[Copied]:
    home = address.home(where, catalog.names)
    host = home.address.host
    sites = {component.name: component.overlay or "" for component in catalog.components}
    parcels = []
    now = {published.TIME: moment(int(time.time()))}
    for stored in found:
        image = transports.parsed(stored)
        name, release = naming.split(_reference(stored, image))
        component = image.labels.get(_OURS, "")
        tag = home.names.tag(release, sites.get(component, ""))
        beside = _evidence(stored, edges)
        parcels.append(
            Parcel(
                image, stored.name, home.repository(component, name), tag, release,
                bool((versions.parse_tag(release) or ("", 0))[1]),
                beside=dict(_beside(stored)), notes={**published.notes(stored.notes), **now}, signatures=beside.signatures,
                attestations=beside.attestations,
            )
        )  # fmt: skip
    with Session(host, Logins(), edges.reporter) as session:
        session.ping()
        done = shipping.send(parcels, session, edges.reporter, edges.jobs, dry_run=False)
    own = {(image.component, image.name) for component in catalog.components for image in component.images}
    there = published.sent(parcels, done, str(host))
    recording.publish(catalog, tuple(x for x in there if (x[0].component, x[0].image) in own), edges)
    for parcel, sent in zip(parcels, done, strict=True):
        if sent.error:
            raise sent.error
        yield Copied(parcel.place, f"registry:{sent.reference}", sent.digest)


def _reference(stored: StoredImage, image: Image) -> str:
    """What an image is called: the release that it says it is, whatever tag it was asked by; another's by its place."""
    title, version = (image.labels.get(f"org.opencontainers.image.{key}", "") for key in ("title", "version"))
    if title and version and _OURS in image.labels:
        return f"{title}:{version}"
    reference = naming.tagged(stored.name)
    if not all(naming.split(reference)) or "/" in reference:
        raise UsageError(f"{stored.name} has no name, and says none of itself", "name it where it lies: PLACE:NAME:TAG")
    return reference


def _evidence(stored: StoredImage, edges: Edges) -> Evidence:
    """What is signed of an image: what is damaged of it is told and stays behind."""
    found = transports.evidence_of(stored) or Evidence()
    for problem in found.broken:
        edges.reporter.warn(f"{stored.name}: {problem.where}: {problem.message}")
    return found


def _beside(stored: StoredImage) -> Iterator[tuple[str, bytes]]:
    for note in ARTIFACTS:
        if (data := stored.beside(note)) is not None:
            yield note, data
