"""Content addresses: parsed once, then trusted."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, BinaryIO, Self

_PIECE = 1 << 20
_DIGEST = re.compile(r"^sha256:[0-9a-f]{64}$")


class Digest(str):
    """The sha256 of some bytes, as OCI writes it: ``sha256:…`` (image-spec, descriptor.md#digests)."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Take a digest from a document.

        Raises:
            ValueError: it is not ``sha256:`` and 64 hexadecimal digits.
        """
        if not _DIGEST.match(text):
            raise ValueError(f"not a sha256 digest: {text!r}")
        return cls(text)

    @classmethod
    def of(cls, data: bytes) -> Self:
        """The digest of these bytes."""
        return cls("sha256:" + hashlib.sha256(data).hexdigest())

    @classmethod
    def of_stream(cls, file: BinaryIO) -> Self:
        """The digest of all that is left to read of a file."""
        found = hashlib.sha256()
        while piece := file.read(_PIECE):
            found.update(piece)
        return cls("sha256:" + found.hexdigest())

    @classmethod
    def from_hex(cls, hex_digits: str) -> Self:
        """The digest of 64 hexadecimal digits."""
        return cls.parse("sha256:" + hex_digits)

    @property
    def hex(self) -> str:
        """The 64 digits alone, as file names use them."""
        return self[7:]


class CacheKey(str):
    """What a layer is made from, hashed: the same key always gives the same bytes."""

    __slots__ = ()

    @classmethod
    def of(cls, kind: str, value: Any) -> Self:
        """The key of plain data (mappings, lists, strings, numbers)."""
        text = json.dumps([kind, value], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return cls(hashlib.sha256(text.encode()).hexdigest())
