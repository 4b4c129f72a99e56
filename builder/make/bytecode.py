"""Python byte code, compiled by the target suite's own interpreter.

The interpreter runs from an unpacked tree with that tree's own C library, as one child that is fed sources and
answers byte code: no source is written to disk. Byte code is checked against the source's time (PEP 552), so that
a module which an operator mounts over or a fix replaces is noticed.
"""

from __future__ import annotations

import argparse
import queue
import re
import shlex
import struct
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from builder.errors import MakeError
from builder.formats.places import canonical
from builder.tools import machine
from builder.tools.process import Child, ProgramFailed
from builder.tools.sandbox import Sandbox

_WORKER = r"""
import gc, importlib._bootstrap_external as b, importlib.util, struct, sys, warnings
warnings.simplefilter("ignore")
# Compiling leaves next to nothing to collect, and looking for it takes a tenth of the time.
gc.set_threshold(100_000)
i, o = sys.stdin.buffer, sys.stdout.buffer
while True:
    head = i.read(16)
    if len(head) < 16:
        break
    n, size, mtime = struct.unpack("<IIQ", head)
    path, source = i.read(n).decode("utf-8", "surrogateescape"), i.read(size)
    try:
        code = compile(source, path, "exec", dont_inherit=True, optimize=0)
        data = bytes(b._code_to_timestamp_pyc(code, mtime, size))
    except Exception:
        data = b""
    o.write(struct.pack("<I", len(data)) + data)
    o.flush()
"""
_IN_ROOT = r"""
import _frozen_importlib_external as b, os, sys, warnings
warnings.simplefilter("ignore")
for path in os.fsdecode(sys.stdin.buffer.read()).split("\0"):
    try:
        with open(path, "rb") as file:
            source, found = file.read(), os.fstat(file.fileno())
        code = compile(source, path, "exec", dont_inherit=True, optimize=0)
        data = bytes(b._code_to_timestamp_pyc(code, int(found.st_mtime), len(source)))
        cached = b.cache_from_source(path, optimization="")
        os.makedirs(os.path.dirname(cached), exist_ok=True)
        with open(cached, "wb") as file:
            file.write(data)
    except Exception:
        pass
"""
_ON_THE_WAY = 1 << 20
"""Bytes of sources that the interpreter has yet to take, while a package is read on; no user may ask for more (pipe(7))."""
_PY3COMPILE = re.compile(r"^\s*py3compile\s+(.*?)(?:\|\|.*|;.*|&&.*)?$")
_OPTIONS = argparse.ArgumentParser(add_help=False, exit_on_error=False, allow_abbrev=False)
_OPTIONS.add_argument("-p")
_OPTIONS.add_argument("-V", default="")
_OPTIONS.add_argument("-X", action="append", default=[])
for _flag in ("-q", "-v", "-f", "-O"):
    _OPTIONS.add_argument(_flag, action="store_true")
_PUBLIC = re.compile(r"^usr/lib/python3(\.\d+)?/.*\.py$")


def version_of(tree: Path) -> str:
    """The minor version of a tree's interpreter: ``3.13``."""
    found = sorted(
        path.name for path in (tree / "usr/bin").glob("python3.*") if re.fullmatch(r"python3\.\d+", path.name)
    )
    if not found:
        raise MakeError("the packages that should compile byte code have no interpreter")
    return found[-1].removeprefix("python")


@dataclass(frozen=True, slots=True)
class Private:
    """A folder or file of modules that a package keeps for itself and has compiled.

    Attributes:
        path: without a leading ``/``.
        versions: the first and the last minor version that may compile it; None for any.
        excluded: patterns of paths, whole or within the folder, that are not compiled.
    """

    path: str
    versions: tuple[tuple[int, int] | None, tuple[int, int] | None] = (None, None)
    excluded: tuple[re.Pattern[str], ...] = ()

    def wants(self, path: str, version: str) -> bool:
        """Whether an interpreter is to compile a module."""
        if path != self.path and not path.startswith(self.path + "/"):
            return False
        first, last = self.versions
        number = _version(version)
        if (first and number < first) or (last and number > last):
            return False
        within = path.removeprefix(self.path).lstrip("/")
        return not any(pattern.match("/" + path) or pattern.match(within) for pattern in self.excluded)


def private(postinst: bytes) -> tuple[Private, ...]:
    """The private modules that a package's postinst has compiled, by what dh_python3 writes into it (py3compile(1))."""
    found: list[Private] = []
    for line in postinst.decode("utf-8", "replace").splitlines():
        if not (match := _PY3COMPILE.match(line)):
            continue
        try:
            options, paths = _OPTIONS.parse_known_args(shlex.split(match[1], comments=True))
            excluded = tuple(re.compile(pattern) for pattern in options.X)
            versions = _versions(options.V)
            found += [
                Private(canonical(path), versions, excluded)
                for path in paths
                if path.startswith("/") and "$" not in path
            ]
        except (ValueError, re.error, argparse.ArgumentError):
            # A line that a shell may understand and we do not: its modules are compiled when they are loaded.
            continue
    return tuple(found)


def _versions(text: str) -> tuple[tuple[int, int] | None, tuple[int, int] | None]:
    first, dash, last = text.partition("-")
    lowest = _version(first) if first else None
    return lowest, ((_version(last) if last else None) if dash else lowest)


def _version(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    return int(major), int(minor or 0)


def cache_path(path: str, version: str, private: tuple[Private, ...] = ()) -> str | None:
    """Where the byte code of a module goes; None if this interpreter does not compile it.

    Args:
        path: of the module, without a leading ``/``.
        version: the interpreter's minor version.
        private: the private modules of its package.
    """
    found = _PUBLIC.match(path)
    if found:
        if found[1] and f"3{found[1]}" != version:
            return None
    elif not path.endswith(".py") or not any(modules.wants(path, version) for modules in private):
        return None
    folder, _, name = path.rpartition("/")
    return f"{folder}/__pycache__/{name[:-3]}.cpython-{version.replace('.', '')}.pyc"


def compile_in(sandbox: Sandbox, paths: Sequence[str]) -> None:
    """Have the interpreter of a root, if it has one, compile modules that are in it already.

    Args:
        paths: relative.
    """
    given = "\0".join(f"/{path}" for path in paths).encode("utf-8", "surrogateescape")
    sandbox.run(["python3", "-I", "-S", "-c", _IN_ROOT], stdin=given)


class Compiler:
    """An interpreter at work, as a context manager."""

    def __init__(self, tree: Path) -> None:
        self.version = version_of(tree)
        loader = next(
            iter(sorted(tree.glob("usr/lib*/ld-linux*.so.*")) or sorted(tree.glob("usr/lib/*/ld-linux*.so.*"))), None
        )
        if loader is None:
            raise MakeError("the packages that should compile byte code have no C library")
        libraries = ":".join(str(path) for path in sorted(tree.glob("usr/lib/*-linux-gnu*")))
        kernels = {name: debians for debians, name in machine.KERNELS.items()}
        of = next((debians for name, debians in kernels.items() if name.replace("_", "-") in loader.name), "all")
        emulator = machine.emulator(of)
        argv = [
            *((str(emulator),) if emulator else ()),
            str(loader),
            "--library-path",
            libraries,
            str(tree / "usr/bin" / f"python{self.version}"),
            "-P",
            "-S",
            "-c",
            _WORKER,
        ]
        self._argv = argv
        self._home = str(tree / "usr")
        self._child: Child | None = None
        self._listener: threading.Thread | None = None
        self._answers: queue.SimpleQueue[bytes | ProgramFailed] = queue.SimpleQueue()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._child and self._listener:
            self._child.close()
            self._listener.join()

    def ask(self, path: str, source: bytes, mtime: int) -> None:
        """Have a module compiled while other work goes on; `answer` gives what becomes of it, in the order of asking.

        Args:
            path: absolute, as the image has it.
            mtime: of the source in the layer.
        """
        if self._child is None:
            self._child = Child(["/usr/bin/env", f"PYTHONHOME={self._home}", *self._argv], _ON_THE_WAY)
            # It would wait for us to take its answers, and we for it to take what we ask.
            self._listener = threading.Thread(target=self._listen, args=(self._child,), daemon=True)
            self._listener.start()
        name = path.encode("utf-8", "surrogateescape")
        self._child.write(struct.pack("<IIQ", len(name), len(source), mtime) + name + source)

    def answer(self) -> bytes | None:
        """The byte code of the module asked for first of those not answered, or None if it is no valid source.

        Raises:
            ProgramFailed: the interpreter has ended.
        """
        found = self._answers.get()
        if isinstance(found, ProgramFailed):
            raise found
        return found or None

    def compile(self, path: str, source: bytes, mtime: int) -> bytes | None:
        """`ask` and `answer` at once."""
        self.ask(path, source, mtime)
        return self.answer()

    def _listen(self, child: Child) -> None:
        try:
            while True:
                (size,) = struct.unpack("<I", child.read(4))
                self._answers.put(child.read(size))
        except ProgramFailed as failed:
            self._answers.put(failed)
