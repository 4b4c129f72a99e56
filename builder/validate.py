"""An image → everything that is wrong with it, recomputed from its bytes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from builder.formats import layer_reader, notes, oci
from builder.formats.compress import MEDIA_TYPES
from builder.formats.layer_reader import Found
from builder.model.digest import Digest
from builder.model.image import Blobs, Image, StoredImage

_CONFIGS = {oci.MANIFEST: oci.CONFIG, oci.DOCKER_MANIFEST: "application/vnd.docker.container.image.v1+json"}
_LAYERS = {
    oci.MANIFEST: frozenset(MEDIA_TYPES.values()),
    oci.DOCKER_MANIFEST: frozenset({"application/vnd.docker.image.rootfs.diff.tar.gzip"}),
}
_KINDS = ("package", "wheel", "files", "state", "records")
_CACHE_KEY = re.compile(r"[0-9a-f]{64}")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")
_SHOWN = 5
Known = dict[Digest, Found]
"""What layers hold, kept from image to image: many have the same ones."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong.

    Attributes:
        where: ``manifest``, ``config`` or a layer's digest.
    """

    where: str
    message: str


@dataclass(frozen=True, slots=True)
class _Descriptor:
    digest: Digest
    size: int
    media_type: str
    annotations: Mapping[str, str]


def image(checked: Image | StoredImage, jobs: int = 2, known: Known | None = None) -> tuple[Fault, ...]:
    """All faults of an image; none if it is valid (image-spec, manifest.md, config.md, layer.md).

    Args:
        jobs: how many layers are read at once.
        known: layers that have been read before; those of this image are added.
    """
    faults = _Faults()
    manifest = faults.document("manifest", checked.manifest)
    config = faults.document("config", checked.config)
    layers = _manifest(manifest, checked, faults)
    diff_ids = _config(config, len(layers), faults)
    found = _read(checked.blobs, layers, {} if known is None else known, jobs)
    for layer in {layer.digest: layer for layer in layers}.values():
        _layer(layer, found.get(layer.digest), faults)
    for layer, diff_id in zip(layers, diff_ids, strict=False):
        has = found.get(layer.digest)
        if has and has.diff_id and diff_id != has.diff_id:
            faults.add(layer.digest, f"its tar has the digest {has.diff_id}, the config says {diff_id}")
    whole = [found[layer.digest] for layer in layers if layer.digest in found]
    if len(whole) == len(layers) and all(one.diff_id for one in whole):
        _annotations(layers, whole, faults)
    return faults.all()


class _Faults:
    def __init__(self) -> None:
        self._found: dict[Fault, None] = {}

    def add(self, where: str, message: str) -> None:
        self._found[Fault(where, message)] = None

    def all(self) -> tuple[Fault, ...]:
        return tuple(self._found)

    def document(self, where: str, data: bytes) -> dict[str, Any]:
        """A document as data; an empty one if it cannot be read."""
        if not data:
            self.add(where, "it is missing")
            return {}
        try:
            found = oci.parse(data)
        except ValueError as error:
            self.add(where, f"it is no JSON: {error}")
            return {}
        if not isinstance(found, dict):
            self.add(where, "it is no JSON object")
            return {}
        return found


def _manifest(manifest: dict[str, Any], checked: Image | StoredImage, faults: _Faults) -> tuple[_Descriptor, ...]:
    if not manifest:
        return ()
    digest = Digest.of(checked.manifest)
    if checked.digest and checked.digest != digest:
        faults.add("manifest", f"its digest is {digest}, it lies under {checked.digest}")
    media_type = str(manifest.get("mediaType"))
    if manifest.get("schemaVersion") != 2 or media_type not in _CONFIGS:
        faults.add("manifest", "it is no image manifest: its mediaType or schemaVersion is not one's")
    config = _descriptor(manifest.get("config"), "config", faults)
    if config and checked.config:
        if config.media_type != _CONFIGS.get(media_type, config.media_type):
            faults.add("config", f"the media type {config.media_type} is not a config's")
        if config.digest != Digest.of(checked.config):
            faults.add("config", f"its digest is {Digest.of(checked.config)}, the manifest says {config.digest}")
        if config.size != len(checked.config):
            faults.add("config", f"it has {len(checked.config)} bytes, the manifest says {config.size}")
    said = manifest.get("layers")
    if not isinstance(said, list):
        faults.add("manifest", "it has no layers")
        return ()
    found = [_descriptor(one, f"layer {number}", faults) for number, one in enumerate(said, 1)]
    layers = tuple(layer for layer in found if layer)
    for layer in layers:
        if layer.media_type not in _LAYERS.get(media_type, {layer.media_type}):
            faults.add(layer.digest, f"the media type {layer.media_type} is not a layer's")
    if any(layer.annotations for layer in layers):
        for digest, count in Counter(layer.digest for layer in layers).items():
            if count > 1:
                faults.add(digest, f"it is in the image {count} times")
    return layers


def _descriptor(said: Any, what: str, faults: _Faults) -> _Descriptor | None:
    """A descriptor (image-spec, descriptor.md), if it can be used."""
    try:
        texts = said.get("annotations") or {}
        if not all(isinstance(text, str) for pair in texts.items() for text in pair):
            faults.add("manifest", f"{what}: annotations are texts")
            texts = {}
        if not isinstance(said["size"], int) or said["size"] < 0:
            raise ValueError(f"its size is {said['size']!r}")
        return _Descriptor(Digest.parse(said["digest"]), said["size"], str(said["mediaType"]), texts)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        faults.add("manifest", f"{what}: its descriptor is wrong: {error}")
        return None


def _config(config: dict[str, Any], layers: int, faults: _Faults) -> tuple[str, ...]:
    """The diff_ids that the config gives."""
    if not config:
        return ()
    for name in ("architecture", "os"):
        if not isinstance(config.get(name), str) or not config[name]:
            faults.add("config", f"it has no {name}")
    if "created" in config and not _TIME.fullmatch(str(config["created"])):
        faults.add("config", f"created is {config['created']!r}, which is no time (RFC 3339)")
    rootfs, history = config.get("rootfs"), config.get("history") or []
    if not isinstance(rootfs, dict) or rootfs.get("type") != "layers" or not isinstance(rootfs.get("diff_ids"), list):
        faults.add("config", "its rootfs has no layers")
        rootfs = {"diff_ids": []}
    elif len(rootfs["diff_ids"]) != layers:
        faults.add("config", f"{len(rootfs['diff_ids'])} diff_ids for {layers} layers")
    if not isinstance(history, list) or not all(isinstance(entry, dict) for entry in history):
        faults.add("config", "its history is no list of entries")
    else:
        filled = sum(not entry.get("empty_layer") for entry in history)
        if filled != layers:
            faults.add("config", f"{filled} history entries for {layers} layers")
    return tuple(str(one) for one in rootfs["diff_ids"])


def _read(blobs: Blobs, layers: Iterable[_Descriptor], known: Known, jobs: int) -> Known:
    """Read the layers that are not known yet; the missing ones are left out."""

    def one(layer: _Descriptor) -> Found | None:
        try:
            with blobs.open(layer.digest) as file:
                return layer_reader.read(file, layer.media_type, layer.digest)
        except KeyError:
            return None

    # The largest first: the last one read is what all others wait for.
    fresh = {layer.digest: layer for layer in layers if layer.digest not in known}
    ordered = sorted(fresh.values(), key=lambda layer: -layer.size)
    with ThreadPoolExecutor(jobs) as pool:
        for layer, found in zip(ordered, pool.map(one, ordered), strict=True):
            if found:
                known[layer.digest] = found
    return known


def _layer(layer: _Descriptor, found: Found | None, faults: _Faults) -> None:
    if found is None:
        faults.add(layer.digest, "it is missing")
        return
    for message in found.faults:
        faults.add(layer.digest, message)
    if found.size != layer.size and found.digest == layer.digest:
        faults.add(layer.digest, f"it has {found.size} bytes, the manifest says {layer.size}")


def _annotations(layers: Sequence[_Descriptor], found: Sequence[Found], faults: _Faults) -> None:
    """What our annotations say against what dpkg's records say, layer by layer and of the whole."""
    kinds = [layer.annotations.get(f"{notes.PREFIX}kind") for layer in layers]
    if not any(kinds):
        return
    installed: set[tuple[str, str]] = set()
    recorded: set[tuple[str, str]] = set()
    for layer, kind, has in zip(layers, kinds, found, strict=True):
        if kind not in _KINDS:
            faults.add(layer.digest, f"its annotation {notes.PREFIX}kind is {kind!r}: {', '.join(_KINDS)}")
        if not layer.annotations.get(f"{notes.PREFIX}definition"):
            faults.add(layer.digest, f"it has no annotation {notes.PREFIX}definition")
        if not _CACHE_KEY.fullmatch(layer.annotations.get(f"{notes.PREFIX}cache-key", "")):
            faults.add(layer.digest, f"it has no annotation {notes.PREFIX}cache-key")
        status = set(notes.recorded(has.status)) if has.status is not None else set()
        if kind == "package":
            said = notes.packages(layer.annotations)
            _differ(layer.digest, "its annotations", said, "its dpkg status", status, faults)
            installed |= said
        elif kind == "records":
            recorded = status
    if "records" in kinds:
        where = layers[len(kinds) - 1 - kinds[::-1].index("records")].digest
        _differ(where, "the package layers", installed, "its dpkg status", recorded, faults)


def _differ(
    where: str, one: str, has: set[tuple[str, str]], other: str, had: set[tuple[str, str]], faults: _Faults
) -> None:
    for who, lacking in ((one, had - has), (other, has - had)):
        if lacking:
            names = [f"{name} {version}" for name, version in sorted(lacking)]
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            faults.add(where, f"packages that are not in {who}: {', '.join(names[:_SHOWN])}{more}")
