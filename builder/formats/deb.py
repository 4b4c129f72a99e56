"""Debian packages as files: members, control, payload (deb(5))."""

from __future__ import annotations

import gzip
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
from isal import isal_zlib

from builder.errors import MakeError
from builder.formats.untar import Forward, Member, content

_MAGIC = b"!<arch>\n"
_HEADER = 60
MAX_CONTROL_BYTES = 64 * 1024 * 1024
_MAX_CONTROL_MEMBERS = 1000
_CONTROL_MEMBER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
MAX_PAYLOAD_BYTES = 1 << 30
MAX_PAYLOAD_RATIO = 200
"""A payload may be larger than `MAX_PAYLOAD_BYTES` where it is not so many times as large as its package."""
_RELATION = re.compile(r"(?:^|[,|])\s*([A-Za-z0-9][A-Za-z0-9+.-]*)")
BROKEN = "leave the package out, or ask who made it for a sound one"
DAMAGE: tuple[type[Exception], ...] = (
    tarfile.TarError,
    lzma.LZMAError,
    zlib.error,
    cast("type[Exception]", isal_zlib.error),
    gzip.BadGzipFile,
    zstandard.ZstdError,
    EOFError,
)
"""What reading a damaged package raises."""
_WRONG: tuple[type[Exception], ...] = (*DAMAGE, ValueError, OverflowError)


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


def control(file: BinaryIO, name: str) -> Control:
    """The control members.

    Args:
        name: of the package, for errors.

    Raises:
        MakeError: it is no Debian package.
    """
    with _member(file, "control.tar", name) as stream, _tar(stream, name) as archive:
        stanza, size = "", 0
        members: list[tuple[str, bytes, int]] = []
        for info, data_ in _entries(archive, name):
            member = posixpath.normpath(info.name).lstrip("/")
            if data_ is None or "/" in member:
                continue
            size += info.size
            if size > MAX_CONTROL_BYTES or len(members) >= _MAX_CONTROL_MEMBERS:
                raise MakeError(
                    f"{name}: its control members are larger than {MAX_CONTROL_BYTES} bytes, or too many", BROKEN
                )
            if member == "list" or not _CONTROL_MEMBER.fullmatch(member):
                raise MakeError(
                    f"{name}: its control archive has a member {member!r}, which only dpkg may write", BROKEN
                )
            data = data_.read()
            if member == "control":
                stanza = data.decode("utf-8", "surrogateescape").strip() + "\n"
            else:
                members.append((member, data, info.mode & 0o777))
    if not stanza:
        raise MakeError(f"{name}: it has no control file", BROKEN)
    return Control(stanza, tuple(sorted(members)))


Entries = Iterator[tuple[tarfile.TarInfo, BinaryIO | None]]


@contextmanager
def payload(file: BinaryIO, name: str) -> Iterator[Entries]:
    """The payload, to be read once, front to back: its members and, of files, their bytes.

    Raises:
        MakeError: it is no Debian package, it is cut off, or it would unpack to far more than it should.
    """
    size = file.seek(0, io.SEEK_END)
    limit = max(MAX_PAYLOAD_BYTES, size * MAX_PAYLOAD_RATIO)
    with _member(file, "data.tar", name) as stream, _tar(stream, name) as archive:
        yield _entries(archive, name, limit)


@contextmanager
def _tar(stream: BinaryIO, name: str) -> Iterator[tarfile.TarFile]:
    try:
        forward = cast("BinaryIO", Forward(stream))
        with tarfile.open(
            fileobj=forward, mode="r:", encoding="utf-8", errors="surrogateescape", tarinfo=Member
        ) as archive:
            yield archive
    except DAMAGE as error:
        raise _damaged(name, error) from None


def _entries(archive: tarfile.TarFile, name: str, limit: int | None = None) -> Entries:
    size = 0
    while True:
        try:
            info = archive.next()
        except _WRONG as error:
            raise _damaged(name, error) from None
        if info is None:
            return
        archive.members.clear()  # type: ignore[attr-defined]
        if info.size < 0:
            raise _damaged(name, f"{info.name!r} has {info.size} bytes")
        size += info.size
        if limit is not None and size > limit:
            raise MakeError(f"{name}: it would unpack to {size} bytes or more, far too many for its size", BROKEN)
        yield info, content(archive, info) if info.isreg() else None


def _damaged(name: str, problem: object) -> MakeError:
    return MakeError(
        f"{name}: the package is damaged: {problem}", f"{BROKEN}; was it damaged here, `imgbuild cache verify` finds it"
    )


@contextmanager
def _member(file: BinaryIO, prefix: str, name: str) -> Iterator[BinaryIO]:
    file.seek(0)
    if file.read(len(_MAGIC)) != _MAGIC:
        raise MakeError(f"{name}: this is no Debian package", BROKEN)
    while header := file.read(_HEADER):
        try:
            member, size = header[:16].decode().strip().rstrip("/"), int(header[48:58])
            if size < 0:
                raise ValueError(size)
        except ValueError:
            raise _damaged(name, "a member has no size") from None
        if member.startswith(prefix):
            yield _decompressed(Part(file, size), member, name)
            return
        file.seek(size + size % 2, io.SEEK_CUR)
    raise MakeError(f"{name}: the package has no {prefix}", BROKEN)


def _decompressed(part: Part, member: str, name: str) -> BinaryIO:
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
            raise MakeError(f"{name}: {member}: the compression {other!r} is not known", BROKEN)


class Part(io.RawIOBase):
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
