"""Archives: written as an OCI layout and a docker archive at once, which docker, podman and containerd load; read as either."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from builder.errors import ImageError, UsageError
from builder.formats import oci
from builder.model.digest import Digest
from builder.model.image import Blobs, Image
from builder.tools import files
from builder.tools.store import Store
from builder.transports import docker_archive, members, oci_layout
from builder.transports.docker_archive import DockerArchive
from builder.transports.oci_layout import Layout

_PIECE = 1 << 20


def write(image: Image, path: Path, reference: str) -> None:
    """Write an image to a file, whole or not at all."""
    with files.replacing(path) as file:
        for piece in pieces(image, reference):
            file.write(piece)


def pieces(image: Image, reference: str, without: Collection[Digest] = ()) -> Iterator[bytes]:
    """An archive of an image, as it is made.

    Args:
        reference: ``nova-api:31.0.0-r1``.
        without: layers that are left out, since who reads it has them.
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
    index = oci.dump({"schemaVersion": 2, "mediaType": oci.INDEX, "manifests": [entry]})
    yield from member("oci-layout", len(oci.LAYOUT), [oci.LAYOUT])
    yield from member("index.json", len(index), [index])
    for name, data in (
        ("manifest.json", json.dumps(docker).encode()),
        (_blob(image.digest), image.manifest),
        (_blob(image.config_digest), image.config),
    ):
        yield from member(name, len(data), [data])
    for layer in {layer.digest: layer for layer in image.layers if layer.digest not in without}.values():
        yield from member(_blob(layer.digest), layer.size, _read(image.blobs, layer.digest))
    yield b"\0" * (2 * tarfile.BLOCKSIZE)


def at(path: Path, store: Store) -> Layout | DockerArchive:
    """The images of an archive: an OCI layout's where it is one, else a docker archive's.

    Raises:
        UsageError: there is no file.
        ImageError: it is no such archive, or is damaged.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise UsageError(f"there is no archive {path}") from None
    except IsADirectoryError:
        raise UsageError(f"{path} is a folder", f"say oci:{path} or dir:{path}") from None
    return of(file, str(path), store)


def of(file: BinaryIO, place: str, store: Store) -> Layout | DockerArchive:
    """The images of an archive in a file that is theirs from now on.

    Args:
        place: what messages call it.
        store: where a compressed archive is unpacked, for as long as it is used.
    """
    found = members.of(file, place, store)
    index = found.read("index.json", place)
    if index is not None:
        return oci_layout.layout(index, found.blobs(), place)
    manifest = found.read("manifest.json", place)
    if manifest is None:
        raise ImageError(f"{place} is no image archive: it has neither index.json nor manifest.json")
    return docker_archive.archive(manifest, found, place)


def _blob(digest: Digest) -> str:
    return f"blobs/sha256/{digest.hex}"


def _read(blobs: Blobs, digest: Digest) -> Iterator[bytes]:
    with blobs.open(digest) as file:
        while piece := file.read(_PIECE):
            yield piece


def member(name: str, size: int, data: Iterable[bytes]) -> Iterator[bytes]:
    """A file of a tar: what it is called, and its bytes.

    Raises:
        ImageError: they are not so many.
    """
    info = tarfile.TarInfo(name)
    info.size = size
    yield info.tobuf(tarfile.PAX_FORMAT)
    written = 0
    for piece in data:
        written += len(piece)
        yield piece
    if written != size:
        raise ImageError(f"{name} has {written} bytes, not {size}", "run `imgbuild validate`, then build again")
    yield b"\0" * (-size % tarfile.BLOCKSIZE)
