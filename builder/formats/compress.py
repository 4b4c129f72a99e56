"""How layers are compressed: part of the rules, since other bytes are another digest."""

from __future__ import annotations

import bz2
import lzma
from typing import BinaryIO, Protocol, cast

import zstandard
from isal import igzip, isal_zlib

GZIP_LEVEL = 2
ZSTD_LEVEL = 3
MEDIA_TYPES = {
    "gzip": "application/vnd.oci.image.layer.v1.tar+gzip",
    "zstd": "application/vnd.oci.image.layer.v1.tar+zstd",
    "": "application/vnd.oci.image.layer.v1.tar",
}
"""image-spec, layer.md#distributable-format."""
ERRORS: tuple[type[Exception], ...] = (
    EOFError,
    OSError,
    lzma.LZMAError,
    zstandard.ZstdError,
    cast("type[Exception]", isal_zlib.error),
)
"""What reading damaged bytes raises."""
_GZIP_WINDOW = 31
_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"\xfd7zXZ": "xz", b"BZh": "bzip2"}


class Compressor(Protocol):
    """Takes bytes in pieces."""

    def compress(self, data: bytes) -> bytes:
        """What is ready of the result."""
        ...

    def flush(self) -> bytes:
        """The rest of it."""
        ...


def compressor(name: str) -> Compressor:
    """A compressor that gives the same bytes for the same input on every machine.

    Args:
        name: ``gzip`` (isal: its header carries neither name nor time) or ``zstd`` (one thread).
    """
    if name == "gzip":
        made: Compressor = isal_zlib.compressobj(GZIP_LEVEL, isal_zlib.DEFLATED, _GZIP_WINDOW)
        return made
    return zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_checksum=True).compressobj()


def of_media_type(media_type: str) -> str:
    """How a layer of a media type is compressed, in OCI's words or docker's: ``gzip``, ``zstd``, or not."""
    return next((name for name in ("gzip", "zstd") if media_type.endswith(name)), "")


def detect(head: bytes) -> str:
    """How a file that begins with these bytes is compressed: ``gzip``, ``zstd``, ``xz``, ``bzip2``, or not."""
    return next((name for magic, name in _MAGIC.items() if head.startswith(magic)), "")


def decompressed(file: BinaryIO, name: str) -> BinaryIO:
    """The bytes of a compressed file, read as they are asked for; damaged ones raise one of ``ERRORS``."""
    match name:
        case "gzip":
            return cast("BinaryIO", igzip.IGzipFile(fileobj=file))  # type: ignore[no-untyped-call]
        case "zstd":
            return zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
        case "xz":
            return cast("BinaryIO", lzma.LZMAFile(file))
        case "bzip2":
            return cast("BinaryIO", bz2.BZ2File(file))
        case _:
            return file
