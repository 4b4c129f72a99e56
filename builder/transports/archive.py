"""One archive that is an OCI layout and a docker archive at once: docker, podman and containerd load it."""

from __future__ import annotations

import io
import json
import tarfile
import zlib
from pathlib import Path
from typing import IO

from builder.formats import oci
from builder.model.digest import Digest
from builder.model.image import Image
from builder.tools.store import Store


def write(image: Image, path: Path, reference: str) -> None:
    """Write an image to a file, whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            stream(image, file, reference)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def stream(image: Image, file: IO[bytes], reference: str) -> None:
    """Write an image to a stream.

    Args:
        reference: ``nova-api:31.0.0-r1``.
    """
    entry = {
        "mediaType": oci.MANIFEST,
        "digest": image.digest,
        "size": len(image.manifest),
        "annotations": {
            oci.REF_NAME: reference.rpartition(":")[2],
            "io.containerd.image.name": f"docker.io/library/{reference}",
        },
    }
    docker = [
        {
            "Config": _blob(image.config_digest),
            "RepoTags": [reference],
            "Layers": [_blob(layer.digest) for layer in image.layers],
        }
    ]
    with tarfile.open(fileobj=file, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        _add(archive, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        _add(archive, "index.json", oci.dump({"schemaVersion": 2, "mediaType": oci.INDEX, "manifests": [entry]}))
        _add(archive, "manifest.json", json.dumps(docker).encode())
        _add(archive, _blob(image.digest), image.manifest)
        _add(archive, _blob(image.config_digest), image.config)
        for layer in {layer.digest: layer for layer in image.layers}.values():
            info = tarfile.TarInfo(_blob(layer.digest))
            info.size = layer.size
            with image.blobs.open(layer.digest) as blob:
                archive.addfile(info, blob)


def read(path: Path, store: Store) -> Image:
    """Read an image back from an archive; its blobs go into the store.

    Raises:
        ImageError: it is no such archive.
    """
    from builder.errors import ImageError

    try:
        with tarfile.open(path) as archive:
            documents: dict[str, bytes] = {}
            for info in archive:
                if info.isreg() and info.name in ("index.json", "manifest.json"):
                    documents[info.name] = archive.extractfile(info).read()  # type: ignore[union-attr]
                elif info.isreg() and info.name.startswith("blobs/sha256/"):
                    with store.writing() as writer:
                        source = archive.extractfile(info)
                        while source and (piece := source.read(1 << 20)):
                            writer.write(piece)
        entry = json.loads(documents["index.json"])["manifests"][0]
        manifest = store.read(Digest.parse(entry["digest"]))
        config = store.read(Digest.parse(json.loads(manifest)["config"]["digest"]))
    except FileNotFoundError:
        raise ImageError(f"there is no archive {path}") from None
    except (tarfile.TarError, EOFError, zlib.error, KeyError, ValueError, IndexError, TypeError) as error:
        raise ImageError(f"{path} is no OCI archive: {error}") from None
    return oci.image(manifest, config, store)


def _blob(digest: Digest) -> str:
    return f"blobs/sha256/{digest.hex}"


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    archive.addfile(info, io.BytesIO(data))
