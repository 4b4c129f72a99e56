"""How layers are compressed: part of the rules, since other bytes are another digest."""

from __future__ import annotations

from typing import Protocol

import zstandard
from isal import isal_zlib

GZIP_LEVEL = 2
ZSTD_LEVEL = 3
MEDIA_TYPES = {
    "gzip": "application/vnd.oci.image.layer.v1.tar+gzip",
    "zstd": "application/vnd.oci.image.layer.v1.tar+zstd",
}
"""image-spec, layer.md#distributable-format."""
_GZIP_WINDOW = 31


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
