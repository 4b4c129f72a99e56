"""Reading a registry: manifests, tags, blobs, referrers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from builder.errors import IntegrityError, RegistryError
from builder.formats import oci
from builder.model.digest import Digest
from builder.registry import session as session_
from builder.registry.session import Session, Unfinished, scopes

MANIFESTS = (oci.MANIFEST, oci.INDEX, oci.DOCKER_MANIFEST, oci.DOCKER_LIST)
_ACCEPT = {"Accept": ", ".join(MANIFESTS)}
PAGE = 1000
"""How many names are asked for at once."""
_PAGES = 10_000
_NEXT = re.compile(r'<([^>]*)>\s*;[^,]*\brel="?next"?')


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest or an index as the registry has it.

    Attributes:
        digest: of these bytes, computed here.
    """

    data: bytes
    media_type: str
    digest: Digest


@dataclass(frozen=True, slots=True)
class Referrer:
    """What refers to an image: a signature, a bill of materials.

    Attributes:
        descriptor: as the list has it, for whoever must write the list again.
    """

    digest: Digest
    artifact_type: str
    annotations: Mapping[str, str]
    descriptor: Mapping[str, Any]


def digest_of(session: Session, repository: str, reference: str) -> Digest | None:
    """The digest of a manifest, by its tag or digest; None if there is none ("Checking if content exists").

    Registries that give no Docker-Content-Digest are asked for the whole.
    """
    path = f"/v2/{repository}/manifests/{reference}"
    answer = session.ask("HEAD", path, repository, scopes(repository), right=(200, 404), headers=_ACCEPT)
    if answer.status == 404:
        return None
    try:
        return Digest.parse(answer.headers.get("Docker-Content-Digest", ""))
    except ValueError:
        found = manifest(session, repository, reference)
        return found.digest if found else None


def manifest(session: Session, repository: str, reference: str) -> Manifest | None:
    """A manifest or index by its tag or digest; None if there is none ("Pulling manifests").

    Raises:
        IntegrityError: it has not the digest by which it was asked for.
    """
    path = f"/v2/{repository}/manifests/{reference}"
    answer = session.ask("GET", path, repository, scopes(repository), right=(200, 404), headers=_ACCEPT)
    if answer.status == 404:
        return None
    found = Digest.of(answer.body)
    if reference.startswith("sha256:") and found != reference:
        raise _wrong(session, repository, reference, found)
    said = answer.headers.get("Content-Type", "").partition(";")[0].strip()
    return Manifest(answer.body, said or oci.MANIFEST, found)


def tags(session: Session, repository: str) -> tuple[str, ...] | None:
    """The tags of a repository; None if there is no such repository ("Listing Tags")."""
    found: list[str] = []
    path = f"/v2/{repository}/tags/list?n={PAGE}"
    for data in _pages(session, path, repository, missing=(404,)):
        if data is None:
            return None
        names = data.get("tags") if isinstance(data, Mapping) else None
        found += [str(name) for name in names or ()]
    return tuple(found)


def repositories(session: Session) -> tuple[str, ...]:
    """All repositories of a registry that lists them: docker's and Harbor do, the spec does not ask for it.

    Raises:
        RegistryError: it does not.
    """
    found: list[str] = []
    for data in _pages(session, f"/v2/_catalog?n={PAGE}", "", missing=(401, 403, 404, 405)):
        if data is None:
            raise RegistryError(f"{session.host} does not list its repositories", hint="name one: HOST/NAME")
        names = data.get("repositories") if isinstance(data, Mapping) else None
        found += [str(name) for name in names or ()]
    return tuple(found)


def referrers(session: Session, repository: str, digest: Digest) -> tuple[tuple[Referrer, ...], bool]:
    """What refers to a manifest, and whether the registry itself keeps the list ("Listing Referrers").

    One that has no such API keeps it under a tag ("Unavailable Referrers API").
    """
    found: list[Referrer] = []
    for data in _pages(session, f"/v2/{repository}/referrers/{digest}", repository, missing=(400, 404, 405)):
        if data is None:
            return listed(manifest(session, repository, referrers_tag(digest))), False
        found += _listed(data)
    return tuple(found), True


def listed(index: Manifest | None) -> tuple[Referrer, ...]:
    """What an index under a referrers tag lists; nothing if it is no index ("Listing Referrers")."""
    try:
        return tuple(_listed(oci.parse(index.data))) if index else ()
    except ValueError:
        return ()


def referrers_tag(digest: Digest) -> str:
    """The tag that lists what refers to a manifest ("Referrers Tag Schema")."""
    return digest.replace(":", "-")


def has_blob(session: Session, repository: str, digest: Digest) -> bool:
    """Whether a repository has a blob ("Checking if content exists")."""
    path = f"/v2/{repository}/blobs/{digest}"
    return session.ask("HEAD", path, repository, scopes(repository), right=(200, 404)).status == 200


def blob(session: Session, repository: str, digest: Digest, take: Callable[[bytes], object]) -> bool:
    """Give a blob's bytes piece by piece, going on where a connection ended; whether it is there ("Pulling blobs").

    The digest is for the caller to verify, who has the bytes.
    """
    taken = 0

    def once() -> bool:
        nonlocal taken
        path, begin = f"/v2/{repository}/blobs/{digest}", taken
        headers = {"Range": f"bytes={begin}-"} if begin else {}
        with session.streamed(
            "GET", path, repository, scopes(repository), right=(200, 206, 404, 416), headers=headers
        ) as answer:
            if answer.status_code == 404:
                return False
            if answer.status_code == 416:
                # All had come, and the connection ended after it.
                return True
            # Who does not know of ranges gives all of it again (RFC 9110, 14.2).
            skip = begin if answer.status_code == 200 else 0
            promised = int(answer.headers.get("Content-Length") or 0)
            came = 0
            for piece in answer.iter_raw():
                session.require_going_on()
                came += len(piece)
                if fresh := piece[skip:]:
                    take(fresh)
                    taken += len(fresh)
                skip = max(0, skip - len(piece))
            if came < promised:
                raise Unfinished(f"a blob ended after {came} of {promised} bytes")
        return True

    return session.patiently(once)


def document(session: Session, repository: str, digest: Digest) -> bytes | None:
    """A small blob, verified; None if there is none.

    Raises:
        IntegrityError: it has another digest.
        RegistryError: it is not small.
    """
    data = bytearray()

    def take(piece: bytes) -> None:
        data.extend(piece)
        if len(data) > session_.LARGEST_DOCUMENT:
            raise RegistryError(f"{session.host}/{repository}: {digest} is no small document")

    if not blob(session, repository, digest, take):
        return None
    if (found := Digest.of(bytes(data))) != digest:
        raise _wrong(session, repository, digest, found)
    return bytes(data)


def _pages(session: Session, path: str, repository: str, missing: tuple[int, ...]) -> Iterator[Any]:
    """The documents of a list, as far as Link headers lead (RFC 8288); None if there is no list."""
    own = scopes(repository) if repository else ("registry:catalog:*",)
    for _ in range(_PAGES):
        answer = session.ask("GET", path, repository, own, right=(200, *missing))
        if answer.status != 200:
            yield None
            return
        yield answer.json()
        following = _NEXT.search(answer.headers.get("Link", ""))
        if not following:
            return
        path = following[1]


def _listed(index: Any) -> Iterator[Referrer]:
    manifests = index.get("manifests") if isinstance(index, Mapping) else None
    for one in manifests if isinstance(manifests, list) else ():
        try:
            notes = {str(key): str(value) for key, value in (one.get("annotations") or {}).items()}
            yield Referrer(Digest.parse(one["digest"]), str(one.get("artifactType") or ""), notes, one)
        except (ValueError, KeyError, TypeError, AttributeError):
            continue


def _wrong(session: Session, repository: str, asked: str, found: Digest) -> IntegrityError:
    return IntegrityError(
        f"{session.host}/{repository}: what it gives for {asked} has the digest {found}", asked, found,
        "the registry, or what lies between, is broken",
    )  # fmt: skip
