"""The files of a tar, where they lie in it: an archive is read in place, never unpacked."""

from __future__ import annotations

import tarfile
import tempfile
from dataclasses import dataclass
from typing import BinaryIO

from builder.errors import ImageError
from builder.formats import compress
from builder.model.digest import Digest
from builder.tools.store import Store
from builder.transports import blobs as blobs_
from builder.transports.blobs import Part, PartBlobs

_PIECE = 1 << 20
_ENTRIES_LIMIT = 100_000
_BLOBS = "blobs/sha256/"


@dataclass(frozen=True, slots=True)
class Members:
    """The files of a tar that is kept open."""

    file: BinaryIO
    parts: dict[str, Part]

    def blobs(self) -> PartBlobs:
        """Those that an OCI layout names by their digests."""
        named = {name.removeprefix(_BLOBS): part for name, part in self.parts.items() if name.startswith(_BLOBS)}
        return PartBlobs(self.file, {Digest(f"sha256:{name}"): part for name, part in named.items()})

    def read(self, name: str, place: str) -> bytes | None:
        """A small one's bytes."""
        if name not in self.parts:
            return None
        with blobs_.opened(self.file, self.parts[name]) as file:
            return blobs_.document(file, place)


def of(file: BinaryIO, place: str, store: Store) -> Members:
    """Where the files of a tar lie in it.

    Args:
        file: is theirs from now on.
        place: what messages call it.
        store: where a compressed one is unpacked, for as long as it is used.

    Raises:
        ImageError: it is no tar, or is damaged.
    """
    file = _plain(file, place, store)
    parts: dict[str, Part] = {}
    links: dict[str, str] = {}
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            while (info := archive.next()) is not None:
                archive.members.clear()  # type: ignore[attr-defined]
                name = _normal(info.name)
                if len(parts) + len(links) > _ENTRIES_LIMIT:
                    raise ImageError(f"{place} is no image archive: it has more than {_ENTRIES_LIMIT} entries")
                if info.isreg() and not info.issparse():
                    parts[name] = Part(info.offset_data, info.size)
                elif info.issym():
                    # docker saves a layer that is twice in an image as a link.
                    links[name] = _normal(f"{name.rpartition('/')[0]}/{info.linkname}")
    except tarfile.TarError as error:
        raise ImageError(f"{place} is no image archive, or a damaged one: {error}") from None
    for name, target in links.items():
        if target in parts:
            parts.setdefault(name, parts[target])
    return Members(file, parts)


def _plain(file: BinaryIO, place: str, store: Store) -> BinaryIO:
    if not file.seekable():
        raise ImageError(f"{place} is no file that can be read twice")
    compression = compress.detect(file.read(6))
    file.seek(0)
    if not compression:
        return file
    unpacked: BinaryIO = tempfile.TemporaryFile(dir=store.folder("tmp"))  # noqa: SIM115
    try:
        with file:
            source = compress.decompressed(file, compression)
            while piece := source.read(_PIECE):
                unpacked.write(piece)
    except compress.ERRORS as error:
        unpacked.close()
        if isinstance(error, OSError) and error.errno:
            raise
        raise ImageError(f"{place} is damaged: {error}") from None
    unpacked.seek(0)
    return unpacked


def _normal(name: str) -> str:
    parts: list[str] = []
    for part in name.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)
