"""Package payloads → one layer, and, where configuring needs them, unpacked trees; each .deb is read once.

Nothing but the packages and the rules goes in: no root file system, no script. So the same packages give the same
digest in any image, on any machine.
"""

from __future__ import annotations

import contextlib
import io
import os
import posixpath
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, BinaryIO, cast

from builder.errors import MakeError
from builder.formats import deb, places
from builder.formats.tar import Entry, LayerWriter, layer_writer
from builder.make import bytecode, dpkg_status, leave_out, payload
from builder.make.dpkg_status import INFO, Stanza
from builder.make.payload import Data, Payload, Take
from builder.model.lock import LockedPackage
from builder.model.plan import MadeLayer, PackageLayerPlan
from builder.tools.store import Store

_IN_MEMORY = 32 * 1024 * 1024
_PIECE = 1 << 20
_NOWHERE = -1


@dataclass(frozen=True, slots=True)
class _Piece:
    """An entry of some package.

    Attributes:
        content: a number that hard links share; the bytes lie where ``_Gathering.places`` says.
    """

    entry: Entry
    owner: Stanza
    content: int


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
    with (
        tempfile.SpooledTemporaryFile(_IN_MEMORY, dir=str(store.folder("tmp"))) as spool,
        _compiler(plan, store) as compiler,
    ):
        gathering = _Gathering(spool, plan, compiler)
        for package in plan.packages:
            if trees and store.tree(package.sha256) is None:
                with store.making_tree(package.sha256) as tree:
                    gathering.read(package, store, tree)
            else:
                gathering.read(package, store, None)
        with layer_writer(store, plan.compression) as writer:
            gathering.write(writer)
    assert writer.layer is not None, "it was just finished"
    made = MadeLayer(plan.cache_key, writer.layer, newest=gathering.newest)
    store.keep(made)
    return made


def make_tree(package: LockedPackage, store: Store) -> None:
    """Unpack a package's complete payload into the store.

    Raises:
        MakeError: the package is damaged.
    """
    if store.tree(package.sha256) is None:
        with store.making_tree(package.sha256) as tree:
            payload.unpack(package, store, tree)


@contextlib.contextmanager
def _compiler(plan: PackageLayerPlan, store: Store) -> Iterator[bytecode.Compiler | None]:
    if not plan.compiler:
        yield None
        return
    with bytecode.Compiler(payload.together(plan.compiler, store)) as compiler:
        yield compiler


class _Gathering:
    """The pieces of all packages of a layer, their bytes in a spool."""

    def __init__(self, spool: IO[bytes], plan: PackageLayerPlan, compiler: bytecode.Compiler | None) -> None:
        self.spool = spool
        self.plan = plan
        self.compiler = compiler
        self.places: list[int] = []
        self.pieces: dict[str, _Piece] = {}
        self.read_packages: list[Payload] = []
        self.left_out: set[str] = set()
        self.diverting: set[str] = set()
        self.asked: list[tuple[_Piece, str]] = []

    @property
    def newest(self) -> int:
        """The newest time among all entries."""
        return max((found.newest for found in self.read_packages), default=0)

    def read(self, package: LockedPackage, store: Store, tree: Path | None) -> None:
        """Read one package; unpack it if there is a tree for it."""
        known: dict[str, _Piece] = {}
        lacking: dict[str, list[_Piece]] = defaultdict(list)
        private: tuple[bytecode.Private, ...] = ()

        def begin(control: deb.Control, stanza: Stanza) -> Take:
            nonlocal private
            private = bytecode.private(control.get("postinst") or b"")
            if b"dpkg-divert" in (control.get("preinst") or b""):
                self.diverting.add(stanza.package)

            def take(entry: Entry, data: Data) -> None:
                if entry.type == "hardlink":
                    target = known.get(entry.target)
                    if target is None:
                        raise MakeError(
                            f"{package.name}: /{entry.path} is a hard link to nothing: /{entry.target}", deb.BROKEN
                        )
                    piece = replace(target, entry=replace(target.entry, path=entry.path))
                else:
                    piece = _Piece(entry, stanza, self._new_content())
                known[entry.path] = piece
                if leave_out.left_out(entry.path, self.plan.leave_out, leads_on=entry.type in ("folder", "link")):
                    self.left_out.add(entry.path)
                    return
                if piece.entry.type == "file" and self.places[piece.content] == _NOWHERE:
                    if entry.type == "hardlink":
                        # What it links to was left out, so it must carry the bytes itself.
                        lacking[next(p for p in known if known[p].content == piece.content)].append(piece)
                        return
                    self.places[piece.content] = self._keep(data)
                self._add(piece, private)

            return take

        self.read_packages.append(payload.read(package, store, tree, begin))
        if lacking:
            for path, data in payload.contents(package, store, frozenset(lacking)):
                self.places[known[path].content] = self._keep(data)
            for piece in (piece for pieces in lacking.values() for piece in pieces):
                self._add(piece, private)
        self._take_compiled()

    def _new_content(self) -> int:
        self.places.append(_NOWHERE)
        return len(self.places) - 1

    def _keep(self, data: Data) -> int:
        place = self.spool.seek(0, os.SEEK_END)
        payload.copy(data, self.spool)
        return place

    def _bytes(self, piece: _Piece) -> bytes:
        self.spool.seek(self.places[piece.content])
        return self.spool.read(piece.entry.size)

    def _stream(self, piece: _Piece) -> BinaryIO:
        self.spool.seek(self.places[piece.content])
        return io.BufferedReader(deb.Part(cast("BinaryIO", self.spool), piece.entry.size))

    def _add(self, piece: _Piece, private: tuple[bytecode.Private, ...]) -> None:
        path = piece.entry.path
        old = self.pieces.get(path)
        if old:
            if old.entry.type == "folder" == piece.entry.type:
                newest = max(old.entry.mtime, piece.entry.mtime)
                self.pieces[path] = replace(old, entry=replace(old.entry, mtime=newest))
                return
            if not self._wins(piece, old):
                return
        self.pieces[path] = piece
        version = self.compiler.version if self.compiler else ""
        cached = bytecode.cache_path(path, version, private) if version and path.endswith(".py") else None
        if cached and piece.entry.type == "file":
            assert self.compiler is not None
            self.pieces.pop(cached, None)
            self.compiler.ask(f"/{path}", self._bytes(piece), piece.entry.mtime)
            self.asked.append((piece, cached))

    def _take_compiled(self) -> None:
        """Add the byte code of what was asked for: meanwhile the package was read on."""
        for piece, cached in self.asked:
            assert self.compiler is not None
            mtime = piece.entry.mtime
            code = self.compiler.answer()
            if code is not None:
                folder = Entry(posixpath.dirname(cached), "folder", 0o755, mtime=mtime)
                self._add(_Piece(folder, piece.owner, self._new_content()), ())
                entry = Entry(cached, "file", 0o644, mtime=mtime, size=len(code))
                made = _Piece(entry, piece.owner, self._new_content())
                self.places[made.content] = self._keep(code)
                self._add(made, ())
        self.asked.clear()

    def _wins(self, new: _Piece, old: _Piece) -> bool:
        if new.owner is old.owner:
            return True
        path, names = new.entry.path, f"{old.owner.package} and {new.owner.package}"
        if "folder" in (new.entry.type, old.entry.type):
            raise MakeError(
                f"/{path} of {names} is a folder in one and a {_other(new, old)} in the other", "leave one of them out"
            )
        winner = dpkg_status.winner(new.owner, old.owner)
        if winner is None and self.diverting & {new.owner.package, old.owner.package}:
            # If a diversion decides, the state brings both files; if none does, it tells.
            return False
        if winner is None and not self._equal(new, old):
            raise MakeError(f"/{path} is brought by {names}, and none replaces the other", "leave one of them out")
        return winner is new.owner

    def _equal(self, new: _Piece, old: _Piece) -> bool:
        same = replace(new.entry, mtime=0) == replace(old.entry, mtime=0)
        return same and (new.entry.type != "file" or self._equal_bytes(new, old))

    def _equal_bytes(self, new: _Piece, old: _Piece) -> bool:
        for done in range(0, new.entry.size, _PIECE):
            read = []
            for piece in (new, old):
                self.spool.seek(self.places[piece.content] + done)
                read.append(self.spool.read(min(_PIECE, new.entry.size - done)))
            if read[0] != read[1]:
                return False
        return True

    def write(self, writer: LayerWriter) -> None:
        """Write all pieces, sorted; of hard links the first carries the bytes."""
        pieces = self._whole()
        first_of: dict[int, str] = {}
        for path in sorted(pieces):
            piece = pieces[path]
            entry = piece.entry
            if entry.type == "link" and self._dangles(entry):
                continue
            if entry.type != "file":
                writer.add(entry)
            elif piece.content in first_of:
                writer.add(replace(entry, type="hardlink", target=first_of[piece.content], size=0, xattrs=()))
            else:
                first_of[piece.content] = path
                writer.add(entry, self._bytes(piece) if entry.size <= _PIECE else self._stream(piece))

    def _whole(self) -> dict[str, _Piece]:
        """With dpkg's status of these packages, and with all folders that the pieces lie in."""
        nobody = Stanza(())
        status = dpkg_status.format(found.stanza for found in self.read_packages).encode("utf-8", "surrogateescape")
        newest = max((piece.entry.mtime for piece in self.pieces.values()), default=0)
        path = "var/lib/dpkg/status"
        records = _Piece(Entry(path, "file", 0o644, mtime=newest, size=len(status)), nobody, self._new_content())
        self.places[records.content] = self._keep(status)
        pieces = {**self.pieces, path: records}
        pieces.setdefault(INFO, _Piece(Entry(INFO, "folder", 0o755, mtime=newest), nobody, _NOWHERE))
        for path, piece in list(pieces.items()):
            child = piece
            while path := posixpath.dirname(path):
                parent = pieces.setdefault(path, _Piece(Entry(path, "folder", 0o755, mtime=newest), nobody, _NOWHERE))
                if parent.entry.type != "folder":
                    raise MakeError(
                        f"/{path} of {parent.owner.package} is a {parent.entry.type}, of {child.owner.package} a folder",
                        "leave one of them out",
                    )
                if parent.owner is not nobody:
                    break
        return pieces

    def _dangles(self, entry: Entry) -> bool:
        target = posixpath.normpath(posixpath.join("/", posixpath.dirname(entry.path), entry.target))
        path = places.canonical(target)
        return path in self.left_out or leave_out.left_out(path, self.plan.leave_out, leads_on=True)


def _other(new: _Piece, old: _Piece) -> str:
    return new.entry.type if old.entry.type == "folder" else old.entry.type
