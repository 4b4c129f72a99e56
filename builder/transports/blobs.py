"""Blobs where ways out keep them: a folder of files by digest, and parts of an archive."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from builder.errors import ImageError
from builder.model.digest import Digest
from builder.model.image import Image
from builder.registry.uploads import Bytes
from builder.tools import files
from builder.tools.store import Store

DOCUMENT_LIMIT = 64 << 20
"""Manifests and configs are read as a whole; ours have less than 1 MB."""


@dataclass(frozen=True, slots=True)
class FolderBlobs:
    """Blobs in a folder, each a file named by its digest's digits."""

    folder: Path

    def path(self, digest: Digest) -> Path:
        """Where one lies, whether or not it does."""
        return self.folder / digest.hex

    def open(self, digest: Digest) -> BinaryIO:
        """The bytes of a digest."""
        try:
            return self.path(digest).open("rb")
        except (FileNotFoundError, NotADirectoryError):
            raise KeyError(digest) from None


def stored(store: Store, digest: Digest, place: str = "") -> Bytes:
    """A blob of the store, to be sent or written.

    Args:
        place: what messages call it, if not by its file.

    Raises:
        ImageError: it is not there any more; so does opening it.
    """
    gone = ImageError(f"{digest} is not in the store any more", "do the same again")

    def opened_() -> BinaryIO:
        try:
            return store.open(digest)
        except KeyError:
            raise gone from None

    path = store.path(digest)
    try:
        return Bytes(digest, path.stat().st_size, opened_, place or str(path))
    except FileNotFoundError:
        raise gone from None


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a file."""

    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class PartBlobs:
    """Blobs that are parts of one open file, which is theirs alone."""

    file: BinaryIO
    parts: Mapping[Digest, Part]

    def open(self, digest: Digest) -> BinaryIO:
        """The bytes of a digest."""
        return opened(self.file, self.parts[digest])


def opened(file: BinaryIO, part: Part) -> BinaryIO:
    """A part of a file as a file; several may be read at once."""
    return io.BufferedReader(_PartFile(file, part), 1 << 16)


def document(file: BinaryIO, place: str) -> bytes:
    """The bytes of a small file.

    Raises:
        ImageError: it is not small.
    """
    data = file.read(DOCUMENT_LIMIT + 1)
    if len(data) > DOCUMENT_LIMIT:
        raise ImageError(f"{place} has a document of more than {DOCUMENT_LIMIT >> 20} MB")
    return data


def copy(image: Image, digest: Digest, target: Path) -> None:
    """Put a blob of an image into a file, by a further name for the same bytes where that can be."""
    with image.blobs.open(digest) as source:
        name = getattr(source, "name", None)
        if isinstance(name, str):
            # The store's file and ours may be one: both are never written again.
            with contextlib.suppress(OSError):
                os.link(name, target)
                return
        with files.replacing(target) as file:
            shutil.copyfileobj(source, file, 1 << 20)


class _PartFile(io.RawIOBase):
    def __init__(self, file: BinaryIO, part: Part) -> None:
        self._file, self._part, self._at = file, part, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._part.size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        wanted = max(0, min(len(buffer), self._part.size - self._at))
        data = os.pread(self._file.fileno(), wanted, self._part.offset + self._at)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
