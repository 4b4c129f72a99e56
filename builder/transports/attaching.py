"""What is told of an image, as artifacts that refer to it (image-spec, "Guidelines for Artifact Usage")."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from builder.errors import IntegrityError
from builder.formats import oci
from builder.model.digest import Digest
from builder.registry import content, uploads
from builder.registry.content import Referrer
from builder.registry.session import Session
from builder.transports import oci_layout, sealing
from builder.transports.evidence import ARTIFACTS
from builder.transports.parcels import Parcel
from builder.transports.sealing import Seals

LIVING = (oci_layout.VEX,)
"""What is told of an image anew as time goes by: the newest takes the place of what was told before."""


@dataclass(frozen=True, slots=True)
class Attached:
    """What refers to an image.

    Attributes:
        new: the kinds that do so since now.
        told: what does so in the end, as far as it is ours; nothing of a kind that does not any more.
    """

    new: tuple[str, ...]
    told: Mapping[str, bytes | None]


def attach(session: Session, parcel: Parcel, seals: Seals, *, new: bool, dry_run: bool) -> Attached:
    """Let what lies beside an image refer to it.

    What does so already, of the same kind, stays alone, unless it is of a kind that changes with time, or somebody signs now
    who has not attested it.

    Args:
        new: the image was not there before.
    """
    beside = {note: data for note, data in parcel.beside.items() if note in ARTIFACTS}
    if (dry_run and new) or not (beside or seals.signs):
        return Attached(tuple(beside), beside)
    listed, _ = content.referrers(session, parcel.repository, parcel.image.digest)
    missing: list[str] = []
    outdated: list[Referrer] = []
    told: dict[str, bytes | None] = {}
    for note in ARTIFACTS:
        data = beside.get(note)
        known = [one for one in listed if note in one.annotations]
        others = known if data is None else [one for one in known if one.annotations[note] != Digest.of(data)]
        if data is None:
            if note in LIVING and known:
                outdated += known
                told[note] = None
        elif len(others) < len(known):
            told[note] = data
            outdated += others if seals.signs else ()
        elif not known or note in LIVING or (seals.signs and not _attested(session, parcel, seals, note, known)):
            missing.append(note)
            outdated += known
            told[note] = data
    if not dry_run and (missing or outdated):
        _write(session, parcel, missing, outdated)
    return Attached(tuple(missing), told)


def _attested(session: Session, parcel: Parcel, seals: Seals, note: str, known: Sequence[Referrer]) -> bool:
    """Whether who signs has attested one of some documents."""
    for one in known:
        try:
            data = content.document(session, parcel.repository, Digest.parse(one.annotations[note]))
        except (ValueError, IntegrityError):
            continue
        if data is not None and seals.attests(note, data):
            return True
    return False


def _write(session: Session, parcel: Parcel, missing: Sequence[str], outdated: Sequence[Referrer]) -> None:
    image = parcel.image
    subject = {"mediaType": parcel.media_type, "digest": image.digest, "size": len(image.manifest)}
    unlisted: dict[Digest, dict[str, Any]] = {}
    written: set[Digest] = set()
    if missing:
        sealing.put(session, parcel.repository, oci.EMPTY, parcel.place)
    for note in missing:
        descriptor, data = _artifact(parcel, note, subject)
        sealing.put(session, parcel.repository, parcel.beside[note], parcel.place)
        answer = uploads.put_manifest(session, parcel.repository, descriptor["digest"], data, oci.MANIFEST)
        if "OCI-Subject" not in answer.headers:
            unlisted[descriptor["digest"]] = descriptor
        written.add(descriptor["digest"])
    gone = {one.digest for one in outdated} - written
    if unlisted or gone:
        uploads.attach(session, parcel.repository, subject, unlisted, gone)


def _artifact(parcel: Parcel, note: str, subject: Mapping[str, Any]) -> tuple[dict[str, Any], bytes]:
    """The manifest of something that refers to an image, and its descriptor."""
    data, kind = parcel.beside[note], ARTIFACTS[note]
    digest = Digest.of(data)
    notes = {**(parcel.notes if note == oci_layout.LOCK else {}), note: digest}
    manifest = oci.artifact(kind, ({"mediaType": kind, "digest": digest, "size": len(data)},), subject, notes)
    descriptor = {
        "mediaType": oci.MANIFEST, "digest": Digest.of(manifest), "size": len(manifest), "artifactType": kind,
        "annotations": notes,
    }  # fmt: skip
    return descriptor, manifest
