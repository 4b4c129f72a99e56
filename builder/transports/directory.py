"""skopeo's ``dir:`` (containers-transports(5)): one image in a folder, its files named by their digests."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

from builder.errors import ImageError, UsageError
from builder.formats import oci
from builder.model.image import Image, StoredImage
from builder.transports import blobs as blobs_

_VERSION = b"Directory Transport Version: 1.1\n"
_OURS = "Directory Transport Version: "


def usable(folder: Path) -> bool:
    """Whether an image may be written there: nothing is, or an image that it takes the place of."""
    if not folder.exists():
        return True
    return folder.is_dir() and (not any(folder.iterdir()) or _is_image(folder))


def write(image: Image, folder: Path) -> None:
    """Write an image to a folder, whole or not at all.

    Raises:
        UsageError: something else is there.
    """
    if not usable(folder):
        raise UsageError(f"{folder} holds something other than an image", "name a folder that is new or empty")
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        made = part / "new"
        made.mkdir(mode=0o755)
        blobs = blobs_.FolderBlobs(made)
        (made / "version").write_bytes(_VERSION)
        (made / "manifest.json").write_bytes(image.manifest)
        blobs.path(image.config_digest).write_bytes(image.config)
        for digest in dict.fromkeys(layer.digest for layer in image.layers):
            blobs_.copy(image, digest, blobs.path(digest))
        with contextlib.suppress(FileNotFoundError):
            os.rename(folder, part / "old")
        os.rename(made, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def read(folder: Path) -> StoredImage:
    """The image in a folder.

    Raises:
        UsageError: there is none.
        ImageError: it is damaged.
    """
    if not _is_image(folder):
        raise UsageError(f"{folder} is no image as skopeo's dir: writes it", "an OCI layout is oci:DIR")
    blobs = blobs_.FolderBlobs(folder)
    try:
        with (folder / "manifest.json").open("rb") as file:
            manifest = blobs_.document(file, str(folder))
    except FileNotFoundError:
        raise ImageError(f"{folder}: its manifest.json is missing") from None
    digest = oci.config_digest(manifest)
    try:
        with blobs.open(digest) as file:  # type: ignore[arg-type]
            config = blobs_.document(file, str(folder))
    except (KeyError, AttributeError):
        config = b""
    return StoredImage("", manifest, config, blobs)


def _is_image(folder: Path) -> bool:
    try:
        with (folder / "version").open("rb") as file:
            return file.read(len(_OURS)) == _OURS.encode()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return False
