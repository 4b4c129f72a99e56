"""An image's root as a folder, its layers merged: for systemd-nspawn, LXC and chroots."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import BinaryIO

from builder.errors import UsageError
from builder.formats import tree
from builder.formats.tar import Entry
from builder.model.image import Image


def usable(folder: Path) -> bool:
    """Whether a root may be written there: nothing is."""
    return not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))


def write(image: Image, folder: Path) -> None:
    """Unpack an image into a folder, whole or not at all, with the owners, modes, times and capabilities of its files.

    Raises:
        UsageError: something is there, or this user may not give files to others.
        ImageError: a layer is missing or damaged, or the root is none that can be unpacked.
    """
    if os.geteuid() != 0:
        raise UsageError("only root may give files to the users of an image", f"run it as root for rootfs:{folder}")
    if not usable(folder):
        raise UsageError(f"{folder} is not empty", "name a folder that is new or empty")
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        part.chmod(0o755)
        merged = tree.of_image(image, lambda _: False, {})
        folders = []
        for entry, data in tree.merged(image, merged):
            if entry.type == "folder":
                folders.append(entry)
            _unpack(part, entry, data)
        for entry in folders:
            os.utime(part / entry.path, (entry.mtime, entry.mtime))
        os.rename(part, folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def _unpack(root: Path, entry: Entry, data: BinaryIO | None) -> None:
    """Make what an entry says; what it lies in is a folder of this root, so no link leads out of it."""
    path = root / entry.path
    match entry.type:
        case "folder":
            path.mkdir()
        case "link":
            path.symlink_to(entry.target)
        case "hardlink":
            os.link(root / entry.target, path, follow_symlinks=False)
            return
        case "fifo":
            os.mkfifo(path)
        case "file":
            assert data, "files have bytes"
            with path.open("xb") as file:
                shutil.copyfileobj(data, file)
    os.chown(path, entry.uid, entry.gid, follow_symlinks=False)
    if entry.type != "link":
        path.chmod(entry.mode)
    for name, value in entry.xattrs:
        os.setxattr(path, name, value, follow_symlinks=False)
    if entry.type != "folder":
        os.utime(path, (entry.mtime, entry.mtime), follow_symlinks=False)
