"""Images from where they lie → somewhere else, with what lies beside them, byte for byte."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from builder import transports
from builder.errors import UsageError
from builder.model.digest import Digest
from builder.model.image import Image, StoredImage
from builder.model.release import moment
from builder.pipeline import building, decisions, locking, published, recording, selection, workspace
from builder.pipeline.edges import Edges
from builder.registry import address
from builder.registry.logins import Logins
from builder.registry.session import Session
from builder.transports import Named, evidence, naming, oci_layout, shipping
from builder.transports.evidence import ARTIFACTS, Evidence
from builder.transports.parcels import Parcel
from builder.trust import cosign
from builder.trust.cosign import Seal
from dsl import versions
from dsl.catalog import Catalog
from dsl.naming import Names

COMPONENT = "org.imgbuild.component"
"""The label of our images that says which component one is of."""


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
        return tuple(send(catalog, found, rest, edges))
    way = transports.parse_target(target, building.offered(catalog))
    transports.require((way,), [naming.split(naming.tagged(stored.name))[0] for stored in found], edges.store)
    return tuple(write(found, way, edges))


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


def write(found: Iterable[StoredImage], way: transports.Target, edges: Edges) -> Iterator[Copied]:
    """Write images to a place that is no registry."""
    for stored in found:
        # What takes one image of a name gets this machine's.
        every = stored.every() if way.kind == "oci" else (stored,)
        for one in every:
            image = transports.parsed(one)
            named = called(one, image, edges)
            if way.kind == "oci" and named.seals:
                named = replace(named, seals=_with_others(named.seals, Path(way.path), named.reference, image.digest))
            transports.write(image, way, named, edges.store, edges.reporter)
        whole = stored.whole()
        if whole and whole.digest and way.kind == "oci" and (given := seals(whole, edges)):
            given = _with_others(given, Path(way.path), named.reference, whole.digest)
            oci_layout.keep(Path(way.path), named.reference, whole.digest, given)
        yield Copied(stored.name, str(way.of(named.image)), (stored.named or image.digest) if stored.kept else "")


def called(stored: StoredImage, image: Image, edges: Edges) -> Named:
    """What an image is called where it is written, with all that lies beside it."""
    reference = _reference(stored, image)
    kept = seals(stored, edges)
    return Named(naming.split(reference)[0], reference, published.notes(stored.notes), dict(_beside(stored)), kept)


def seals(stored: StoredImage, edges: Edges) -> Mapping[str, tuple[Seal, ...]]:
    """The signatures of an image, or of an index in its place, by their kind."""
    beside = _evidence(stored, edges)
    found = {cosign.SIGNATURES: beside.signatures, cosign.ATTESTATIONS: beside.attestations}
    return {kind: given for kind, given in found.items() if given}


def _with_others(
    brought: Mapping[str, tuple[Seal, ...]], folder: Path, reference: str, digest: Digest
) -> Mapping[str, tuple[Seal, ...]]:
    """Signatures, with those that a layout has of the same image: what others have put there stays."""
    if not (folder / "index.json").exists():
        return brought
    there = oci_layout.at(folder)
    named = (one for entry in there.entries for one in (*entry.every, *((entry.index,) if entry.index else ())))
    found = next((one for one in named if (one.name, one.digest) == (reference, digest)), None)
    if found is None:
        return brought
    known = evidence.of_layout(there.stored(found))
    others = {cosign.SIGNATURES: known.signatures, cosign.ATTESTATIONS: known.attestations}
    return {
        kind: (*given, *(one for one in others[kind] if one.entry not in {own.entry for own in given}))
        for kind, given in brought.items()
    }


def send(
    catalog: Catalog | None, found: Iterable[StoredImage], where: str, edges: Edges, *,
    floating: Mapping[str, tuple[str, ...]] | None = None, origins: Mapping[Digest, str] | None = None,
) -> Iterator[Copied]:  # fmt: skip
    """Send images to a registry.

    Args:
        catalog: whose images are recorded there; None where there is no workspace.
        floating: tags that move to an image beside its own, by what it is called: ``nova-api:31.0.0-r4``. Those of its
            version begin there as the names of that registry do.
        origins: repositories of the registry that have a blob.
    """
    home = address.home(where, catalog.names if catalog else Names())
    host = home.address.host
    sites = {component.name: component.overlay or "" for component in catalog.components} if catalog else {}
    parcels = []
    withdrawn = decisions.withdrawn(catalog) if catalog and floating else {}
    now = {published.TIME: moment(int(time.time()))}

    def packed(stored: StoredImage) -> Parcel:
        image = transports.parsed(stored)
        name, release = naming.split(_reference(stored, image))
        component = image.labels.get(COMPONENT, "")
        tag = home.names.tag(release, sites.get(component, ""))
        beside = _evidence(stored, edges)
        return Parcel(
                image, stored.name, home.repository(component, name), tag, release,
                bool((versions.parse_tag(release) or ("", 0))[1]),
                beside=dict(_beside(stored)), notes={**published.notes(stored.notes), **now}, signatures=beside.signatures,
                attestations=beside.attestations,
                floating=tuple(_floating(home.names, release, (floating or {}).get(f"{name}:{release}", ()))),
                withdrawn=withdrawn.get(name, frozenset()),
        )  # fmt: skip

    for stored in found:
        first, *others = (packed(one) for one in stored.every())
        whole = stored.whole()
        sealed = _evidence(whole, edges).signatures if whole else ()
        parcels.append(replace(first, others=tuple(others), index_signatures=sealed))
    with Session(host, Logins(), edges.reporter) as session:
        session.ping()
        done = shipping.send(parcels, session, edges.reporter, edges.jobs, dry_run=False, origins=origins)
    if catalog:
        own = {(image.component, image.name) for component in catalog.components for image in component.images}
        there = published.sent(parcels, done, str(host))
        recording.publish(catalog, tuple(x for x in there if (x[0].component, x[0].image) in own), edges)
    for parcel, sent in zip(parcels, done, strict=True):
        if sent.error:
            raise sent.error
        yield Copied(parcel.place, f"registry:{sent.reference}", sent.digest)


def _floating(names: Names, release: str, tags: Iterable[str]) -> Iterator[str]:
    """Floating tags of a release as a registry has them."""
    version, _ = versions.parse_tag(release) or ("", 0)
    known = dict(zip(versions.floating_tags(version), names.floating(version), strict=True))
    yield from (known.get(tag, tag) for tag in tags)


def _reference(stored: StoredImage, image: Image) -> str:
    """What an image is called: the release that it says it is, whatever tag it was asked by; another's by its place."""
    title, version = (image.labels.get(f"org.opencontainers.image.{key}", "") for key in ("title", "version"))
    if title and version and COMPONENT in image.labels:
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
