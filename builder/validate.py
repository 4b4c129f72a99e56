"""An image → everything that is wrong with it, recomputed from its bytes."""

from __future__ import annotations

import hashlib
import json
import tarfile
from dataclasses import dataclass
from typing import BinaryIO, cast

import zstandard
from isal import igzip, isal_zlib

from builder.formats import oci
from builder.formats.compress import MEDIA_TYPES
from builder.model.digest import Digest
from builder.model.image import Image, Layer

_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong.

    Attributes:
        where: ``manifest``, ``config`` or a layer's digest.
    """

    where: str
    message: str


def image(checked: Image) -> tuple[Fault, ...]:
    """All faults of an image; none if it is valid (image-spec, manifest.md, config.md, layer.md)."""
    faults: list[Fault] = []
    try:
        manifest, config = json.loads(checked.manifest), json.loads(checked.config)
    except ValueError as error:
        return (Fault("manifest", f"not JSON: {error}"),)
    if manifest.get("schemaVersion") != 2 or manifest.get("mediaType") != oci.MANIFEST:
        faults.append(Fault("manifest", "it is no OCI image manifest"))
    said = manifest.get("config") or {}
    if said.get("digest") != checked.config_digest or said.get("size") != len(checked.config):
        faults.append(Fault("config", f"its digest or size is not what the manifest says: {checked.config_digest}"))
    diff_ids = (config.get("rootfs") or {}).get("diff_ids") or []
    if len(diff_ids) != len(checked.layers):
        faults.append(Fault("config", f"{len(diff_ids)} diff_ids for {len(checked.layers)} layers"))
    filled = [entry for entry in config.get("history") or () if not entry.get("empty_layer")]
    if len(filled) != len(checked.layers):
        faults.append(Fault("config", f"{len(filled)} history entries for {len(checked.layers)} layers"))
    for name in ("architecture", "os"):
        if not config.get(name):
            faults.append(Fault("config", f"it has no {name}"))
    for layer in {layer.digest: layer for layer in checked.layers}.values():
        faults += _layer(checked, layer)
    return tuple(faults)


def _layer(checked: Image, layer: Layer) -> list[Fault]:
    faults = []
    if layer.media_type not in MEDIA_TYPES.values():
        faults.append(Fault(layer.digest, f"the media type {layer.media_type} is not known"))
    try:
        with checked.blobs.open(layer.digest) as file:
            found, size = hashlib.sha256(), 0
            while piece := file.read(_PIECE):
                found.update(piece)
                size += len(piece)
        if found.hexdigest() != layer.digest.hex:
            return [*faults, Fault(layer.digest, f"its bytes have the digest sha256:{found.hexdigest()}")]
        if size != layer.size:
            faults.append(Fault(layer.digest, f"it has {size} bytes, the manifest says {layer.size}"))
        with checked.blobs.open(layer.digest) as file:
            plain = _Hashing(_decompressed(file, layer.media_type))
            with tarfile.open(fileobj=cast("BinaryIO", plain), mode="r|") as archive:
                for info in archive:
                    if info.name.startswith("/") or ".." in info.name.split("/"):
                        faults.append(Fault(layer.digest, f"the path {info.name!r} leads out of the root"))
            while plain.read(_PIECE):
                pass
        if plain.digest() != layer.diff_id:
            faults.append(
                Fault(layer.digest, f"its tar has the digest {plain.digest()}, the config says {layer.diff_id}")
            )
    except KeyError:
        faults.append(Fault(layer.digest, "it is missing"))
    except (OSError, EOFError, tarfile.TarError, zstandard.ZstdError, isal_zlib.error) as error:  # type: ignore[misc]
        faults.append(Fault(layer.digest, f"it cannot be read: {error}"))
    return faults


def _decompressed(file: BinaryIO, media_type: str) -> BinaryIO:
    if media_type.endswith("zstd"):
        return zstandard.ZstdDecompressor().stream_reader(file)
    return cast("BinaryIO", igzip.IGzipFile(fileobj=file))  # type: ignore[no-untyped-call]


class _Hashing:
    """Hashes what is read through it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._hash = file, hashlib.sha256()

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self._hash.update(data)
        return data

    def digest(self) -> Digest:
        return Digest.from_hex(self._hash.hexdigest())
