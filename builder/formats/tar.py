"""Canonical tars: the same entries always give the same bytes.

Headers are ustar; what it cannot hold (long names, xattrs) is in PAX records, only where needed. There are no names
of users and groups, and times are whole seconds (image-spec, layer.md#file-attributes).
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import BinaryIO, Literal, Protocol

from builder.formats import compress
from builder.model.digest import Digest
from builder.model.image import Layer

EntryType = Literal["file", "folder", "link", "hardlink", "fifo", "device"]
_TYPES: dict[str, bytes] = {
    "file": tarfile.REGTYPE,
    "folder": tarfile.DIRTYPE,
    "link": tarfile.SYMTYPE,
    "hardlink": tarfile.LNKTYPE,
    "fifo": tarfile.FIFOTYPE,
}
_PIECE = 1 << 18
_MOST, _LARGEST = 8**7, 8**11
"""What the fields of ustar for ids, and for sizes and times, do not hold any more."""
END = b"\0" * (2 * tarfile.BLOCKSIZE)
"""What follows the last entry."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One path of a layer.

    Attributes:
        path: without a leading ``/``.
        mode: permission bits.
        mtime: in seconds since 1970.
        size: of a file, in bytes.
        target: of a link; of a hard link a path like ``path``.
        xattrs: sorted by name.
    """

    path: str
    type: EntryType
    mode: int
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    size: int = 0
    target: str = ""
    xattrs: tuple[tuple[str, bytes], ...] = ()


class Blob(Protocol):
    """Bytes on their way to where they are kept."""

    size: int

    @property
    def digest(self) -> Digest:
        """Of what was written so far."""

    def write(self, data: bytes) -> int:
        """Add bytes."""


class Keeper(Protocol):
    """Where blobs are kept: the store."""

    def writing(self) -> AbstractContextManager[Blob]:
        """Add a blob: it is kept when the block ends without an error."""


class LayerWriter:
    """Takes entries sorted by path; hard links after what they link to."""

    def __init__(self, blob: Blob, compression: str) -> None:
        self._blob = blob
        self._compressor = compress.compressor(compression)
        self._plain = hashlib.sha256()
        self._compression = compression
        self._last = ""
        self.layer: Layer | None = None

    def add(self, entry: Entry, data: BinaryIO | bytes | None = None) -> None:
        """Add an entry and, for a file, its bytes.

        Raises:
            ValueError: it does not come after the last one, or its bytes are not as many as it says.
        """
        if entry.path <= self._last and self._last:
            raise ValueError(f"{entry.path!r} comes after {self._last!r}")
        self._last = entry.path
        for piece in member(entry, data):
            self._write(piece)

    def finish(self) -> Layer:
        """End the tar."""
        self._write(END)
        self._blob.write(self._compressor.flush())
        self.layer = Layer(
            self._blob.digest,
            Digest.from_hex(self._plain.hexdigest()),
            self._blob.size,
            compress.MEDIA_TYPES[self._compression],
        )
        return self.layer

    def _write(self, data: bytes) -> None:
        self._plain.update(data)
        if squeezed := self._compressor.compress(data):
            self._blob.write(squeezed)


@contextmanager
def layer_writer(store: Keeper, compression: str) -> Iterator[LayerWriter]:
    """Write a layer into the store; ``.layer`` is set when the block has ended."""
    with store.writing() as blob:
        writer = LayerWriter(blob, compression)
        yield writer
        writer.finish()


def member(entry: Entry, data: BinaryIO | bytes | None = None) -> Iterator[bytes]:
    """An entry as it stands in a tar, with the bytes of a file.

    Raises:
        ValueError: its bytes are not as many as it says.
    """
    header = _header(entry)
    if entry.type != "file":
        yield header
        return
    if isinstance(data, bytes) and len(data) == entry.size <= _PIECE:
        # As nearly all are.
        yield b"".join((header, data, b"\0" * (-len(data) % tarfile.BLOCKSIZE)))
        return
    yield header
    written = 0
    stream = io.BytesIO(data) if isinstance(data, bytes) else data
    while stream is not None and (piece := stream.read(_PIECE)):
        yield piece
        written += len(piece)
    if written != entry.size:
        raise ValueError(f"{entry.path!r} has {written} bytes, not {entry.size}")
    yield b"\0" * (-written % tarfile.BLOCKSIZE)


def _header(entry: Entry) -> bytes:
    return _plain_header(entry) or _any_header(entry)


def _plain_header(entry: Entry) -> bytes | None:
    """A header of an entry that needs no more than ustar has, as nearly all are; else None.

    What `_any_header` gives, in a third of its time: there is one for each file of each layer.
    """
    name = entry.path + ("/" if entry.type == "folder" else "")
    target = entry.target if entry.type in ("link", "hardlink") else ""
    if (
        entry.xattrs
        or not (name.isascii() and target.isascii())
        or max(len(name), len(target)) > tarfile.LENGTH_NAME
        or not (0 <= entry.mtime < _LARGEST and entry.size < _LARGEST)
        or not (entry.uid < _MOST and entry.gid < _MOST)
    ):
        return None
    numbers = b"%07o\0%07o\0%07o\0%011o\0%011o\0" % (
        entry.mode & 0o7777, entry.uid, entry.gid, entry.size if entry.type == "file" else 0, entry.mtime,
    )  # fmt: skip
    begin = name.encode().ljust(tarfile.LENGTH_NAME, b"\0") + numbers
    end = _TYPES[entry.type] + target.encode().ljust(tarfile.LENGTH_NAME, b"\0") + tarfile.POSIX_MAGIC
    # The sum counts its own eight bytes as spaces (POSIX.1-2017, pax, "ustar Interchange Format").
    return (begin + b"%06o\0 " % (sum(begin) + sum(end) + 8 * 32) + end).ljust(tarfile.BLOCKSIZE, b"\0")


def _any_header(entry: Entry) -> bytes:
    info = tarfile.TarInfo(entry.path + ("/" if entry.type == "folder" else ""))
    info.type = _TYPES[entry.type]
    info.mode = entry.mode
    info.uid, info.gid = entry.uid, entry.gid
    info.mtime = entry.mtime
    info.size = entry.size if entry.type == "file" else 0
    info.linkname = entry.target if entry.type in ("link", "hardlink") else ""
    # docker and containerd read file capabilities and others from here.
    info.pax_headers = {
        f"SCHILY.xattr.{name}": value.decode("utf-8", "surrogateescape") for name, value in entry.xattrs
    }
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
