"""The entries of a layer, ours or another builder's, as values."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from typing import BinaryIO

from builder.errors import ImageError
from builder.formats import untar
from builder.formats.layer_reader import clean
from builder.formats.tar import Entry, EntryType
from builder.model.image import Blobs, Layer

_TYPES: dict[bytes, EntryType] = {
    tarfile.REGTYPE: "file",
    tarfile.AREGTYPE: "file",
    tarfile.CONTTYPE: "file",
    tarfile.GNUTYPE_SPARSE: "file",
    tarfile.DIRTYPE: "folder",
    tarfile.SYMTYPE: "link",
    tarfile.LNKTYPE: "hardlink",
    tarfile.FIFOTYPE: "fifo",
}
_XATTR = "SCHILY.xattr."


def of(blobs: Blobs, layer: Layer) -> Iterator[tuple[Entry, BinaryIO | None]]:
    """The entries in their order and, of files, their bytes, to be read before the next entry.

    Raises:
        ImageError: the layer is missing or damaged.
    """
    try:
        with blobs.open(layer.digest) as file:
            yield from of_tar(untar.opened(file, layer.media_type))
    except KeyError:
        raise ImageError(f"the layer {layer.digest} is missing") from None
    except untar.ERRORS as error:
        raise ImageError(f"the layer {layer.digest} is damaged: {error}", "`imgbuild validate` says more") from None


def of_tar(plain: untar.Forward) -> Iterator[tuple[Entry, BinaryIO | None]]:
    """The same of any tar.

    Raises:
        tarfile.TarError: it is damaged.
    """
    for info, data in untar.entries(plain):
        yield _entry(info), data


def _entry(info: tarfile.TarInfo) -> Entry:
    kind = _TYPES.get(info.type, "device")
    found = sorted(
        (name.removeprefix(_XATTR), value.encode("utf-8", "surrogateescape"))
        for name, value in info.pax_headers.items()
        if name.startswith(_XATTR)
    )
    target = f"{info.devmajor}:{info.devminor}" if kind == "device" else info.linkname
    return Entry(
        path=clean(info.name),
        type=kind,
        mode=info.mode,
        uid=info.uid,
        gid=info.gid,
        mtime=int(info.mtime),
        size=info.size if kind == "file" else 0,
        target=clean(target) if kind == "hardlink" else target,
        xattrs=tuple(found),
    )
