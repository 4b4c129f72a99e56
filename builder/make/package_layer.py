"""Package payloads → one layer, and, where configuring needs them, unpacked trees; each .deb is read once.

Nothing but the packages and the rules goes in: no root file system, no script. So the same packages give the same
digest in any image, on any machine.
"""

from __future__ import annotations

import contextlib
import os
import posixpath
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, BinaryIO, cast

from builder.errors import MakeError
from builder.formats import deb
from builder.formats.tar import Entry, EntryType, LayerWriter, layer_writer
from builder.make import bytecode, dpkg_status, leave_out
from builder.make.dpkg_status import INFO, Stanza
from builder.model.digest import CacheKey, Digest
from builder.model.lock import LockedPackage
from builder.model.plan import MadeLayer, PackageLayerPlan
from builder.tools.store import Store

_IN_MEMORY = 96 * 1024 * 1024
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


@dataclass(frozen=True, slots=True)
class _Piece:
    """An entry of some package, and where its bytes lie in the spool."""

    entry: Entry
    package: str
    offset: int = 0


def make(plan: PackageLayerPlan, store: Store, trees: bool) -> MadeLayer:
    """Make the layer of some packages.

    Args:
        trees: whether their complete payloads are unpacked into the store too.

    Raises:
        MakeError: a package is damaged, brings what no layer may have, or two bring the same path.
    """
    found = store.made(plan.cache_key)
    if found and not trees:
        return found
    with tempfile.SpooledTemporaryFile(_IN_MEMORY) as spool, _compiler(plan, store) as compiler:
        reading = _Reading(spool, plan, compiler)
        for package in plan.packages:
            if trees and store.tree(package.sha256) is None:
                with store.making_tree(package.sha256) as tree:
                    reading.read(package, store, tree)
            else:
                reading.read(package, store, None)
        with layer_writer(store, plan.compression) as writer:
            _write(reading, writer)
    assert writer.layer is not None, "it was just finished"
    made = MadeLayer(plan.cache_key, writer.layer)
    store.keep(made)
    return made


def make_tree(package: LockedPackage, store: Store) -> None:
    """Unpack a package's complete payload into the store.

    Raises:
        MakeError: the package is damaged.
    """
    if store.tree(package.sha256) is None:
        with store.making_tree(package.sha256) as tree, tempfile.SpooledTemporaryFile(1 << 20) as spool:
            _Reading(spool, None, None).read(package, store, tree)


def compiler_tree(packages: tuple[LockedPackage, ...], store: Store) -> Path:
    """The unpacked interpreter that compiles byte code."""
    name = "compiler-" + CacheKey.of("compiler", sorted(package.sha256 for package in packages))[:32]
    with store.exclusive(name):
        if store.tree(name) is None:
            with store.making_tree(name) as tree:
                for package in packages:
                    with tempfile.SpooledTemporaryFile(1 << 20) as spool:
                        _Reading(spool, None, None).read(package, store, tree)
    made = store.tree(name)
    assert made, "it was just made"
    return made


@contextlib.contextmanager
def _compiler(plan: PackageLayerPlan, store: Store) -> Iterator[bytecode.Compiler | None]:
    if not plan.compiler:
        yield None
        return
    with bytecode.Compiler(compiler_tree(plan.compiler, store)) as compiler:
        yield compiler


class _Reading:
    """Packages read into pieces, their bytes in a spool."""

    def __init__(self, spool: IO[bytes], plan: PackageLayerPlan | None, compiler: bytecode.Compiler | None) -> None:
        self.spool = spool
        self.plan = plan
        self.compiler = compiler
        self.pieces: dict[str, _Piece] = {}
        self.stanzas: list[Stanza] = []
        self.left_out: set[str] = set()

    def read(self, package: LockedPackage, store: Store, tree: Path | None) -> None:
        """Read one package; unpack it if there is a tree for it."""
        with store.open(Digest.from_hex(package.sha256)) as file:
            control = deb.control(file, package.name)
            stanza = dpkg_status.parse(control.stanza)[0]
            conffiles = (control.get("conffiles") or b"").decode().split()
            checksums: dict[str, str] = {}
            listed = ["/."]
            newest = 0
            with deb.payload(file, package.name) as archive:
                for info in archive:
                    path, entry = self._entry(info, package)
                    spelt = posixpath.normpath("/" + info.name)
                    if spelt != "/":
                        listed.append(spelt)
                    newest = max(newest, entry.mtime)
                    if not path:
                        continue
                    data = cast("BinaryIO", archive.extractfile(info)).read() if entry.type == "file" else b""
                    if spelt in conffiles and entry.type == "file":
                        checksums[spelt] = dpkg_status.checksum(data)
                    if tree:
                        _unpack(tree, entry, data)
                    self._take(entry, data, package)
        members = [(f"{stanza.info_name}.list", ("\n".join(listed) + "\n").encode("utf-8", "surrogateescape"), 0o644)]
        members += [
            (f"{stanza.info_name}.{name}", data, 0o755 if name in _SCRIPTS else 0o644)
            for name, data, _ in control.members
        ]
        for name, data, mode in members:
            entry = Entry(f"{INFO}/{name}", "file", mode, mtime=newest, size=len(data))
            if tree:
                _unpack(tree, entry, data)
            self._take(entry, data, package)
        if tree:
            (tree / INFO).mkdir(parents=True, exist_ok=True)
        if package.name == "base-files":
            self._merged_usr(package, tree, newest)
        self.stanzas.append(dpkg_status.installed(stanza, (control.get("conffiles") or b"").decode(), checksums))

    def _entry(self, info: tarfile.TarInfo, package: LockedPackage) -> tuple[str, Entry]:
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
        entry = Entry(
            path, _TYPES[info.type], info.mode & 0o7777, info.uid, info.gid, int(info.mtime),
            info.size if info.isreg() else 0, target, xattrs,
        )  # fmt: skip
        return path, entry

    def _take(self, entry: Entry, data: bytes, package: LockedPackage) -> None:
        if self.plan is None:
            return
        if leave_out.left_out(entry.path, self.plan.leave_out, link=entry.type == "link"):
            self.left_out.add(entry.path)
            return
        old = self.pieces.get(entry.path)
        if old and not (old.entry.type == entry.type == "folder"):
            self._replaced(entry.path, old.package, package)
        if old and old.entry.type == "folder" == entry.type:
            entry = replace(old.entry, mtime=max(old.entry.mtime, entry.mtime))
        self.spool.seek(0, os.SEEK_END)
        offset = self.spool.tell()
        self.spool.write(data)
        self.pieces[entry.path] = _Piece(entry, package.name, offset)
        if (
            self.compiler
            and entry.type == "file"
            and (cached := bytecode.cache_path(entry.path, self.compiler.version))
        ):
            code = self.compiler.compile("/" + entry.path, data, entry.mtime)
            if code is not None:
                folder = posixpath.dirname(cached)
                self._take(Entry(folder, "folder", 0o755, mtime=entry.mtime), b"", package)
                self._take(Entry(cached, "file", 0o644, mtime=entry.mtime, size=len(code)), code, package)

    def _replaced(self, path: str, owner: str, package: LockedPackage) -> None:
        assert self.plan is not None
        # dpkg lets the package win that says so (policy 7.6.1); here packages come sorted by name.
        stanza = next((s for s in self.stanzas if s.package == owner), None)
        if stanza and package.name in dpkg_status.needs(stanza, ("Replaces",)):
            raise MakeError(f"/{path} of {owner} replaces that of {package.name}: their order is not settled")

    def _merged_usr(self, package: LockedPackage, tree: Path | None, mtime: int) -> None:
        for name in _MERGED_LINKS:
            if name not in self.pieces and not (tree and (tree / name).is_symlink()):
                entry = Entry(name, "link", 0o777, mtime=mtime, target=f"usr/{name}")
                if tree:
                    _unpack(tree, entry, b"")
                self._take(entry, b"", package)


def _write(reading: _Reading, writer: LayerWriter) -> None:
    status = dpkg_status.format(reading.stanzas).encode("utf-8", "surrogateescape")
    newest = max((piece.entry.mtime for piece in reading.pieces.values()), default=0)
    reading.spool.seek(0, os.SEEK_END)
    offset = reading.spool.tell()
    reading.spool.write(status)
    entry = Entry("var/lib/dpkg/status", "file", 0o644, mtime=newest, size=len(status))
    reading.pieces[entry.path] = _Piece(entry, "", offset)
    for folder in ("var", "var/lib", "var/lib/dpkg", INFO):
        reading.pieces.setdefault(folder, _Piece(Entry(folder, "folder", 0o755, mtime=newest), ""))
    first_of: dict[str, str] = {}
    for path in sorted(reading.pieces):
        piece = reading.pieces[path]
        entry = piece.entry
        if entry.type == "link" and _dangles(entry, reading):
            continue
        if entry.type == "hardlink":
            # Sorting may put a link before what it links to: the first of them carries the bytes.
            target = reading.pieces.get(entry.target)
            if target is None:
                continue
            if entry.target in first_of:
                entry = replace(entry, target=first_of[entry.target])
            elif entry.target > path:
                first_of[entry.target] = path
                piece, entry = target, replace(target.entry, path=path)
        elif path in first_of:
            entry = replace(entry, type="hardlink", target=first_of[path], size=0)
        if entry.type == "file":
            reading.spool.seek(piece.offset)
            writer.add(entry, reading.spool.read(entry.size))
        else:
            writer.add(entry)


def _dangles(entry: Entry, reading: _Reading) -> bool:
    target = posixpath.normpath(posixpath.join("/", posixpath.dirname(entry.path), entry.target)).lstrip("/")
    target = deb.canonical(target)
    if target not in reading.left_out:
        return False
    # A folder that is left out is there all the same if something in it is kept.
    return not any(path.startswith(target + "/") for path in reading.pieces)


def _unpack(tree: Path, entry: Entry, data: bytes) -> None:
    # Links of a package never lead out of the tree: parents are real folders that we made.
    path = tree / entry.path
    _parents(tree, path.parent)
    if entry.type != "folder" and (path.is_symlink() or (path.exists() and not path.is_dir())):
        # What is there may be a link to something else: it is replaced, never written through.
        path.unlink()
    match entry.type:
        case "folder":
            if path.is_symlink() or not path.is_dir():
                path.mkdir()
        case "file":
            path.write_bytes(data)
        case "link":
            path.symlink_to(entry.target)
        case "hardlink":
            _parents(tree, (tree / entry.target).parent)
            os.link(tree / entry.target, path, follow_symlinks=False)
            return
        case "fifo":
            os.mkfifo(path)
    os.chown(path, entry.uid, entry.gid, follow_symlinks=False)
    if entry.type != "link":
        os.chmod(path, entry.mode)
    for name, value in entry.xattrs:
        os.setxattr(path, name, value, follow_symlinks=False)
    os.utime(path, (entry.mtime, entry.mtime), follow_symlinks=False)


def _parents(tree: Path, folder: Path) -> None:
    if folder == tree:
        return
    _parents(tree, folder.parent)
    if folder.is_symlink():
        raise MakeError(f"/{folder.relative_to(tree)} is a link and a folder at once")
    folder.mkdir(exist_ok=True)
