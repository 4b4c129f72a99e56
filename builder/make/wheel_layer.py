"""Wheels → one layer: as PyPA's ``installer`` installs them into a virtual environment, and nothing else.

Nothing but the wheels, the environment's name and the rules goes in. Times are those that a wheel has for its files;
what is made (scripts, ``RECORD``, byte code) has its wheel's newest one. Byte code is compiled by the target's own
interpreter, checked against its source's time, as that of packages is.
"""

from __future__ import annotations

import base64
import calendar
import csv
import hashlib
import io
import os
import posixpath
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING, BinaryIO, cast

from installer import install
from installer.destinations import WheelDestination
from installer.records import Hash, RecordEntry
from installer.scripts import Script
from installer.sources import WheelFile
from installer.utils import fix_shebang

from builder.errors import MakeError
from builder.formats import deb, places
from builder.formats.tar import Entry, layer_writer
from builder.make import bytecode, payload
from builder.model.digest import Digest
from builder.model.lock import LockedWheel
from builder.model.plan import MadeLayer, WheelLayerPlan
from builder.tools.store import Store

if TYPE_CHECKING:
    from installer.scripts import ScriptSection
    from installer.utils import Scheme

_IN_MEMORY = 32 * 1024 * 1024
_PIECE = 1 << 20
_OLDEST = (1980, 1, 1, 0, 0, 0)
"""The first time that a zip can say."""
INSTALLER = b"imgbuild\n"
BROKEN = "the wheel is broken: ask who made it, or take another version"


@dataclass(frozen=True, slots=True)
class Piece:
    """An entry of some wheel.

    Attributes:
        place: where its bytes begin in the spool.
        sha256: of them.
    """

    entry: Entry
    wheel: str
    place: int = 0
    sha256: bytes = b""


def make(plan: WheelLayerPlan, store: Store) -> MadeLayer:
    """Make the layer of some wheels.

    Raises:
        MakeError: a wheel is damaged, brings what no environment may have, or two bring the same path.
    """
    found = store.made(plan.cache_key)
    if found:
        return found
    with tempfile.SpooledTemporaryFile(_IN_MEMORY, dir=str(store.folder("tmp"))) as spool:
        pieces = gather(plan, store, spool)
        with layer_writer(store, plan.compression) as writer:
            for path in sorted(pieces):
                entry = pieces[path].entry
                if entry.type == "file":
                    spool.seek(pieces[path].place)
                    writer.add(entry, io.BufferedReader(deb.Part(cast("BinaryIO", spool), entry.size)))
                else:
                    writer.add(entry)
    assert writer.layer is not None, "it was just finished"
    newest = max((piece.entry.mtime for piece in pieces.values()), default=0)
    made = MadeLayer(plan.cache_key, writer.layer, newest=newest)
    store.keep(made)
    return made


def gather(plan: WheelLayerPlan, store: Store, spool: IO[bytes]) -> Mapping[str, Piece]:
    """All that the layer has, by path; the bytes of files go into the spool.

    Raises:
        MakeError: as `make`.
    """
    pieces: dict[str, Piece] = {}
    with ExitStack() as stack:
        compiler = None
        if plan.compiler:
            compiler = stack.enter_context(bytecode.Compiler(payload.together(plan.compiler, store)))
            if compiler.version != plan.python:
                raise MakeError(
                    f"/opt/{plan.environment} is of Python {plan.python}, and its base compiles for {compiler.version}",
                    "run `imgbuild lock --update` of the base, or take the Python that the distribution has",
                )
        for wheel in plan.wheels:
            for piece in _installed(plan, wheel, store, spool, compiler):
                old = pieces.setdefault(piece.entry.path, piece)
                if (old.entry.type, old.sha256) != (piece.entry.type, piece.sha256):
                    raise MakeError(
                        f"/{piece.entry.path} is brought by {old.wheel} and {piece.wheel}, and they differ",
                        "leave one of them out",
                    )
    newest = max((piece.entry.mtime for piece in pieces.values()), default=0)
    for path in list(pieces):
        for folder in places.above(path):
            above = pieces.setdefault(folder, Piece(Entry(folder, "folder", 0o755, mtime=newest), ""))
            if above.entry.type != "folder":
                raise MakeError(f"/{folder} of {above.wheel} is a file, of {pieces[path].wheel} a folder", BROKEN)
    return pieces


def _installed(
    plan: WheelLayerPlan, wheel: LockedWheel, store: Store, spool: IO[bytes], compiler: bytecode.Compiler | None
) -> Iterable[Piece]:
    try:
        with store.open(Digest.from_hex(wheel.sha256)) as file, zipfile.ZipFile(file) as archive:
            # Its file's name is its digest; the name it has by itself says what it is.
            archive.filename = wheel.filename
            destination = _Destination(plan, wheel, _times(archive), spool, compiler)
            source = WheelFile(archive)
            source.validate_record(validate_contents=False)  # its sha256 is the lock's
            install(source, destination, {"INSTALLER": INSTALLER})
    except MakeError:
        raise
    except (
        zipfile.BadZipFile,
        ValueError,
        KeyError,
        NotImplementedError,
        EOFError,
        RuntimeError,
        AssertionError,
    ) as error:
        raise MakeError(f"{wheel.filename}: {error}", BROKEN) from None
    except Exception as error:
        # The library's own errors have no common base beneath Exception.
        if type(error).__module__.partition(".")[0] not in ("installer", "zlib"):
            raise
        raise MakeError(f"{wheel.filename}: {error}", BROKEN) from None
    return destination.pieces()


def _times(archive: zipfile.ZipFile) -> dict[str, int]:
    return {info.filename: _time(info.date_time) for info in archive.infolist()}


def _time(said: tuple[int, ...]) -> int:
    try:
        return calendar.timegm((*said[:6], 0, 0, 0))
    except ValueError:
        # A month of 0: some tools write no time at all.
        return calendar.timegm((*_OLDEST, 0, 0, 0))


class _Destination(WheelDestination):
    """Takes what the installer writes, as entries of a layer."""

    def __init__(
        self,
        plan: WheelLayerPlan,
        wheel: LockedWheel,
        times: Mapping[str, int],
        spool: IO[bytes],
        compiler: bytecode.Compiler | None,
    ) -> None:
        root = f"opt/{plan.environment}"
        site = f"{root}/lib/python{plan.python}/site-packages"
        self._folders = {
            "purelib": site,
            "platlib": site,
            "headers": f"{root}/include/site/python{plan.python}/{wheel.name}",
            "scripts": f"{root}/bin",
            "data": root,
        }
        self._interpreter = f"/opt/{plan.environment}/bin/python"
        self._python, self._compiler = plan.python, compiler
        self._wheel, self._times, self._spool = wheel, times, spool
        self._newest = max(times.values(), default=_time(_OLDEST))
        self._own: list[Piece] = []
        self._code: list[Piece] = []

    def pieces(self) -> tuple[Piece, ...]:
        """All that was installed; byte code of ours takes the place of the wheel's own."""
        made = {piece.entry.path for piece in self._code}
        return (*(piece for piece in self._own if piece.entry.path not in made), *self._code)

    def write_script(self, name: str, module: str, attr: str, section: ScriptSection) -> RecordEntry:
        """The program of an entry point."""
        named, data = Script(name, module, attr, section).generate(self._interpreter, "posix")
        if "/" in named:
            raise MakeError(f"{self._wheel.filename}: its entry point {named!r} is no name of a program", BROKEN)
        return self._add("scripts", named, io.BytesIO(data), executable=True, mtime=self._newest)

    def write_file(
        self, scheme: Scheme, path: str | os.PathLike[str], stream: BinaryIO, is_executable: bool
    ) -> RecordEntry:
        """A file of the wheel."""
        name = os.fspath(path)
        mtime = self._times.get(name, self._newest)
        if scheme != "scripts":
            return self._add(scheme, name, stream, executable=is_executable, mtime=mtime)
        with fix_shebang(stream, self._interpreter) as fixed:
            return self._add(scheme, name, fixed, executable=is_executable, mtime=self._newest)

    def finalize_installation(
        self, scheme: Scheme, record_file_path: str, records: Iterable[tuple[Scheme, RecordEntry]]
    ) -> None:
        """The list of all that was installed (the wheel's format, "The .dist-info directory"), sorted; byte code has no hash."""
        site = self._folders[scheme]
        rows = {}
        for where, record in records:
            path = posixpath.relpath(f"{self._folders[where]}/{record.path}", site)
            hash_ = f"{record.hash_.name}={record.hash_.value}" if record.hash_ else ""
            rows[path] = (path, hash_, "" if record.size is None else str(record.size))
        for piece in self._code:
            path = posixpath.relpath(piece.entry.path, site)
            rows[path] = (path, "", "")
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows[path] for path in sorted(rows))
        data = text.getvalue().encode("utf-8", "surrogateescape")
        self._add(scheme, record_file_path, io.BytesIO(data), executable=False, mtime=self._newest)

    def _add(self, scheme: str, path: str, stream: BinaryIO, *, executable: bool, mtime: int) -> RecordEntry:
        whole = f"{self._folders[scheme]}/{path}"
        try:
            clean = places.canonical(whole)
        except MakeError as error:
            raise MakeError(f"{self._wheel.filename}: {error.message}", BROKEN) from None
        place = self._spool.seek(0, os.SEEK_END)
        sum_, size = hashlib.sha256(), 0
        while data := stream.read(_PIECE):
            sum_.update(data)
            size += len(data)
            self._spool.write(data)
        entry = Entry(clean, "file", 0o755 if executable else 0o644, mtime=mtime, size=size)
        self._own.append(Piece(entry, self._wheel.filename, place, sum_.digest()))
        if clean.endswith(".py") and self._compiler and "/site-packages/" in clean:
            self._compile(entry, place)
        value = base64.urlsafe_b64encode(sum_.digest()).decode().rstrip("=")
        return RecordEntry(path, Hash("sha256", value), size)

    def _compile(self, entry: Entry, place: int) -> None:
        assert self._compiler is not None
        self._spool.seek(place)
        code = self._compiler.compile("/" + entry.path, self._spool.read(entry.size), entry.mtime)
        if code is None:
            return
        folder, name = posixpath.split(entry.path)
        cached = f"{folder}/__pycache__/{name[:-3]}.cpython-{self._python.replace('.', '')}.pyc"
        at = self._spool.seek(0, os.SEEK_END)
        self._spool.write(code)
        made = replace(entry, path=cached, mode=0o644, size=len(code))
        self._code.append(Piece(made, self._wheel.filename, at, hashlib.sha256(code).digest()))


def entries(plan: WheelLayerPlan, store: Store) -> Iterator[tuple[Entry, str]]:
    """What the layer has, with the sha256 of files."""
    with tempfile.SpooledTemporaryFile(_IN_MEMORY, dir=str(store.folder("tmp"))) as spool:
        for piece in gather(plan, store, spool).values():
            yield piece.entry, piece.sha256.hex()
