"""Archives as ``docker save`` and ``podman save`` write them: a config and plain tars, no manifest (moby's image-spec v1.2)."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from builder.errors import ImageError, UsageError
from builder.formats import compress, oci
from builder.model.digest import Digest
from builder.model.image import Layer, StoredImage
from builder.transports import blobs as blobs_
from builder.transports.blobs import Part, PartBlobs
from builder.transports.members import Members

_HEX = re.compile(r"(?:^|/)([0-9a-f]{64})(?:\.json)?$")


@dataclass(frozen=True, slots=True)
class DockerImage:
    """An image that manifest.json names.

    Attributes:
        layers: the names of their tars, bottom first.
    """

    names: tuple[str, ...]
    config: str
    layers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DockerArchive:
    """The images of an archive."""

    place: str
    images: tuple[DockerImage, ...]
    members: Members

    def names(self) -> tuple[str, ...]:
        """What it calls its images."""
        return tuple(name for image in self.images for name in image.names or ("",))

    def read(self, name: str) -> StoredImage:
        """The image of a name.

        Raises:
            UsageError: there is none.
            ImageError: it is missing or damaged.
        """
        found = next((image for image in self.images if name in image.names or name == ""), None)
        if found is None:
            names = ", ".join(sorted(filter(None, self.names()))) or "nothing"
            raise UsageError(f"{self.place} has no image {name!r}", f"there are: {names}")
        config = self.members.read(found.config, self.place)
        if config is None:
            raise ImageError(f"{self.place}: the config {found.config} of {name or 'its image'} is missing")
        layers, parts = self._layers(found.layers, _diff_ids(config, len(found.layers), self.place))
        manifest = oci.dump(
            {
                "schemaVersion": 2,
                "mediaType": oci.MANIFEST,
                "config": {
                    "mediaType": oci.CONFIG,
                    "digest": _named_digest(found.config) or Digest.of(config),
                    "size": len(config),
                },
                "layers": [oci.descriptor(layer) for layer in layers],
            }
        )
        return StoredImage(name, manifest, config, PartBlobs(self.members.file, parts), kept=False)

    def _layers(self, names: Sequence[str], diff_ids: Sequence[Digest]) -> tuple[list[Layer], dict[Digest, Part]]:
        layers, parts = [], {}
        for name, diff_id in zip(names, diff_ids, strict=True):
            part = self.members.parts.get(name)
            if part is None:
                layers.append(Layer(diff_id, diff_id, 0, compress.MEDIA_TYPES[""]))
                continue
            with blobs_.opened(self.members.file, part) as file:
                compression = compress.detect(file.read(6))
                digest = diff_id
                if compression:
                    file.seek(0)
                    digest = _named_digest(name) or Digest.of_stream(file)
            if compression not in compress.MEDIA_TYPES:
                raise ImageError(f"{self.place}: the layer {name} is compressed with {compression}")
            layers.append(Layer(digest, diff_id, part.size, compress.MEDIA_TYPES[compression]))
            parts[digest] = part
        return layers, parts


def archive(manifest: bytes, members: Members, place: str) -> DockerArchive:
    """The images that a manifest.json names.

    Raises:
        ImageError: it is damaged.
    """
    try:
        images = tuple(_image(one) for one in oci.parse(manifest))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ImageError(f"{place}: its manifest.json is damaged: {error}") from None
    if not images:
        raise ImageError(f"{place} has no image")
    return DockerArchive(place, images, members)


def _image(said: Any) -> DockerImage:
    names, layers = said.get("RepoTags") or [], said["Layers"] or []
    config = said["Config"]
    if not all(isinstance(text, str) for text in (*names, *layers, config)):
        raise ValueError("names are texts")
    return DockerImage(tuple(names), config, tuple(layers))


def _diff_ids(config: bytes, count: int, place: str) -> tuple[Digest, ...]:
    try:
        found = tuple(Digest.parse(one) for one in oci.parse(config)["rootfs"]["diff_ids"] or ())
    except (json.JSONDecodeError, ValueError, KeyError, TypeError) as error:
        raise ImageError(f"{place}: the config of its image is damaged: {error}") from None
    if len(found) != count:
        raise ImageError(f"{place} has {count} layers, the config of its image {len(found)}")
    return found


def _named_digest(name: str) -> Digest | None:
    found = _HEX.search(name)
    return Digest.from_hex(found[1]) if found else None
