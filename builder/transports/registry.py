"""Registries as places where images lie: ``registry:HOST[:PORT]/PREFIX/nova-api:31.0.0-r3``."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

from builder.errors import ImageError, IntegrityError, RegistryError, UsageError
from builder.formats import oci
from builder.model.digest import Digest
from builder.model.image import StoredImage, StoredIndex
from builder.registry import address, content
from builder.registry.address import Address
from builder.registry.content import Manifest, Referrer
from builder.registry.logins import Logins
from builder.registry.session import Session
from builder.report import Reporter, Silent
from builder.tools import machine
from builder.tools.store import Store
from builder.transports import blobs as blobs_
from builder.transports.oci_layout import ATTESTED, LOCK, VEX
from dsl.naming import Names

_OF_ANOTHER = re.compile(r"sha256-[0-9a-f]{64}(\..*)?|(package|layer)-[0-9a-f]{64}")
"""The tags of what refers to an image: lists of referrers, and cosign's own; and of what is in a store, no image either."""
_INDEXES = (oci.INDEX, oci.DOCKER_LIST)


@dataclass(frozen=True, slots=True)
class RegistryBlobs:
    """Blobs of some repositories: each is fetched whole, from a mirror if there is one, verified, and kept in the store.

    Attributes:
        anew: what the store has is not taken, and nothing is verified: whoever reads wants to know what lies there.
    """

    session: Session
    repositories: tuple[str, ...]
    store: Store
    anew: bool = False

    def open(self, digest: Digest) -> BinaryIO:
        """The bytes of a digest.

        Raises:
            RegistryError: the registry does not answer.
            IntegrityError: what it gives is something else.
        """
        if not self.anew and self.store.sound(digest):
            return self.store.open(digest)
        for repository in self.repositories:
            if self.anew:
                file: BinaryIO = tempfile.TemporaryFile(dir=self.store.folder("tmp"))  # noqa: SIM115
                if content.blob(self.session, repository, digest, file.write):
                    file.seek(0)
                    return file
                file.close()
            elif self._found(repository, digest):
                return self.store.open(digest)
        raise KeyError(digest)

    def _found(self, repository: str, digest: Digest) -> bool:
        for session, name in self.session.places(repository):
            try:
                if self._kept(session, name, digest):
                    return True
            except (RegistryError, IntegrityError) as error:
                if session is self.session:
                    raise
                self.session.without(session, error.message)
        return False

    def _kept(self, session: Session, repository: str, digest: Digest) -> bool:
        try:
            with self.store.writing() as writer:
                if not content.blob(session, repository, digest, writer.write):
                    raise KeyError(digest)
                if writer.digest != digest:
                    raise IntegrityError(
                        f"{session.host}/{repository}: what it gives for {digest} has the digest {writer.digest}",
                        digest, writer.digest, "the registry, or what lies between, is broken",
                    )  # fmt: skip
        except KeyError:
            return False
        return True


@dataclass(frozen=True, slots=True)
class Repositories:
    """The images below a prefix; of one repository if one is asked for.

    Attributes:
        prefix: of repositories' names, with its slash; empty for none.
        image: the last part of a repository's name; empty for all there are.
        tag: what is asked for, if it is a tag.
        called: what releases are called there: all other tags move, or are somebody else's.
        anew: blobs are read from the registry, whatever the store has.
    """

    session: Session
    prefix: str
    image: str
    tag: str
    store: Store
    called: Names
    anew: bool = False

    def names(self) -> tuple[str, ...]:
        """Releases; of a repository that has none, all its tags; the tag that is asked for, if it is there."""
        if not self.image:
            every = content.repositories(self.session)
            images = [name.removeprefix(self.prefix) for name in every if name.startswith(self.prefix)]
            return tuple(f"{image}:{tag}" for image in images for tag in self._tags(image))
        if self.tag and content.digest_of(self.session, self.prefix + self.image, self.tag):
            return (f"{self.image}:{self.tag}",)
        return tuple(f"{self.image}:{tag}" for tag in self._tags(self.image))

    def read(self, name: str) -> StoredImage:
        """The image of a name, with what refers to it beside it."""
        image, reference = _split(name)
        repository = self.prefix + image
        found = content.manifest(self.session, repository, reference) if reference else None
        whole = found if found and found.media_type in _INDEXES else None
        if whole:
            found = self._of_this_machine(repository, whole)
        if found is None:
            tags = ", ".join(self._tags(image)[-10:])
            raise UsageError(
                f"{self.session.host}/{repository} has no image {reference!r}" if tags else
                f"{self.session.host} has no repository {repository}",
                f"there are: {tags}" if tags else "",
            )  # fmt: skip
        stored = self._stored(name, repository, found, None)
        # What others have made is read for this machine alone.
        if whole is None or b'"org.imgbuild.component"' not in stored.config:
            return stored
        index = StoredIndex(whole.digest, whole.data, {}, self._images_of(name, repository, whole))
        return replace(stored, index=index)

    def _images_of(self, name: str, repository: str, whole: Manifest) -> Callable[[], tuple[StoredImage, ...]]:
        index = StoredIndex(whole.digest, whole.data, {}, lambda: ())

        def images() -> tuple[StoredImage, ...]:
            listed = (content.manifest(self.session, repository, one) for one in oci.listed(whole.data))
            return tuple(self._stored(name, repository, one, index) for one in listed if one)

        return images

    def _stored(self, name: str, repository: str, found: Manifest, index: StoredIndex | None) -> StoredImage:
        digest = oci.config_digest(found.data)
        blobs = RegistryBlobs(self.session, (repository,), self.store, self.anew)
        config = self._config(blobs, repository, digest) if digest else None
        listed, _ = content.referrers(self.session, repository, found.digest)
        notes = notes_of(listed)
        return StoredImage(name, found.data, config or b"", blobs, found.digest, notes=notes, index=index)

    def floating(self, repository: str) -> Mapping[Digest, tuple[str, ...]]:
        """The tags of a repository that are no release's own, by the digest that each leads to."""
        found: dict[Digest, tuple[str, ...]] = {}
        for tag in content.tags(self.session, repository) or ():
            if not self.called.release(tag) and not _OF_ANOTHER.fullmatch(tag):
                digest = content.digest_of(self.session, repository, tag)
                if digest:
                    found[digest] = (*found.get(digest, ()), tag)
        return found

    def _config(self, blobs: RegistryBlobs, repository: str, digest: Digest) -> bytes | None:
        if not self.anew:
            return content.document(self.session, repository, digest)
        try:
            with blobs.open(digest) as file:
                return blobs_.document(file, f"{self.session.host}/{repository}")
        except KeyError:
            return None

    def _tags(self, image: str) -> tuple[str, ...]:
        tags = [tag for tag in content.tags(self.session, self.prefix + image) or () if not _OF_ANOTHER.fullmatch(tag)]
        return tuple(tag for tag in tags if self.called.release(tag)) or tuple(tags)

    def _of_this_machine(self, repository: str, index: Manifest) -> Manifest | None:
        try:
            entries = oci.parse(index.data)["manifests"]
            here = machine.architecture()
            fits = [one for one in entries if (one.get("platform") or {}).get("architecture") == here]
            digest = Digest.parse((fits or entries)[0]["digest"])
        except (ValueError, KeyError, TypeError, IndexError, AttributeError):
            raise ImageError(f"{self.session.host}/{repository}: the index {index.digest} is damaged") from None
        return content.manifest(self.session, repository, digest)


def at(
    text: str, store: Store, names: Names, reporter: Reporter | None = None, *, anew: bool = False
) -> tuple[Repositories, str, str]:
    """What an address names: the place, how names in it begin, and what is asked of it.

    Raises:
        UsageError: it is no address.
    """
    found = address.parse(text)
    above, _, image = found.path.rpartition("/") if found.whole else (found.path, "", "")
    prefix = f"{above}/" if above else ""
    place = Repositories(session(found, reporter), prefix, image, found.tag, store, names, anew)
    scheme = "http://" if found.host.plain else ""
    if not found.whole:
        asked = ""
    elif found.digest:
        asked = f"{image}@{found.digest}"
    else:
        asked = f"{image}:{found.tag}" if found.tag else image
    return place, f"registry:{scheme}{found.host}/{prefix}", asked


def session(where: Address, reporter: Reporter | None = None) -> Session:
    """A session with the logins of whoever runs us; its connections end with it."""
    return Session(where.host, Logins(), reporter or Silent())


def notes_of(listed: Iterable[Referrer]) -> Mapping[str, Any]:
    """What annotations of an image's entry in a layout say, from what refers to it; the first of a kind counts."""
    found: dict[str, str] = {}
    for one in listed:
        if {LOCK, VEX, *ATTESTED} & one.annotations.keys():
            found = {**one.annotations, **found}
    return found


def _split(name: str) -> tuple[str, str]:
    """The image of a name, and its tag or digest."""
    image, at_, digest = name.partition("@")
    if at_:
        return image, digest
    image, _, tag = name.rpartition(":")
    return (image, tag) if image else (name, "")
