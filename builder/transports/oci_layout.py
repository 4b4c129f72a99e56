"""OCI image layouts (image-spec, image-layout.md): a folder of blobs and an index, which is the record of releases."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from builder.errors import ImageError
from builder.formats import oci
from builder.model.digest import Digest
from builder.model.image import Image
from builder.tools import files

LOCK = "org.imgbuild.lock"
_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'


@dataclass(frozen=True, slots=True)
class LayoutBlobs:
    """The blobs of a layout."""

    folder: Path

    def path(self, digest: Digest) -> Path:
        """Where they lie."""
        return self.folder / "blobs" / "sha256" / digest.hex

    def open(self, digest: Digest) -> BinaryIO:
        """The bytes of a digest."""
        try:
            return self.path(digest).open("rb")
        except FileNotFoundError:
            raise KeyError(digest) from None

    def read(self, digest: Digest) -> bytes:
        """The bytes of a small blob.

        Raises:
            ImageError: it is not there.
        """
        try:
            with self.open(digest) as file:
                return file.read()
        except KeyError:
            raise ImageError(f"{self.folder}: the blob {digest} is missing") from None


def write(
    image: Image, folder: Path, reference: str, annotations: dict[str, str] | None = None, lock: bytes = b""
) -> Digest:
    """Write an image; blobs that are there are left alone, a reference of the same name is moved.

    Args:
        reference: ``nova-api:31.0.0-r1``.
        annotations: further ones of its entry in the index.
        lock: the locks that it was made from, kept as a blob that its entry in the index names.

    Returns:
        The manifest's digest.
    """
    entry = {
        "mediaType": oci.MANIFEST,
        "digest": image.digest,
        "size": len(image.manifest),
        "annotations": {oci.REF_NAME: reference, **(annotations or {}), **({LOCK: Digest.of(lock)} if lock else {})},
    }
    with _exclusive(folder):
        _sweep(folder)
        index = _index(folder)
        blobs = LayoutBlobs(folder)
        missing = [layer.digest for layer in image.layers if not _whole(blobs.path(layer.digest), layer.size)]
        documents = ((Digest.of(data), data) for data in (image.config, image.manifest, lock) if data)
        lost = [(digest, data) for digest, data in documents if not _whole(blobs.path(digest), len(data))]
        if entry in index["manifests"] and not missing and not lost:
            return image.digest
        for digest in dict.fromkeys(missing):
            blobs.path(digest).unlink(missing_ok=True)
            _copy(image, digest, blobs.path(digest))
        for digest, data in lost:
            files.write(blobs.path(digest), data)
        others = [one for one in index["manifests"] if (one.get("annotations") or {}).get(oci.REF_NAME) != reference]
        key = lambda one: (one.get("annotations") or {}).get(oci.REF_NAME, "")  # noqa: E731
        index["manifests"] = sorted([*others, entry], key=key)
        files.write(folder / "oci-layout", _LAYOUT)
        files.write(folder / "index.json", oci.dump(index))
    return image.digest


def references(folder: Path) -> dict[str, Digest]:
    """What the index names.

    Raises:
        ImageError: it is no layout.
    """
    if not (folder / "index.json").exists():
        raise ImageError(f"{folder} is no OCI layout: it has no index.json")
    try:
        entries = _index(folder)["manifests"]
        return {one["annotations"][oci.REF_NAME]: Digest.parse(one["digest"]) for one in entries}
    except (KeyError, TypeError, ValueError) as error:
        raise ImageError(f"{folder}: its index.json is damaged: {error}") from None


def read(folder: Path, reference: str = "") -> Image:
    """An image by reference (``nova-api:31.0.0-r1``), image name, or digest; the only one if none is named.

    Raises:
        ImageError: there is none, or several.
    """
    known = references(folder)
    matching = {
        name: digest
        for name, digest in known.items()
        if not reference or reference in (name, name.split(":")[0], digest)
    }
    if len(set(matching.values())) != 1:
        names = ", ".join(sorted(matching or known)) or "nothing"
        said = f"has no image {reference!r}" if not matching else f"has several images {reference!r}"
        raise ImageError(f"{folder} {said}", f"there are: {names}")
    blobs = LayoutBlobs(folder)
    manifest = blobs.read(next(iter(matching.values())))
    try:
        config = blobs.read(Digest.parse(json.loads(manifest)["config"]["digest"]))
    except (ValueError, KeyError, TypeError) as error:
        raise ImageError(f"{folder}: the manifest of {reference} is damaged: {error}") from None
    return oci.image(manifest, config, blobs)


def _index(folder: Path) -> dict[str, Any]:
    try:
        data = json.loads((folder / "index.json").read_bytes())
    except FileNotFoundError:
        return {"schemaVersion": 2, "mediaType": oci.INDEX, "manifests": []}
    except ValueError as error:
        raise ImageError(
            f"{folder}: its index.json is damaged: {error}", "move the folder away and build again"
        ) from None
    if not isinstance(data, dict) or not isinstance(data.get("manifests"), list):
        raise ImageError(f"{folder}: its index.json is no image index")
    return data


@contextlib.contextmanager
def _exclusive(folder: Path) -> Iterator[None]:
    (folder / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _sweep(folder: Path) -> None:
    # What is half written lies under such names: nobody else writes now, so it is left over from a run that was killed.
    for place in (folder, folder / "blobs" / "sha256"):
        for path in place.glob(".*"):
            path.unlink()


def _whole(path: Path, size: int) -> bool:
    return path.exists() and path.stat().st_size == size


def _copy(image: Image, digest: Digest, target: Path) -> None:
    with image.blobs.open(digest) as source:
        name = getattr(source, "name", None)
        if isinstance(name, str):
            # The store's file and ours may be one: both are never written again.
            with contextlib.suppress(OSError):
                os.link(name, target)
                return
        with files.replacing(target) as file:
            shutil.copyfileobj(source, file, 1 << 20)
