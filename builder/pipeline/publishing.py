"""Releases of a layout that the locks say are current → a registry."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from packageurl import PackageURL

from builder import transports
from builder.errors import ImageError, UsageError
from builder.model.digest import Digest
from builder.model.lock import Revision
from builder.model.release import moment
from builder.pipeline import decisions, locking, packages, published, recording, selection, workspace
from builder.pipeline.edges import Edges
from builder.registry.address import Home, Host
from builder.registry.logins import Logins
from builder.registry.session import Session
from builder.report import Reporter
from builder.security import vex
from builder.transports import evidence, naming, oci_layout, sealing, shipping
from builder.transports.oci_layout import Entry, Layout
from builder.transports.parcels import Parcel
from builder.transports.shipping import Sent
from builder.trust import cosign, dsse
from builder.trust.cosign import Seal, Signer
from dsl import versions
from dsl.catalog import Catalog, Definition
from dsl.errors import ImgbuildError

_CONTENT_KEY = "org.imgbuild.content-key"


@dataclass(frozen=True, slots=True)
class Published:
    """What became of one image.

    Attributes:
        image: ``nova-api:31.0.0-r4``.
        sent: nothing if it could not be begun.
    """

    image: str
    sent: Sent | None
    error: ImgbuildError | None = None

    @property
    def status(self) -> str:
        """``published``, ``there`` or ``failed``."""
        return self.sent.status if self.sent else "failed"

    def data(self) -> dict[str, Any]:
        """For machines."""
        sent = self.sent
        return {
            "image": self.image,
            "status": self.status,
            "reference": sent.reference if sent else None,
            "digest": sent.digest if sent else None,
            "layers_sent": sent.layers_sent if sent else 0,
            "layers_mounted": sent.layers_mounted if sent else 0,
            "layers_there": sent.layers_there if sent else 0,
            "bytes": sent.bytes if sent else 0,
            "tags": list(sent.tags) if sent else [],
            "attached": list(sent.attached) if sent else [],
            "signed": (sent.signed or None) if sent else None,
            "attested": list(sent.attested) if sent else [],
        }


def publish(
    catalog: Catalog,
    targets: Iterable[str],
    registry: str,
    layout: str,
    edges: Edges,
    *,
    latest: bool = False,
    dry_run: bool = False,
    plain_http: bool = False,
    signer: Signer | None = None,
) -> tuple[Published, ...]:
    """Send the current releases of some targets; one that fails keeps none of the others from coming.

    Args:
        targets: none for all of which the layout has a release.
        registry: ``HOST[:PORT][/PREFIX]``; empty for the workspace's.
        layout: ``oci:out``.
        latest: the tag ``latest`` moves, too.
        plain_http: the registry has no TLS.
        signer: who signs the images, and attests what lies beside them.

    Raises:
        ImgbuildError: nothing could be begun.
    """
    home = workspace.home(catalog, registry)
    if plain_http:
        host = Host(home.address.host.name, True)
        home = replace(home, address=replace(home.address, host=host))
    host = home.address.host
    found = oci_layout.at(_folder(layout))
    names = tuple(targets)
    images = selection.images(catalog, names)
    withdrawn = decisions.withdrawn(catalog)
    every = [locking.revisions(packages.at(catalog, one), images) for one in packages.architectures(catalog)]
    chosen = tuple(_chosen(images, every, found, bool(names)))
    if not chosen:
        raise UsageError(
            f"{layout} has no release of this workspace's images", "run `imgbuild build`, or name the layout by --from"
        )
    parcels, failed = [], []
    for one in chosen:
        if isinstance(one, Published):
            failed.append(one)
            continue
        image, entry = one
        try:
            site = catalog.component_of(image).overlay or ""
            gone = withdrawn.get(image.name, frozenset())
            all_ = []
            for own in entry.every:
                parcel = _parcel(found, layout, image, site, own, home, latest=latest)
                told = _vex(catalog, image, parcel, host)
                beside = {**parcel.beside, **({oci_layout.VEX: told} if told else {})}
                all_.append(replace(parcel, beside=beside, withdrawn=gone))
            whole = found.stored(entry).whole()
            sealed = evidence.of_layout(whole).signatures if whole else ()
            parcels.append(replace(all_[0], others=tuple(all_[1:]), index_signatures=sealed))
            lacking = _lacking(image, entry, every)
            if lacking:
                edges.reporter.warn(
                    f"{parcels[-1].place} lacks {', '.join(lacking)}: it is published without; what another machine has "
                    "built joins it by `imgbuild copy`, then publish again"
                )
        except ImgbuildError as error:
            failed.append(Published(entry.name, None, error))
    for parcel in parcels:
        if not parcel.fixed:
            edges.reporter.warn(f"{parcel.place} is a -dev build: no release, and no floating tag moves to it")
    with Session(host, Logins(), edges.reporter) as session:
        if parcels:
            session.ping()
        sent = shipping.send(parcels, session, edges.reporter, edges.jobs, dry_run=dry_run, signer=signer)
    if not dry_run:
        recording.publish(catalog, tuple(published.sent(parcels, sent, str(host))), edges)
    if signer is not None and not dry_run:
        for parcel, there in zip(parcels, sent, strict=True):
            if there.error is None:
                _keep(_folder(layout), parcel, host, signer, edges.reporter)
    done = [Published(naming.tagged(p.place), one, one.error) for p, one in zip(parcels, sent, strict=True)]
    return (*done, *failed)


def _folder(layout: str) -> Path:
    kind, _, path = layout.partition(":")
    if kind != "oci" or not path:
        raise UsageError(f"{layout!r} is no OCI layout", "say --from oci:DIR; images are published from there")
    return Path(path)


def _chosen(
    images: Iterable[Definition], every: Sequence[Mapping[str, Revision]], layout: Layout, named: bool
) -> Iterator[tuple[Definition, Entry] | Published]:
    """The entry of each image's current release; in place of one that cannot be sent, why.

    Args:
        every: what locks say, for each architecture, the workspace's own first.
    """
    entries = {entry.name: entry for entry in layout.entries if entry.name}
    others: dict[tuple[str, str], list[str]] = {}
    for name in entries:
        others.setdefault(naming.series(name), []).append(name)
    for image in images:
        revision = next((found[image.key] for found in every if image.key in found), None)
        if revision is None:
            if named:
                owner = image.component or image.name
                yield _cannot(image.name, "it is not locked", f"run `imgbuild lock {owner}`")
            continue
        name, dev = (f"{image.name}:{versions.tag(revision.version, one)}" for one in (revision.revision, 0))
        again = f"run `imgbuild build {image.reference}`"
        there = sorted(others.get((image.name, naming.stream(name)), ()), key=naming.age)
        if entry := entries.get(name):
            if {one.notes.get(_CONTENT_KEY, "") for one in entry.every} <= _keys(image, revision, every).keys():
                yield image, entry
            else:
                yield _cannot(name, f"{layout.place} has it of another content than the lock says", again)
        elif dev in entries:
            yield image, entries[dev]
        elif there or named:
            has = f"its newest there is {naming.split(there[-1])[1]}" if there else "none of its releases is there"
            yield _cannot(name, f"{layout.place} does not have what the lock says: {has}", again)


def _keys(image: Definition, revision: Revision, every: Iterable[Mapping[str, Revision]]) -> dict[str, str]:
    """The architectures that a release is for, by the content that it has for them."""
    rows = [found[image.key] for found in every if image.key in found]
    meant = (revision.version, revision.revision)
    return {row.content_key: row.architecture for row in rows if (row.version, row.revision) == meant}


def _lacking(image: Definition, entry: Entry, every: Sequence[Mapping[str, Revision]]) -> tuple[str, ...]:
    """The architectures of a release that a layout does not have."""
    revision = next(found[image.key] for found in every if image.key in found)
    there = {one.notes.get(_CONTENT_KEY, "") for one in entry.every}
    return tuple(architecture for key, architecture in _keys(image, revision, every).items() if key not in there)


def _cannot(name: str, what: str, hint: str) -> Published:
    return Published(name, None, ImageError(f"{name}: {what}", hint))


def _parcel(
    layout: Layout, place: str, image: Definition, site: str, entry: Entry, home: Home, *, latest: bool
) -> Parcel:
    stored = layout.stored(entry)
    found = transports.parsed(replace(stored, name=f"{place}:{entry.name}"))
    if found.digest != entry.digest:
        raise ImageError(
            f"{place}:{entry.name}: its manifest is damaged: it has the digest {found.digest}, not {entry.digest}",
            "move the layout away and build again",
        )
    _, release = naming.split(entry.name)
    version, revision = versions.parse_tag(release) or ("", 0)
    fixed = bool(revision)
    floating = home.names.floating(version) if fixed else ()
    if latest and fixed and not naming.stream(entry.name):
        floating = (*floating, "latest")
    known = evidence.of_layout(stored)
    for problem in known.broken:
        # Signatures are made anew; what is told of an image is not.
        if problem.where in evidence.ARTIFACTS:
            raise ImageError(f"{place}:{entry.name}: {problem.where}: {problem.message}", "build it again")
    beside = {one.note: one.data for one in known.documents}
    # A registry keeps no times: that of the first publication lies beside the image.
    notes = {**published.notes(entry.notes), published.TIME: moment(int(time.time()))}
    return Parcel(
        found, f"{place}:{entry.name}", home.repository(image.component or "", image.name),
        home.names.tag(release, site), release, fixed, floating, beside, notes,
        signatures=known.signatures, attestations=known.attestations,
    )  # fmt: skip


def _vex(catalog: Catalog, image: Definition, parcel: Parcel, host: Host) -> bytes | None:
    """What the workspace has decided of flaws in an image."""
    document = decisions.vex_document(catalog)
    if document is None:
        return None
    # A statement that cannot be read is told, and none is lost in silence.
    decisions.statements(catalog)
    locks = [lock for _, lock in locking.every(catalog, image.chain())]
    names = {name for lock in locks for one in lock.packages for name in (one.name, one.source_package)}
    names |= {wheel.name for lock in locks for wheel in lock.wheels}
    purl = PackageURL(
        "oci", None, image.name, parcel.image.digest, {"repository_url": f"{host}/{parcel.repository}"}
    )  # fmt: skip
    return vex.of_image(document, image.name, parcel.release, purl.to_string(), names, decisions.today())


def _keep(folder: Path, parcel: Parcel, host: Host, signer: Signer, reporter: Reporter) -> None:
    """Keep the signatures of an image in its layout as well: they hold wherever that goes."""
    name = f"{host}/{parcel.repository}"
    kept: dict[Digest, dict[str, tuple[Seal, ...]]] = {}
    for one in parcel.every:
        digest = one.image.digest
        theirs = [seal for seal in one.attestations if dsse.opened(seal.data, signer.public) is None]
        own = [sealing.attestation(signer, name, digest, note, data) for note, data in one.beside.items()]
        signatures = _signed(one.signatures, name, digest, signer)
        kept[digest] = {cosign.SIGNATURES: signatures, cosign.ATTESTATIONS: (*theirs, *own)}
    if parcel.others:
        kept[parcel.digest] = {cosign.SIGNATURES: _signed(parcel.index_signatures, name, parcel.digest, signer)}
    try:
        for digest, seals in kept.items():
            oci_layout.keep(folder, naming.tagged(parcel.place), digest, seals)
    except OSError as error:
        reporter.warn(f"{folder} does not keep the signatures: {error.strerror or error}")


def _signed(there: tuple[Seal, ...], name: str, digest: Digest, signer: Signer) -> tuple[Seal, ...]:
    """Signatures, with ours among them."""
    if any(cosign.signed(x.data) == digest and signer.public.verifies(x.data, x.entry.signature) for x in there):
        return there
    return (*there, sealing.signature(signer, name, digest))
