"""Signatures and attestations of an image in a registry: what is lacking is added, what others have put there stays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property

from builder.errors import ImageError, IntegrityError
from builder.formats import lockfile, oci
from builder.model.digest import Digest
from builder.registry import content, uploads
from builder.registry.session import Session
from builder.registry.uploads import Bytes
from builder.transports import evidence
from builder.transports.evidence import PREDICATES
from builder.transports.oci_layout import LOCK
from builder.trust import cosign, dsse
from builder.trust.cosign import Entry, Seal, Signer


def signature(signer: Signer, name: str, digest: Digest) -> Seal:
    """The signature of an image that lies in some repository."""
    return cosign.sign(signer, name, digest)


def attestation(signer: Signer, name: str, digest: Digest, note: str, document: bytes) -> Seal:
    """What somebody attests of an image.

    Args:
        name: ``registry.example/openstack/nova-api``.
        note: which kind of document it is.

    Raises:
        ImageError: the document speaks of another image.
    """
    return dsse.sealed(signer, _statement(name, digest, note, document), PREDICATES[note])


def vouched(payload: bytes, digest: Digest, note: str, document: bytes) -> bool:
    """Whether a statement is that an image has this very document."""
    found = dsse.subject(payload, digest)
    if found is None or found[1] != PREDICATES[note]:
        return False
    try:
        return payload == dsse.statement(found[0], digest, PREDICATES[note], _read(note, document))
    except ValueError:
        return False


def _read(note: str, document: bytes) -> bytes:
    """A document as it is attested: of a lock its text."""
    return lockfile.unpacked(document) if note == LOCK else document


def _statement(name: str, digest: Digest, note: str, document: bytes) -> bytes:
    made = dsse.statement(name, digest, PREDICATES[note], _read(note, document))
    if dsse.subject(made, digest) is None:
        raise ImageError(
            f"{name}@{digest}: what lies beside it as {note} cannot be attested: it speaks of another image",
            "build it again with --attest",
        )
    return made


class Seals:
    """The seals of one image in a registry.

    Args:
        repository: ``openstack/nova-api``.
        signer: who signs; none if only what others signed is sent.
    """

    def __init__(self, session: Session, repository: str, digest: Digest, signer: Signer | None) -> None:
        self._session, self._repository, self._digest, self._signer = session, repository, digest, signer
        self._name = f"{session.host}/{repository}"

    @property
    def signs(self) -> bool:
        """Whether somebody signs."""
        return self._signer is not None

    def attests(self, note: str, document: bytes) -> bool:
        """Whether our signer has attested a document already."""
        if self._signer is None:
            return False
        try:
            made = attestation(self._signer, self._name, self._digest, note, document)
        except ImageError:
            return False
        # The same key signs the same bytes alike: so mostly nothing need be read.
        if made.entry.digest in {one.digest for one in self._attestations}:
            return True
        return any(vouched(payload, self._digest, note, document) for _, payload in self._own)

    def sign(self, brought: Iterable[Seal], *, dry_run: bool) -> str:
        """See that the image is signed.

        Args:
            brought: signatures that came with it.

        Returns:
            ``new``, ``there``, or nothing if nobody signs.
        """
        came, signer, status = tuple(brought), self._signer, ""
        if signer is None and not came:
            return ""
        there = evidence.entries(self._session, self._repository, self._digest, cosign.SIGNATURES)
        # What our signer signed elsewhere names another repository.
        more = [
            one
            for one in came
            if one.entry not in there and (signer is None or not signer.public.verifies(one.data, one.entry.signature))
        ]
        if signer is not None:
            status = "there" if any(self._signed(one) for one in there) else "new"
            if status == "new":
                more.append(signature(signer, self._name, self._digest))
        if more and not dry_run:
            self._write(cosign.SIGNATURES, there, more)
        return status

    def attest(
        self, documents: Mapping[str, bytes | None], brought: Iterable[Seal], *, dry_run: bool
    ) -> tuple[str, ...]:  # fmt: skip
        """See that documents are attested, in place of what the same signer attested of their kinds before.

        Args:
            documents: by their kinds; none where what was attested does not hold any more.
            brought: attestations that came with the image.

        Returns:
            The kinds that are attested since now.
        """
        came, signer = tuple(brought), self._signer
        if signer is None and not came:
            return ()
        there = self._attestations
        more: list[Seal] = []
        gone: set[Digest] = set()
        kinds: list[str] = []
        if signer is not None:
            new = {note: data for note, data in documents.items() if data is None or not self.attests(note, data)}
            outdated = {PREDICATES[note] for note in new}
            for entry, payload in self._own if new else ():
                found = dsse.subject(payload, self._digest)
                if found is None or found[1] in outdated:
                    gone.add(entry.digest)
            kinds = [note for note, data in new.items() if data is not None]
            more += [
                attestation(signer, self._name, self._digest, note, data)
                for note, data in new.items()
                if data is not None
            ]
        theirs = (one for one in came if signer is None or dsse.opened(one.data, signer.public) is None)
        more += [one for one in theirs if one.entry not in there]
        if (more or gone) and not dry_run:
            self._write(cosign.ATTESTATIONS, (one for one in there if one.digest not in gone), more)
        return tuple(kinds)

    @cached_property
    def _attestations(self) -> tuple[Entry, ...]:
        return evidence.entries(self._session, self._repository, self._digest, cosign.ATTESTATIONS)

    @cached_property
    def _own(self) -> tuple[tuple[Entry, bytes], ...]:
        """What our signer attested there, whatever the image."""
        return tuple(self._opened())

    def _opened(self) -> Iterator[tuple[Entry, bytes]]:
        assert self._signer is not None
        for entry in self._attestations:
            data = self._data(entry)
            payload = None if data is None else dsse.opened(data, self._signer.public)
            if payload is not None:
                yield entry, payload

    def _signed(self, entry: Entry) -> bool:
        ours = cosign.payload(self._name, self._digest)
        data = ours if entry.digest == Digest.of(ours) else self._data(entry)
        assert self._signer is not None
        return (
            data is not None
            and cosign.signed(data) == self._digest
            and self._signer.public.verifies(data, entry.signature)
        )

    def _data(self, entry: Entry) -> bytes | None:
        try:
            return content.document(self._session, self._repository, entry.digest)
        except IntegrityError:
            return None

    def _write(self, kind: str, there: Iterable[Entry], more: Iterable[Seal]) -> None:
        made = {one.entry: one.data for one in more}
        manifest, config = cosign.manifest((*there, *made))
        for data in (config, *made.values()):
            put(self._session, self._repository, data, f"{self._name}@{self._digest}")
        uploads.put_manifest(
            self._session, self._repository, cosign.tag(self._digest, kind), manifest, oci.MANIFEST
        )  # fmt: skip


def put(session: Session, repository: str, data: bytes, place: str) -> None:
    """See that a repository has some small blob."""
    blob = Bytes.of(data, place)
    if not content.has_blob(session, repository, blob.digest):
        uploads.send(session, repository, blob)
