"""How layers are compressed: part of the rules, since other bytes are another digest."""

from __future__ import annotations

import bz2
import hashlib
import lzma
from functools import cache
from typing import BinaryIO, Protocol, cast

import deflate
import zstandard
from isal import igzip, isal_zlib

from builder.errors import MakeError

GZIP_LEVEL = 3
"""Of libdeflate: a tenth fewer bytes than isal's best, for a fifth of zlib's work."""
GZIP_MEMBER = 4 << 20
"""Bytes of a layer that are compressed at once: libdeflate wants all that it shall look at."""
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
_SAMPLE = "".join(f"{number * number:x} {number % 251:o}/" for number in range(9000)).encode()
_KNOWN = {"gzip": "91631964d2f6ea6cb673cb4956b97de2", "zstd": "66852a992eaef033e566f8e067a5d8bd"}
"""What the sample becomes: half a SHA-256."""
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
        name: ``gzip`` (libdeflate: its header carries neither name nor time) or ``zstd`` (one thread).

    Raises:
        MakeError: on this one they would be other bytes.
    """
    made = _compressor(name)
    _require_known_bytes(name)
    return made


class _Gzip:
    """One member after the other, as RFC 1952, 2.2 allows and as layers in stargz are."""

    def __init__(self) -> None:
        self._waiting = bytearray()
        self._has_some = False

    def compress(self, data: bytes) -> bytes:
        self._waiting += data
        if len(self._waiting) < GZIP_MEMBER:
            return b""
        made = bytearray()
        whole = len(self._waiting) - len(self._waiting) % GZIP_MEMBER
        with memoryview(self._waiting) as waiting:
            for start in range(0, whole, GZIP_MEMBER):
                made += self._member(waiting[start : start + GZIP_MEMBER])
        del self._waiting[:whole]
        return bytes(made)

    def flush(self) -> bytes:
        # What is empty is a member, too.
        last = self._member(self._waiting) if self._waiting or not self._has_some else b""
        self._waiting = bytearray()
        return bytes(last)

    def _member(self, data: bytearray | memoryview) -> bytes:
        self._has_some = True
        return bytes(deflate.gzip_compress(data, GZIP_LEVEL))


def _compressor(name: str) -> Compressor:
    if name == "gzip":
        return _Gzip()
    return zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_checksum=True).compressobj()


@cache
def _require_known_bytes(name: str) -> None:
    # A wrong answer among right ones is no other kind of machine but a fault of the moment, as virtual machines have them.
    if _sample_digest(name) != _KNOWN[name] and any(_sample_digest(name) != _KNOWN[name] for _ in range(2)):
        other = "zstd" if name == "gzip" else "gzip"
        raise MakeError(
            f"this machine compresses by {name} to other bytes than the rules say, so its layers would have other digests",
            f"see whether another version of the library is installed than pyproject.toml names, or say "
            f"`defaults: {{compression: {other}}}` "
            f"(a sample became {_sample_digest(name)} instead of {_KNOWN[name]})",
        )


def _sample_digest(name: str) -> str:
    compressed = _compressor(name)
    return hashlib.sha256(compressed.compress(_SAMPLE) + compressed.flush()).hexdigest()[:32]


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
