"""A layer's bytes → what they hold and what is wrong with them (image-spec, layer.md)."""

from __future__ import annotations

import hashlib
import io
import posixpath
import tarfile
from dataclasses import dataclass, field
from typing import BinaryIO, cast

from builder.formats import compress, untar
from builder.model.digest import Digest

STATUS = "var/lib/dpkg/status"
_WHITEOUT, _OPAQUE, _RESERVED = ".wh.", ".wh..wh..opq", ".wh..wh."
_PIECE = 1 << 20
_TYPES = {
    tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE,
    tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CONTTYPE, tarfile.GNUTYPE_SPARSE,
}  # fmt: skip


@dataclass(slots=True)
class Found:
    """What a layer holds.

    Attributes:
        digest, size: of its bytes as they lie there.
        diff_id: of its tar; None if that cannot be read to its end.
        faults: in words.
        paths: every path that it brings, as layers spell them.
        status: dpkg's status, if it brings one.
    """

    digest: Digest
    size: int
    diff_id: Digest | None = None
    faults: list[str] = field(default_factory=list)
    paths: set[str] = field(default_factory=set)
    status: bytes | None = None


def read(file: BinaryIO, media_type: str, wanted: Digest) -> Found:
    """Read a layer once, from its first byte to its last.

    Args:
        wanted: its digest; what bytes of another hold is not told.
    """
    raw = _Hashing(file)
    found = Found(wanted, 0)
    try:
        compression = compress.of_media_type(media_type)
        source = compress.decompressed(cast("BinaryIO", raw.buffered), compression)
        plain = untar.Forward(source, hashing=bool(compression))
        for info, data in untar.entries(plain):
            _entry(found, info, data)
        found.diff_id = plain.digest if compression else raw.digest
    except untar.ERRORS as error:
        if isinstance(error, OSError) and error.errno:
            raise
        found.faults.append(f"it cannot be read: {error}")
    while raw.buffered.read(_PIECE):
        pass
    found.digest, found.size = raw.digest, raw.size
    if found.digest != wanted:
        return Found(found.digest, found.size, faults=[f"its bytes have the digest {found.digest}"])
    return found


def clean(path: str) -> str:
    """A path of a tar as layers spell it: without ``./`` and a trailing slash."""
    return posixpath.normpath("/" + path).lstrip("/") if path else ""


def _entry(found: Found, info: tarfile.TarInfo, data: BinaryIO | None) -> None:
    path = clean(info.name)
    if info.name.startswith("/") or ".." in info.name.split("/"):
        found.faults.append(f"the path {info.name!r} leads out of the root")
        return
    if info.type not in _TYPES:
        found.faults.append(f"{path!r} is of the unknown type {info.type!r}")
    if path in found.paths and not info.isdir():
        found.faults.append(f"{path!r} is there twice")
    name = posixpath.basename(path)
    if name.startswith(_WHITEOUT):
        _whiteout(found, info, path, name)
        return
    if info.ischr() and (info.devmajor, info.devminor) == (0, 0):
        found.faults.append(f"{path!r} is a deletion as overlayfs writes it, not as layers do")
    if info.islnk():
        target = clean(info.linkname)
        if info.linkname.startswith("/") or ".." in info.linkname.split("/"):
            found.faults.append(f"the hard link {path!r} leads out of the root: {info.linkname!r}")
        elif target not in found.paths:
            # docker and podman unpack each layer by itself.
            found.faults.append(f"the hard link {path!r} is to {target!r}, which the layer has not brought before")
    found.paths.add(path)
    if path == STATUS and data is not None:
        found.status = data.read()


def _whiteout(found: Found, info: tarfile.TarInfo, path: str, name: str) -> None:
    if not info.isreg() or info.size:
        found.faults.append(f"the whiteout {path!r} is no empty file")
    if name == _WHITEOUT or (name.startswith(_RESERVED) and name != _OPAQUE):
        found.faults.append(f"the whiteout {path!r} names nothing")


class _Hashing(io.RawIOBase):
    """Hashes what is read through it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._hash = file, hashlib.sha256()
        self.size = 0
        self.buffered = io.BufferedReader(self, _PIECE)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        data = self._file.read(len(buffer))
        self._hash.update(data)
        self.size += len(data)
        buffer[: len(data)] = data
        return len(data)

    @property
    def digest(self) -> Digest:
        return Digest.from_hex(self._hash.hexdigest())
