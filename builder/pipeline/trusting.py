"""Images held against what a key has signed of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from builder import transports, validate
from builder.errors import IntegrityError
from builder.formats import oci
from builder.model.digest import Digest
from builder.model.image import StoredImage
from builder.tools.store import Store
from builder.transports import sealing
from builder.transports.evidence import Evidence
from builder.transports.oci_layout import SEALED
from builder.trust import cosign, dsse
from builder.trust.cosign import Verifier
from builder.validate import Fault
from dsl.naming import Names


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be held of an image.

    Attributes:
        signatures: how many of them hold.
        attested: the kinds of documents beside it that are attested.
        faults: none if all holds.
    """

    name: str
    digest: Digest
    signatures: int
    attested: tuple[str, ...]
    faults: tuple[Fault, ...]

    def data(self) -> dict[str, Any]:
        """For machines."""
        return {
            "image": self.name,
            "digest": self.digest,
            "verified": not self.faults,
            "signatures": self.signatures,
            "attested": list(self.attested),
            "faults": [{"where": one.where, "message": one.message} for one in self.faults],
        }


def verify(
    texts: Iterable[str], verifiers: Sequence[Verifier], store: Store, jobs: int, names: Names, *, layers: bool = True
) -> Iterator[Verdict]:
    """Hold images against the keys of those whom we believe.

    Args:
        texts: images as on the command line.
        verifiers: any of them will do.
        names: what releases are called in registries.
        layers: whether all bytes of an image are read, and not only what was signed itself.

    Raises:
        UsageError: there is no such image, or nothing is kept beside it.
        ImgbuildError: it cannot be read.
    """
    known = validate.Known()
    for text in texts:
        try:
            for stored, found in transports.read_with_evidence(text, store, names):
                digest = Digest.of(stored.manifest)
                signatures, attested, faults = judge(found, digest, verifiers)
                # An index has no config.
                read = layers and not oci.is_index(stored.manifest)
                more = validate.image(stored, jobs, known) if read else _of_manifest(stored, digest)
                yield Verdict(stored.name, digest, signatures, attested, (*more, *faults))
        except IntegrityError as error:
            # A registry gives other bytes for a digest that is asked for.
            yield Verdict(text, Digest(error.expected), 0, (), (Fault("manifest", error.message),))


def judge(
    found: Evidence, digest: Digest, verifiers: Sequence[Verifier]
) -> tuple[int, tuple[str, ...], tuple[Fault, ...]]:  # fmt: skip
    """Which of what lies beside an image holds, and what does not.

    What others have signed, or attached in kinds that are not ours, is nothing to us.

    Args:
        digest: of the image's manifest as it is.

    Returns:
        How many signatures hold, the kinds of documents that are attested, and what is wrong.
    """
    faults = [Fault(one.where, one.message) for one in found.broken]
    own = [cosign.signed(one.data) for one in found.signatures if _by_one(verifiers, one.data, one.entry.signature)]
    signatures = own.count(digest)
    if not signatures:
        others = ", ".join(sorted({one for one in own if one}))
        if others:
            said = f"it is not signed: what the key has signed is {others}"
        elif found.signatures:
            said = f"it is not signed by this key: none of {len(found.signatures)} signatures holds"
        else:
            said = "it is not signed"
        faults.append(Fault(SEALED[cosign.SIGNATURES], said))
    payloads = [
        payload
        for one in found.attestations
        for key in verifiers
        if (payload := dsse.opened(one.data, key)) is not None
    ]
    attested = []
    for one in found.documents:
        if any(sealing.vouched(payload, digest, one.note, one.data) for payload in payloads):
            attested.append(one.note)
        else:
            faults.append(Fault(one.note, f"{one.digest} is not what the key has attested"))
    return signatures, tuple(dict.fromkeys(attested)), tuple(faults)


def _by_one(verifiers: Iterable[Verifier], data: bytes, signature: bytes) -> bool:
    return any(one.verifies(data, signature) for one in verifiers)


def _of_manifest(stored: StoredImage, digest: Digest) -> tuple[Fault, ...]:
    if stored.digest in (None, digest):
        return ()
    return (Fault("manifest", f"it is to have the digest {stored.digest}, and has {digest}"),)
