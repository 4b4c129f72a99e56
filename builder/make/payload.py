"""One package's payload: read once from its .deb, entry by entry, and unpacked into a tree where configuring needs it."""

from __future__ import annotations

import os
import posixpath
import shutil
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

from builder.errors import MakeError
from builder.formats import deb, places
from builder.formats.tar import Entry, EntryType
from builder.make import dpkg_status
from builder.make.dpkg_status import INFO, Stanza
from builder.model.digest import CacheKey, Digest
from builder.model.lock import LockedPackage
from builder.tools.store import Store

_SCRIPTS = frozenset({"preinst", "postinst", "prerm", "postrm", "config"})
_TYPES: dict[bytes, EntryType] = {
    tarfile.REGTYPE: "file",
    tarfile.AREGTYPE: "file",
    tarfile.DIRTYPE: "folder",
    tarfile.SYMTYPE: "link",
    tarfile.LNKTYPE: "hardlink",
    tarfile.FIFOTYPE: "fifo",
}
_MERGED_LINKS = ("bin", "lib", "lib64", "sbin")
_XATTR = "SCHILY.xattr."

_LARGE = 8 << 20
_MOST_IDS = 65536
_NAME, _PATH = 255, 4095
Data = bytes | BinaryIO
"""A file's bytes: of a large file, a stream that is read once."""
Take = Callable[[Entry, Data], None]
"""Takes an entry and, of a file, its bytes; a hard link comes after what it links to."""


@dataclass(frozen=True, slots=True)
class Payload:
    """What is known of a package when its payload has been read.

    Attributes:
        stanza: what dpkg's status says of it once it is installed.
        newest: the newest time among its entries.
    """

    stanza: Stanza
    newest: int


def read(
    package: LockedPackage, store: Store, tree: Path | None, begin: Callable[[deb.Control, Stanza], Take]
) -> Payload:
    """Read a package from the store, and unpack it if there is a tree for it.

    Args:
        begin: is given the control members before the first entry, and says who takes the entries: those of the
            payload, of dpkg's ``info``, and of the links of merged ``/usr``, which base-files stands for.

    Raises:
        MakeError: it is damaged, or brings what no layer may have.
    """
    with store.open(Digest.from_hex(package.sha256)) as file:
        control = deb.control(file, package.name)
        stanza = _own(control, package)
        receiver = begin(control, stanza)

        paths: set[str] = set()
        unpacking = _Unpacking(tree, package.name) if tree else None

        def take(entry: Entry, data: Data) -> None:
            paths.add(entry.path)
            if not unpacking:
                receiver(entry, data)
                return
            unpacking.take(entry, data)
            if isinstance(data, bytes):
                receiver(entry, data)
            else:
                with open(f"{tree}/{entry.path}", "rb") as unpacked:
                    receiver(entry, unpacked)

        text = (control.get("conffiles") or b"").decode("utf-8", "surrogateescape")
        conffiles = frozenset(text.split())
        checksums: dict[str, str] = {}
        listed = ["/."]
        newest = 0
        with deb.payload(file, package.name) as entries:
            for info, stream in entries:
                entry = entry_of(info, package)
                spelt = posixpath.normpath("/" + info.name)
                if spelt != "/":
                    listed.append(spelt)
                newest = max(newest, entry.mtime)
                if not entry.path:
                    continue
                data = _data(info, stream, whole=spelt in conffiles)
                if spelt in conffiles and isinstance(data, bytes) and entry.type == "file":
                    checksums[spelt] = dpkg_status.checksum(data)
                take(entry, data)
    for name, data, mode in _records(stanza, listed, control):
        take(Entry(f"{INFO}/{name}", "file", mode, mtime=newest, size=len(data)), data)
    if tree:
        (tree / INFO).mkdir(parents=True, exist_ok=True)
    if package.name == "base-files":
        for name in _MERGED_LINKS:
            # Nothing brings /usr/lib64 there, and its preinst refuses a link to nowhere.
            if name not in paths and (name, package.architecture) != ("lib64", "arm64"):
                take(Entry(name, "link", 0o777, mtime=newest, target=f"usr/{name}"), b"")
    return Payload(dpkg_status.installed(stanza, text, checksums), newest)


def _own(control: deb.Control, package: LockedPackage) -> Stanza:
    # Its name becomes part of paths.
    stanzas = dpkg_status.parse(control.stanza)
    if len(stanzas) != 1:
        raise MakeError(f"{package.name}: its control file is broken", deb.BROKEN)
    told = tuple(stanzas[0].get(field) for field in ("Package", "Version", "Architecture"))
    if told != (package.name, package.version, package.architecture):
        raise MakeError(
            f"{package.name}: it is locked as {package.name} {package.version} for {package.architecture}, but says "
            f"of itself that it is {told[0]!r} {told[1]!r} for {told[2]!r}",
            deb.BROKEN,
        )
    return stanzas[0]


def _data(info: tarfile.TarInfo, stream: BinaryIO | None, *, whole: bool) -> Data:
    if stream is None:
        return b""
    return stream.read() if whole or info.size <= _LARGE else stream


def _records(stanza: Stanza, listed: list[str], control: deb.Control) -> list[tuple[str, bytes, int]]:
    text = "".join(f"{path}\n" for path in listed)
    return [(f"{stanza.info_name}.list", text.encode("utf-8", "surrogateescape"), 0o644)] + [
        (f"{stanza.info_name}.{name}", data, 0o755 if name in _SCRIPTS else 0o644) for name, data, _ in control.members
    ]


def entry_of(info: tarfile.TarInfo, package: LockedPackage) -> Entry:
    """A payload's member as layers spell it.

    Raises:
        MakeError: no layer may have it.
    """
    try:
        path = places.canonical(info.name)
        target = places.canonical(info.linkname) if info.islnk() else info.linkname
    except MakeError as error:
        raise MakeError(f"{package.name}: {error.message}", deb.BROKEN) from None
    if info.isdir() and places.merged_link(path):
        path = f"usr/{path}"
    if problem := _problem(info, path, target):
        shown = path if len(path) < 100 else f"{path[:50]}…{path[-30:]}"
        raise MakeError(f"{package.name}: /{shown} {problem}", deb.BROKEN)
    xattrs = tuple(
        sorted(
            (name.removeprefix(_XATTR), value.encode("utf-8", "surrogateescape"))
            for name, value in info.pax_headers.items()
            if name.startswith(_XATTR)
        )
    )
    return Entry(
        path, _TYPES[info.type], info.mode & 0o7777, info.uid, info.gid, int(info.mtime),
        info.size if info.isreg() else 0, target, xattrs,
    )  # fmt: skip


def _problem(info: tarfile.TarInfo, path: str, target: str) -> str:
    """Why no layer may have a member; empty if it may."""
    if info.isdev() and not info.isfifo():
        return "is a device node: no layer may have one"
    if info.type not in _TYPES:
        return "is of an unknown type: no layer may have it"
    names = os.fsencode(path).split(b"/")
    if max(map(len, names)) > _NAME or max(len(os.fsencode(path)), len(os.fsencode(target))) > _PATH:
        return "has a name that is too long for any file system"
    if not (0 <= info.uid < _MOST_IDS and 0 <= info.gid < _MOST_IDS):
        return f"belongs to {info.uid}:{info.gid}: ids are below {_MOST_IDS}"
    if not -(1 << 31) <= info.mtime < 1 << 34:
        return f"is of a time that is none: {info.mtime}"
    if info.issym() and not target:
        return "is a link to nothing"
    if path.startswith(f"{INFO}/") and not info.isdir():
        return "lies where only dpkg may write"
    return ""


def unpack(package: LockedPackage, store: Store, tree: Path) -> None:
    """Unpack a package's complete payload.

    Raises:
        MakeError: it is damaged, or brings what no layer may have.
    """
    read(package, store, tree, lambda control, stanza: lambda entry, data: None)


def together(packages: tuple[LockedPackage, ...], store: Store) -> Path:
    """Some packages unpacked into one tree of the store: tools that are no part of any layer."""
    name = "tools-" + CacheKey.of("tools", sorted(package.sha256 for package in packages))[:32]
    with store.exclusive(name):
        if store.tree(name) is None:
            with store.making_tree(name) as tree:
                for package in packages:
                    unpack(package, store, tree)
    made = store.tree(name)
    assert made, "it was just made"
    return made


def contents(package: LockedPackage, store: Store, paths: frozenset[str]) -> Iterator[tuple[str, Data]]:
    """The bytes of some files of a package, with their paths: its payload is read once more."""
    with store.open(Digest.from_hex(package.sha256)) as file, deb.payload(file, package.name) as entries:
        for info, stream in entries:
            if stream is not None and (path := entry_of(info, package).path) in paths:
                yield path, _data(info, stream, whole=False)


def copy(data: Data, target: IO[bytes]) -> None:
    """Write bytes to where a file stands."""
    if isinstance(data, bytes):
        target.write(data)
    else:
        shutil.copyfileobj(data, target, 1 << 20)


class _Unpacking:
    """A tree that takes the entries of one package.

    Paths are joined as text, and folders looked at once: this runs for each of 60,000 files.
    """

    def __init__(self, tree: Path, package: str) -> None:
        self._tree, self._package = str(tree), package
        self._folders = {self._tree}

    def take(self, entry: Entry, data: Data) -> None:
        """Unpack an entry.

        Raises:
            MakeError: it does not go together with those before.
        """
        # Links of a package never lead out of the tree: parents are real folders that we made.
        path = f"{self._tree}/{entry.path}"
        self._require_folder(os.path.dirname(path))
        match entry.type:
            case "folder":
                self._require_folder(path)
            case "file":
                self._anew(path, entry, lambda: _write(path, entry, data))
                return
            case "link":
                self._anew(path, entry, lambda: os.symlink(entry.target, path))
            case "hardlink":
                self._anew(path, entry, lambda: self._link(path, entry))
                return
            case "fifo":
                self._anew(path, entry, lambda: os.mkfifo(path))
        _settle(path, entry)

    def _anew(self, path: str, entry: Entry, make: Callable[[], None]) -> None:
        try:
            make()
        except FileExistsError:
            # What is there may be a link to something else: it is replaced, never written through.
            if _real_folder(path):
                raise MakeError(
                    f"{self._package}: /{entry.path} is a folder and a {entry.type} at once", deb.BROKEN
                ) from None
            os.unlink(path)
            make()

    def _link(self, path: str, entry: Entry) -> None:
        target = f"{self._tree}/{entry.target}"
        self._require_folder(os.path.dirname(target))
        try:
            os.link(target, path, follow_symlinks=False)
        except FileExistsError:
            raise
        except OSError:
            raise MakeError(
                f"{self._package}: /{entry.path} is a hard link to nothing: /{entry.target}", deb.BROKEN
            ) from None

    def _require_folder(self, path: str) -> None:
        if path in self._folders:
            return
        self._require_folder(os.path.dirname(path))
        try:
            os.mkdir(path, 0o755)
        except FileExistsError:
            if not _real_folder(path):
                kind = "link" if os.path.islink(path) else "file"
                name = path.removeprefix(f"{self._tree}/")
                raise MakeError(f"{self._package}: /{name} is a {kind} and a folder at once", deb.BROKEN) from None
        self._folders.add(path)


def _write(path: str, entry: Entry, data: Data) -> None:
    # By the descriptor: the kernel looks the path up once.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        if isinstance(data, bytes):
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
        else:
            with open(descriptor, "wb", closefd=False) as file:
                copy(data, file)
        _settle(descriptor, entry)
    finally:
        os.close(descriptor)


def _settle(place: str | int, entry: Entry) -> None:
    """Give what was made the owner, mode and time of its entry."""
    # Of a descriptor there is no link to follow, and the calls refuse to be told so.
    follow = isinstance(place, int)
    os.chown(place, entry.uid, entry.gid, follow_symlinks=follow)
    if entry.type != "link":
        os.chmod(place, entry.mode)
    for name, value in entry.xattrs:
        os.setxattr(place, name, value, follow_symlinks=follow)
    os.utime(place, (entry.mtime, entry.mtime), follow_symlinks=follow)


def _real_folder(path: str) -> bool:
    return os.path.isdir(path) and not os.path.islink(path)
