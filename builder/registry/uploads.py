"""Writing to a registry: blobs, manifests, what refers to them."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, Self
from urllib.parse import quote

from builder.errors import IntegrityError, RegistryError
from builder.formats import oci
from builder.model.digest import Digest
from builder.registry import content, tokens
from builder.registry.session import Answer, Session, Unfinished, scopes

CHUNK = 32 << 20
"""Blobs that are larger are sent in parts of so many bytes: what came before a connection ended need not be sent again."""
_PIECE = 1 << 18
_ANEW = frozenset({"BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID", "DIGEST_INVALID", "SIZE_INVALID", "RANGE_INVALID"})
"""Faults after which an upload begins from its start."""
MISSING = frozenset({"BLOB_UNKNOWN", "MANIFEST_BLOB_UNKNOWN"})
"""What a registry says of a manifest that names blobs which it does not have."""
_LAST = re.compile(r"(?:bytes=)?0-(\d+)")
Progress = Callable[[int], object]
"""Told how many more bytes have gone, or have gone in vain."""


@dataclass(frozen=True, slots=True)
class Bytes:
    """A blob to be sent.

    Attributes:
        place: what messages call it.
    """

    digest: Digest
    size: int
    open: Callable[[], BinaryIO]
    place: str

    @classmethod
    def of(cls, data: bytes, place: str) -> Self:
        """A blob that is at hand."""
        return cls(Digest.of(data), len(data), lambda: io.BytesIO(data), place)


def mount(session: Session, repository: str, digest: Digest, other: str) -> str:
    """Take a blob over from another repository ("Mounting a blob from another repository").

    Returns:
        Nothing if that is done; else where it is to be sent: an upload has begun.
    """
    path = f"/v2/{repository}/blobs/uploads/?mount={quote(digest)}&from={quote(other, safe='')}"
    own = scopes(repository, push=True, other=other)
    answer = session.ask("POST", path, repository, own, right=(201, 202), headers={"Content-Length": "0"})
    return "" if answer.status == 201 else _location(answer)


def send(
    session: Session, repository: str, blob: Bytes, progress: Progress = lambda _: None, location: str = ""
) -> None:
    """Send a blob, going on where a try before has ended, if the registry allows it ("Pushing blobs").

    Args:
        location: of an upload that has begun.

    Raises:
        RegistryError: the registry does not take it.
        IntegrityError: it is damaged here.
    """
    upload = _Upload(session, repository, blob, progress, location)
    try:
        session.patiently(upload.go_on)
    except BaseException as error:
        if isinstance(error, Exception):
            upload.cancel()
        raise


def put_manifest(session: Session, repository: str, reference: str, data: bytes, media_type: str) -> Answer:
    """Write a manifest under its digest or a tag ("Pushing Manifests").

    Raises:
        RegistryError: it is refused.
        IntegrityError: the registry has understood something else.
    """
    path = f"/v2/{repository}/manifests/{reference}"
    headers = {"Content-Type": media_type}
    answer = session.ask(
        "PUT", path, repository, scopes(repository, push=True), right=(201,), headers=headers, body=data
    )
    said, digest = answer.headers.get("Docker-Content-Digest", ""), Digest.of(data)
    if said.startswith("sha256:") and said != digest:
        raise IntegrityError(f"{session.host}/{repository}: {reference} is {said} there", digest, said, "send it again")
    return answer


def attach(
    session: Session, repository: str, subject: Mapping[str, Any], artifacts: Mapping[Digest, Mapping[str, Any]],
    gone: Collection[Digest] = (),
) -> None:  # fmt: skip
    """List artifacts, which are written already, as what refers to an image, where the registry does not do so itself.

    ("Pushing Manifests with Subject", "Referrers Tag Schema")

    Args:
        subject: the image's descriptor.
        artifacts: their descriptors, with type and annotations.
        gone: what is not to refer to it any more.

    Raises:
        RegistryError: something else than a list has that tag.
    """
    tag = content.referrers_tag(Digest(subject["digest"]))
    index = content.manifest(session, repository, tag)
    if index and index.media_type != oci.INDEX:
        raise RegistryError(f"{session.host}/{repository}:{tag} is no list of what refers to an image")
    known = {one.digest: dict(one.descriptor) for one in content.listed(index)}
    wanted = {digest: one for digest, one in known.items() if digest not in gone}
    wanted |= {digest: dict(one) for digest, one in artifacts.items() if digest not in wanted}
    if wanted != known:
        data = oci.dump({"schemaVersion": 2, "mediaType": oci.INDEX, "manifests": list(wanted.values())})
        put_manifest(session, repository, tag, data, oci.INDEX)
    for digest in set(gone) - known.keys():
        _delete(session, repository, digest)


def _delete(session: Session, repository: str, digest: Digest) -> None:
    """A registry that keeps the list itself lists what is there ("Deleting Manifests"); it may not allow that."""
    path = f"/v2/{repository}/manifests/{digest}"
    try:
        session.ask("DELETE", path, repository, (tokens.scope(repository, "delete"),), right=(200, 202, 404))
    except RegistryError as error:
        if error.status is None:
            raise
        session.reporter.warn(f"{session.host}/{repository}: {digest} is outdated and stays: {error.message}")


class _Upload:
    """One blob on its way; knows after a fault how far it has come."""

    def __init__(self, session: Session, repository: str, blob: Bytes, progress: Progress, location: str) -> None:
        self._session, self._repository, self._blob, self._progress = session, repository, blob, progress
        self._location, self._at, self._certain, self._told = location, 0, True, 0
        self._scopes = scopes(repository, push=True)

    def go_on(self) -> None:
        """Send what is missing.

        Raises:
            Unfinished: not all has come.
        """
        if not self._certain and self._find_out():
            return
        if not self._location:
            answer = self._once("POST", f"/v2/{self._repository}/blobs/uploads/", right=(202,), length=0)
            self._location, self._at = _location(answer), 0
        self._certain = False
        while self._blob.size - self._at > CHUNK:
            # "Pushing a blob in chunks"
            first, last = self._at, self._at + CHUNK - 1
            answer = self._once(
                "PATCH", self._location, right=(202,), length=CHUNK, range_=f"{first}-{last}", body=self._body(CHUNK)
            )
            self._location, self._at = _location(answer), last + 1
        left, mark = self._blob.size - self._at, "&" if "?" in self._location else "?"
        url = f"{self._location}{mark}digest={quote(self._blob.digest)}"
        range_ = f"{self._at}-{self._blob.size - 1}" if self._at and left else ""
        self._once("PUT", url, right=(201, 204), length=left, range_=range_, body=self._body(left), slow=True)
        self._tell(self._blob.size)

    def cancel(self) -> None:
        """Let the registry forget what has come ("Cancel a blob upload"); that may fail."""
        if self._location:
            try:
                self._session.once("DELETE", self._location, self._repository, self._scopes, right=(200, 202, 204))
            except (RegistryError, Unfinished):
                return

    def _find_out(self) -> bool:
        """After a fault: whether all has come after all; else how far it is ("Pushing a blob in chunks")."""
        if content.has_blob(self._session, self._repository, self._blob.digest):
            return True
        if self._location and self._at:
            try:
                answer = self._session.once(
                    "GET", self._location, self._repository, self._scopes, right=(200, 202, 204)
                )
                found = _LAST.fullmatch(answer.headers.get("Range", ""))
                # "0-0" is said of nothing, too.
                self._at = int(found[1]) + 1 if found and int(found[1]) else 0
                self._location = _location(answer) if "Location" in answer.headers else self._location
            except RegistryError:
                self._location = ""
        if not self._at:
            self._location = ""
        self._tell(self._at)
        return False

    def _once(
        self, method: str, url: str, *, right: tuple[int, ...], length: int, range_: str = "",
        body: Callable[[], Iterator[bytes]] | None = None, slow: bool = False,
    ) -> Answer:  # fmt: skip
        headers = {"Content-Length": str(length)}
        if body is not None:
            headers["Content-Type"] = "application/octet-stream"
        if range_:
            headers["Content-Range"] = range_
        try:
            return self._session.once(
                method, url, self._repository, self._scopes, right=right, headers=headers, body=body, slow=slow
            )
        except RegistryError as error:
            if error.status in (404, 416) or _ANEW & set(error.codes):
                self._require_sound()
                if error.status != 416:
                    self._location, self._at = "", 0
                raise Unfinished(error.message) from None
            raise

    def _body(self, length: int) -> Callable[[], Iterator[bytes]]:
        start = self._at

        def pieces() -> Iterator[bytes]:
            self._tell(start)
            with self._blob.open() as file:
                file.seek(start)
                left = length
                while left:
                    self._session.require_going_on()
                    piece = file.read(min(_PIECE, left))
                    if not piece:
                        raise self._damaged("it ends too early")
                    left -= len(piece)
                    yield piece
                    self._tell(start + length - left)

        return pieces

    def _require_sound(self) -> None:
        """A registry says that what came is something else: look here before it is blamed."""
        found = hashlib.sha256()
        with self._blob.open() as file:
            while piece := file.read(_PIECE):
                found.update(piece)
        if found.hexdigest() != self._blob.digest.hex:
            raise self._damaged(f"its bytes have the digest sha256:{found.hexdigest()}")

    def _damaged(self, what: str) -> IntegrityError:
        return IntegrityError(
            f"{self._blob.place}: {self._blob.digest} is damaged: {what}", self._blob.digest, "",
            "move the layout away and build again",
        )  # fmt: skip

    def _tell(self, sent: int) -> None:
        self._progress(sent - self._told)
        self._told = sent


def _location(answer: Answer) -> str:
    found = answer.headers.get("Location", "")
    if not found:
        raise RegistryError(f"{answer.url} says not where to go on", answer.url, answer.status)
    return found
