"""What lies beside an image to vouch for it, in a layout or in a registry: signatures, attestations, the documents themselves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from builder.errors import IntegrityError
from builder.model.digest import Digest
from builder.model.image import StoredImage
from builder.registry import content
from builder.registry.content import Referrer
from builder.registry.session import Session
from builder.transports.oci_layout import CYCLONEDX, LOCK, PROVENANCE, SEALED, SPDX, VEX
from builder.trust import cosign
from builder.trust.cosign import Entry, Seal

ARTIFACTS = {
    LOCK: "application/vnd.imgbuild.lock.v1.yaml+gzip",
    PROVENANCE: "application/vnd.in-toto+json",
    SPDX: "application/spdx+json",
    CYCLONEDX: "application/vnd.cyclonedx+json",
    VEX: "application/vnd.openvex+json",
}
"""What lies beside an image in a layout → its type as an artifact that refers to the image (image-spec, manifest.md)."""
PREDICATES = {
    LOCK: "https://imgbuild.org/lock/v1",
    PROVENANCE: "https://slsa.dev/provenance/v1",
    SPDX: "https://spdx.dev/Document",
    CYCLONEDX: "https://cyclonedx.org/bom",
    VEX: "https://openvex.dev/ns",
}
"""Of which type it is where it is attested: cosign's words for them are slsaprovenance1, spdxjson, cyclonedx, openvex."""
_Read = Callable[[Digest], bytes | None]


@dataclass(frozen=True, slots=True)
class Document:
    """Something that is told of an image.

    Attributes:
        note: the annotation that names it in layouts: which kind it is.
    """

    note: str
    digest: Digest
    data: bytes


@dataclass(frozen=True, slots=True)
class Broken:
    """Something beside an image that is missing or damaged.

    Attributes:
        where: the annotation that names such things in layouts.
    """

    where: str
    message: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that lies beside an image, and what of it cannot be read."""

    signatures: tuple[Seal, ...] = ()
    attestations: tuple[Seal, ...] = ()
    documents: tuple[Document, ...] = ()
    broken: tuple[Broken, ...] = ()


def of_layout(stored: StoredImage) -> Evidence:
    """What a layout keeps beside an image."""
    broken: list[Broken] = []
    documents = []
    for note in ARTIFACTS:
        if note not in stored.notes:
            continue
        data = stored.beside(note)
        if data is None:
            broken.append(Broken(note, f"{stored.notes[note]} is missing"))
        elif (found := Digest.of(data)) != stored.notes[note]:
            broken.append(Broken(note, f"{stored.notes[note]} is damaged: it has the digest {found}"))
        else:
            documents.append(Document(note, found, data))

    def read(digest: Digest) -> bytes | None:
        try:
            with stored.blobs.open(digest) as file:
                data = file.read()
        except KeyError:
            return None
        if (found := Digest.of(data)) != digest:
            raise IntegrityError(f"{digest} is damaged: it has the digest {found}", digest, found)
        return data

    seals = {}
    for kind, note in SEALED.items():
        data = _tried(read, note, stored.notes[note], broken) if note in stored.notes else None
        seals[kind] = _seals(data, read, note, broken) if data is not None else ()
    return Evidence(seals[cosign.SIGNATURES], seals[cosign.ATTESTATIONS], tuple(documents), tuple(broken))


def of_registry(session: Session, repository: str, digest: Digest) -> Evidence:
    """What a registry has beside an image.

    Raises:
        RegistryError: it does not answer.
    """
    broken: list[Broken] = []

    def read(wanted: Digest) -> bytes | None:
        return content.document(session, repository, wanted)

    seals = {}
    for kind, note in SEALED.items():
        found = content.manifest(session, repository, cosign.tag(digest, kind))
        seals[kind] = _seals(found.data, read, note, broken) if found else ()
    documents = []
    listed, _ = content.referrers(session, repository, digest)
    for one in listed:
        for note in ARTIFACTS.keys() & one.annotations.keys():
            try:
                documents.append(_document(session, repository, one, note))
            except (IntegrityError, ValueError) as error:
                broken.append(Broken(note, str(getattr(error, "message", error))))
    return Evidence(seals[cosign.SIGNATURES], seals[cosign.ATTESTATIONS], tuple(documents), tuple(broken))


def _document(session: Session, repository: str, one: Referrer, note: str) -> Document:
    """What an artifact is about, as those see it who read its manifest, not the list alone."""
    found = content.manifest(session, repository, one.digest)
    if found is None:
        raise ValueError(f"{one.digest} is missing")
    (layer,) = cosign.entries(found.data)
    if layer.digest != one.annotations[note]:
        raise ValueError(f"{one.digest} has {layer.digest}, and the list says {one.annotations[note]}")
    data = content.document(session, repository, layer.digest)
    if data is None:
        raise ValueError(f"{layer.digest} is missing")
    return Document(note, layer.digest, data)


def _seals(manifest: bytes, read: _Read, note: str, broken: list[Broken]) -> tuple[Seal, ...]:
    try:
        entries = cosign.entries(manifest)
    except ValueError as error:
        broken.append(Broken(note, str(error)))
        return ()
    found = ((one, _tried(read, note, one.digest, broken)) for one in entries)
    return tuple(Seal(one, data) for one, data in found if data is not None)


def _tried(read: _Read, note: str, digest: str, broken: list[Broken]) -> bytes | None:
    try:
        data = read(Digest.parse(digest))
    except (IntegrityError, ValueError) as error:
        broken.append(Broken(note, str(getattr(error, "message", error))))
        return None
    if data is None:
        broken.append(Broken(note, f"{digest} is missing"))
    return data


def entries(session: Session, repository: str, digest: Digest, kind: str) -> tuple[Entry, ...]:
    """The seals of one kind that a registry lists; what is no list of them counts as none."""
    found = content.manifest(session, repository, cosign.tag(digest, kind))
    try:
        return cosign.entries(found.data) if found else ()
    except ValueError:
        return ()
