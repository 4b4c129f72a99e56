"""JSON of the OCI image spec: manifest, config, index; the same value always gives the same bytes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from builder.errors import ImageError
from builder.model.digest import Digest
from builder.model.image import Blobs, Image, Layer

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
EMPTY, _EMPTY_TYPE = b"{}", "application/vnd.oci.empty.v1+json"
TITLE = "org.opencontainers.image.title"
REF_NAME = "org.opencontainers.image.ref.name"


def dump(value: Any) -> bytes:
    """Canonical JSON: sorted keys, no blanks."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def parse(data: bytes) -> Any:
    """The value of some JSON.

    Raises:
        ValueError: it is none.
    """
    try:
        return json.loads(data)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def config(
    architecture: str, created: str, settings: dict[str, Any], layers: Sequence[Layer], history: Sequence[str]
) -> bytes:
    """An image's config (image-spec, config.md).

    Args:
        created: RFC 3339.
        settings: its ``config`` member.
        history: a sentence per layer.
    """
    return dump(
        {
            "architecture": architecture,
            "os": "linux",
            "created": created,
            "config": settings,
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
            "history": [{"created": created, "created_by": "imgbuild", "comment": text} for text in history],
        }
    )


def manifest(config_bytes: bytes, layers: Sequence[Layer]) -> bytes:
    """An image's manifest (image-spec, manifest.md)."""
    return dump(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": Digest.of(config_bytes), "size": len(config_bytes)},
            "layers": [descriptor(layer) for layer in layers],
        }
    )


def index(images: Iterable[Mapping[str, Any]]) -> bytes:
    """The index of a release's images, one for each architecture (image-spec, image-index.md).

    Args:
        images: their descriptors, with platforms; what a layout notes of them is left out.
    """
    told = [{key: one[key] for key in ("mediaType", "digest", "size", "platform")} for one in images]
    told.sort(key=lambda one: str(one["platform"]["architecture"]))
    return dump({"schemaVersion": 2, "mediaType": INDEX, "manifests": told})


def listed(index_bytes: bytes) -> tuple[Digest, ...]:
    """The images that an index names, as far as it can be read; what others attest beside them is none."""
    try:
        return tuple(
            Digest.parse(one["digest"])
            for one in parse(index_bytes)["manifests"]
            if (one.get("platform") or {}).get("os") != "unknown"
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return ()


def is_index(data: bytes) -> bool:
    """Whether a document is an image index."""
    try:
        return bool(parse(data).get("mediaType") == INDEX)
    except (ValueError, AttributeError):
        return False


def platform(config_bytes: bytes) -> dict[str, str]:
    """What a config says that an image is for; nothing if it cannot be read."""
    try:
        said = parse(config_bytes)
        return {"architecture": str(said["architecture"]), "os": str(said["os"])}
    except (ValueError, KeyError, TypeError):
        return {}


def artifact(
    kind: str, layers: Sequence[Mapping[str, Any]], subject: Mapping[str, Any] | None = None,
    annotations: Mapping[str, str] | None = None, config: Mapping[str, Any] | None = None,
) -> bytes:  # fmt: skip
    """The manifest of something that is no image (image-spec, "Guidelines for Artifact Usage").

    Args:
        layers: descriptors.
        subject: the descriptor of what it refers to.
        config: a descriptor; that of ``EMPTY`` if not given.
    """
    return dump(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": kind,
            "config": config or {"mediaType": _EMPTY_TYPE, "digest": Digest.of(EMPTY), "size": len(EMPTY)},
            "layers": list(layers),
            **({"subject": subject} if subject else {}),
            **({"annotations": annotations} if annotations else {}),
        }
    )


def descriptor(layer: Layer) -> dict[str, Any]:
    """A layer's descriptor (image-spec, descriptor.md)."""
    found: dict[str, Any] = {"mediaType": layer.media_type, "digest": layer.digest, "size": layer.size}
    if layer.annotations:
        found["annotations"] = dict(layer.annotations)
    return found


def image(manifest_bytes: bytes, config_bytes: bytes, blobs: Blobs) -> Image:
    """An image from its documents.

    Raises:
        ImageError: they are not what the spec says.
    """
    try:
        said = parse(manifest_bytes)
        diff_ids = parse(config_bytes)["rootfs"]["diff_ids"]
        descriptors = said["layers"]
        if len(diff_ids) != len(descriptors):
            raise ImageError(f"the manifest has {len(descriptors)} layers, the config {len(diff_ids)}")
        layers = tuple(
            Layer(
                Digest.parse(one["digest"]),
                Digest.parse(diff_id),
                int(one["size"]),
                str(one["mediaType"]),
                tuple(sorted((one.get("annotations") or {}).items())),
            )
            for one, diff_id in zip(descriptors, diff_ids, strict=True)
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ImageError(f"the image's documents are damaged: {error}") from None
    return Image(manifest_bytes, config_bytes, layers, blobs)


def config_digest(manifest_bytes: bytes) -> Digest | None:
    """What a manifest, however damaged, says that its config's digest is."""
    try:
        return Digest.parse(parse(manifest_bytes)["config"]["digest"])
    except (ValueError, KeyError, TypeError):
        return None
