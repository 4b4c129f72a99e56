"""Debian packages as files: members, control, payload (deb(5))."""

from __future__ import annotations

import io
import lzma
import posixpath
import re
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, cast

import zstandard

from builder.errors import MakeError

_MAGIC = b"!<arch>\n"
_HEADER = 60
MAX_CONTROL_BYTES = 64 * 1024 * 1024
_RELATION = re.compile(r"(?:^|[,|])\s*([A-Za-z0-9][A-Za-z0-9+.-]*)")
_MERGED = frozenset({"bin", "sbin", "lib", "lib32", "lib64", "libx32", "libo32"})


@dataclass(frozen=True, slots=True)
class Control:
    """The control members of a package.

    Attributes:
        stanza: the text of ``control``.
        members: ``postinst``, ``conffiles`` … by name, with their permission bits; without ``control``.
    """

    stanza: str
    members: tuple[tuple[str, bytes, int], ...]

    def get(self, name: str) -> bytes | None:
        """A member's bytes."""
        return next((data for member, data, _ in self.members if member == name), None)

    @property
    def fields(self) -> dict[str, str]:
        """The stanza's fields; continuation lines are kept as they are."""
        return fields(self.stanza)


def fields(stanza: str) -> dict[str, str]:
    """The fields of one stanza (deb822(5))."""
    found: dict[str, str] = {}
    name = ""
    for line in stanza.splitlines():
        if line[:1] in " \t" and name:
            found[name] += "\n" + line
        elif ":" in line:
            name, _, value = line.partition(":")
            found[name] = value.strip()
    return found


def relation_names(relations: str) -> tuple[str, ...]:
    """The names that relations mention in their order, alternatives included (policy 7.1).

    python-debian's ``PkgRelation`` gives versions and architectures too, at ten times the cost: this runs over every
    relation of a chain.
    """
    return tuple(_RELATION.findall(relations))


def canonical(path: str) -> str:
    """A path as layers spell it: relative, with merged ``/usr``, without ``./`` and a trailing slash.

    Raises:
        MakeError: it leads out of the root.
    """
    clean = posixpath.normpath("/" + path).lstrip("/")
    if ".." in path.split("/") or "\0" in path or "\n" in path:
        raise MakeError(f"{path!r} is no path of a package")
    first, slash, _ = clean.partition("/")
    return f"usr/{clean}" if slash and first in _MERGED else clean


def merged_link(path: str) -> bool:
    """Whether a canonical path is one of the links of merged ``/usr``."""
    return path in _MERGED


def control(file: BinaryIO, name: str) -> Control:
    """The control members.

    Args:
        name: of the package, for errors.

    Raises:
        MakeError: it is no Debian package.
    """
    with _member(file, "control.tar", name) as stream, _tar(stream, name) as archive:
        stanza, members, size = "", [], 0
        for info in archive:
            member = posixpath.normpath(info.name).lstrip("/")
            if not info.isreg() or "/" in member:
                continue
            size += info.size
            if size > MAX_CONTROL_BYTES:
                raise MakeError(f"{name}: its control members are larger than {MAX_CONTROL_BYTES} bytes")
            data = cast("BinaryIO", archive.extractfile(info)).read()
            if member == "control":
                stanza = data.decode("utf-8", "surrogateescape").strip() + "\n"
            else:
                members.append((member, data, info.mode & 0o777))
    if not stanza:
        raise MakeError(f"{name}: it has no control file")
    return Control(stanza, tuple(sorted(members)))


@contextmanager
def payload(file: BinaryIO, name: str) -> Iterator[tarfile.TarFile]:
    """The payload as a tar to be read once, front to back.

    Raises:
        MakeError: it is no Debian package, or it is cut off.
    """
    with _member(file, "data.tar", name) as stream, _tar(stream, name) as archive:
        yield archive


@contextmanager
def _tar(stream: BinaryIO, name: str) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(fileobj=stream, mode="r|", encoding="utf-8", errors="surrogateescape") as archive:
            yield archive
    except (tarfile.TarError, lzma.LZMAError, zlib.error, zstandard.ZstdError, EOFError) as error:
        raise MakeError(f"{name}: the package is damaged: {error}", "imgbuild cache clean, then try again") from None


@contextmanager
def _member(file: BinaryIO, prefix: str, name: str) -> Iterator[BinaryIO]:
    file.seek(0)
    if file.read(len(_MAGIC)) != _MAGIC:
        raise MakeError(f"{name}: this is no Debian package")
    while header := file.read(_HEADER):
        try:
            member, size = header[:16].decode().strip().rstrip("/"), int(header[48:58])
            if size < 0:
                raise ValueError(size)
        except ValueError:
            raise MakeError(f"{name}: the package is damaged: a member has no size") from None
        if member.startswith(prefix):
            yield _decompressed(_Part(file, size), member, name)
            return
        file.seek(size + size % 2, io.SEEK_CUR)
    raise MakeError(f"{name}: the package has no {prefix}")


def _decompressed(part: _Part, member: str, name: str) -> BinaryIO:
    buffered = io.BufferedReader(part, 1 << 16)
    match member.rpartition(".")[2]:
        case "xz" | "lzma":
            return cast("BinaryIO", lzma.LZMAFile(buffered))
        case "gz":
            from isal import igzip

            return cast("BinaryIO", igzip.IGzipFile(fileobj=buffered))  # type: ignore[no-untyped-call]
        case "zst":
            return zstandard.ZstdDecompressor().stream_reader(buffered)
        case "tar":
            return cast("BinaryIO", buffered)
        case other:
            raise MakeError(f"{name}: {member}: the compression {other!r} is not known")


class _Part(io.RawIOBase):
    """A part of a file, from where it stands."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._left = file, size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._file.read(min(len(buffer), self._left))
        buffer[: len(data)] = data
        self._left -= len(data)
        return len(data)
