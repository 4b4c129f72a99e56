"""One package's payload: read once from its .deb, entry by entry, and unpacked into a tree where configuring needs it."""

from __future__ import annotations

import os
import posixpath
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from builder.errors import MakeError
from builder.formats import deb
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

Take = Callable[[Entry, bytes], None]
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
        stanza = dpkg_status.parse(control.stanza)[0]
        receiver = begin(control, stanza)

        paths: set[str] = set()

        def take(entry: Entry, data: bytes) -> None:
            paths.add(entry.path)
            if tree:
                _unpack(tree, entry, data, package.name)
            receiver(entry, data)

        text = (control.get("conffiles") or b"").decode("utf-8", "surrogateescape")
        conffiles = frozenset(text.split())
        checksums: dict[str, str] = {}
        listed = ["/."]
        newest = 0
        with deb.payload(file, package.name) as archive:
            for info in archive:
                entry = entry_of(info, package)
                spelt = posixpath.normpath("/" + info.name)
                if spelt != "/":
                    listed.append(spelt)
                newest = max(newest, entry.mtime)
                if not entry.path:
                    continue
                data = cast("BinaryIO", archive.extractfile(info)).read() if entry.type == "file" else b""
                if spelt in conffiles and entry.type == "file":
                    checksums[spelt] = dpkg_status.checksum(data)
                take(entry, data)
    for name, data, mode in _records(stanza, listed, control):
        take(Entry(f"{INFO}/{name}", "file", mode, mtime=newest, size=len(data)), data)
    if tree:
        (tree / INFO).mkdir(parents=True, exist_ok=True)
    if package.name == "base-files":
        for name in _MERGED_LINKS:
            if name not in paths:
                take(Entry(name, "link", 0o777, mtime=newest, target=f"usr/{name}"), b"")
    return Payload(dpkg_status.installed(stanza, text, checksums), newest)


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
        path = deb.canonical(info.name)
        target = deb.canonical(info.linkname) if info.islnk() else info.linkname
    except MakeError as error:
        raise MakeError(f"{package.name}: {error.message}") from None
    if info.isdir() and deb.merged_link(path):
        path = f"usr/{path}"
    if info.type not in _TYPES:
        kind = "a device node" if info.isdev() else "of an unknown type"
        raise MakeError(f"{package.name}: /{path} is {kind}: no layer may have one")
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


def contents(package: LockedPackage, store: Store, paths: frozenset[str]) -> dict[str, bytes]:
    """The bytes of some files of a package, by path: its payload is read once more."""
    found: dict[str, bytes] = {}
    with store.open(Digest.from_hex(package.sha256)) as file, deb.payload(file, package.name) as archive:
        for info in archive:
            if info.isreg() and (path := entry_of(info, package).path) in paths:
                found[path] = cast("BinaryIO", archive.extractfile(info)).read()
    return found


def _unpack(tree: Path, entry: Entry, data: bytes, package: str) -> None:
    # Links of a package never lead out of the tree: parents are real folders that we made.
    path = tree / entry.path
    _parents(tree, path.parent, package)
    if entry.type != "folder" and os.path.lexists(path):
        # What is there may be a link to something else: it is replaced, never written through.
        if path.is_dir() and not path.is_symlink():
            raise MakeError(f"{package}: /{entry.path} is a folder and a {entry.type} at once")
        path.unlink()
    match entry.type:
        case "folder":
            if path.is_symlink() or not path.is_dir():
                _make_folder(path, entry.path, package)
        case "file":
            path.write_bytes(data)
        case "link":
            path.symlink_to(entry.target)
        case "hardlink":
            _parents(tree, (tree / entry.target).parent, package)
            try:
                os.link(tree / entry.target, path, follow_symlinks=False)
            except OSError:
                raise MakeError(f"{package}: /{entry.path} is a hard link to nothing: /{entry.target}") from None
            return
        case "fifo":
            os.mkfifo(path)
    os.chown(path, entry.uid, entry.gid, follow_symlinks=False)
    if entry.type != "link":
        os.chmod(path, entry.mode)
    for name, value in entry.xattrs:
        os.setxattr(path, name, value, follow_symlinks=False)
    os.utime(path, (entry.mtime, entry.mtime), follow_symlinks=False)


def _parents(tree: Path, folder: Path, package: str) -> None:
    if folder == tree:
        return
    _parents(tree, folder.parent, package)
    if folder.is_symlink() or not folder.is_dir():
        _make_folder(folder, str(folder.relative_to(tree)), package)


def _make_folder(path: Path, name: str, package: str) -> None:
    try:
        path.mkdir(mode=0o755)
    except FileExistsError:
        kind = "link" if path.is_symlink() else "file"
        raise MakeError(f"{package}: /{name} is a {kind} and a folder at once") from None
