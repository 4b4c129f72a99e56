"""An OCI image and its layers as values; bytes come from where they lie."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Protocol

from builder.model.digest import Digest


class Blobs(Protocol):
    """A place that has bytes by digest: the store, a layout, a registry, an archive."""

    def open(self, digest: Digest) -> BinaryIO:
        """The bytes from their start.

        Raises:
            KeyError: they are not here.
        """
        ...


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer: a compressed tar.

    Attributes:
        digest: of the compressed bytes.
        diff_id: of the tar (image-spec, config.md#layer-diffid).
        size: of the compressed bytes.
        annotations: of its descriptor, sorted: what it holds and its cache key.
    """

    digest: Digest
    diff_id: Digest
    size: int
    media_type: str
    annotations: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Image:
    """An image: manifest and config exactly as hashed, layers bottom first."""

    manifest: bytes
    config: bytes
    layers: tuple[Layer, ...]
    blobs: Blobs = field(compare=False, repr=False)

    @property
    def digest(self) -> Digest:
        """The manifest's digest: the image's name that never changes."""
        return Digest.of(self.manifest)

    @property
    def config_digest(self) -> Digest:
        """The config's digest: the image ID of docker and podman."""
        return Digest.of(self.config)

    @property
    def configuration(self) -> dict[str, Any]:
        """The config as data."""
        data: dict[str, Any] = json.loads(self.config)
        return data

    @property
    def labels(self) -> dict[str, str]:
        """The config's labels."""
        return dict((self.configuration.get("config") or {}).get("Labels") or {})


@dataclass(frozen=True, slots=True)
class StoredIndex:
    """An index that names the images of a release, one for each architecture, as it lies somewhere.

    Attributes:
        document: its bytes.
        notes: as of an image.
        images: reads them all, in its order.
    """

    digest: Digest
    document: bytes
    notes: Mapping[str, str]
    images: Callable[[], tuple[StoredImage, ...]]


@dataclass(frozen=True, slots=True)
class StoredImage:
    """An image as it lies somewhere, read but not checked.

    Attributes:
        name: what it is called there: ``nova-api:31.0.0-r3``; empty where it has no name.
        manifest, config: their bytes; empty if missing.
        digest: what the place says that the manifest's digest is, if it does.
        kept: the manifest is the place's own. Engines and docker archives keep none: it is made from what they keep,
            without annotations and with layers as plain tars.
        notes: annotations of its entry in a layout's index; those that are digests name blobs beside it.
        index: that names it, where a release has images for several architectures.
    """

    name: str
    manifest: bytes
    config: bytes
    blobs: Blobs = field(compare=False, repr=False)
    digest: Digest | None = None
    kept: bool = True
    notes: Mapping[str, str] = field(default_factory=dict, compare=False)
    index: StoredIndex | None = field(default=None, compare=False, repr=False)

    @property
    def named(self) -> Digest | None:
        """The digest that the place's name for it leads to: its index's, if there is one."""
        return self.index.digest if self.index else self.digest

    def whole(self) -> StoredImage | None:
        """The index that names it, in an image's place: what vouches for that lies beside it in the same way."""
        index = self.index
        return (
            StoredImage(self.name, index.document, b"", self.blobs, index.digest, notes=index.notes) if index else None
        )

    def every(self) -> tuple[StoredImage, ...]:
        """The images of a release for all architectures, this one first."""
        more = self.index.images() if self.index else ()
        return (self, *(one for one in more if one.digest != self.digest))

    def beside(self, note: str) -> bytes | None:
        """What lies beside the image under a name: its lock, its provenance."""
        try:
            with self.blobs.open(Digest.parse(self.notes[note])) as file:
                return file.read()
        except (KeyError, ValueError):
            return None
