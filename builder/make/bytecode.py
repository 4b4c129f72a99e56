"""Python byte code, compiled by the target suite's own interpreter.

The interpreter runs from an unpacked tree with that tree's own C library, as one child that is fed sources and
answers byte code: no source is written to disk. Byte code is checked against the source's time (PEP 552), so that
a module which an operator mounts over or a fix replaces is noticed.
"""

from __future__ import annotations

import re
import struct
from pathlib import Path
from types import TracebackType
from typing import Self

from builder.errors import MakeError
from builder.tools.process import Child

_WORKER = r"""
import importlib._bootstrap_external as b, importlib.util, struct, sys, warnings
warnings.simplefilter("ignore")
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
_PUBLIC = re.compile(r"^usr/lib/python3(\.\d+)?/.*\.py$")


def version_of(tree: Path) -> str:
    """The minor version of a tree's interpreter: ``3.13``."""
    found = sorted(
        path.name for path in (tree / "usr/bin").glob("python3.*") if re.fullmatch(r"python3\.\d+", path.name)
    )
    if not found:
        raise MakeError("the packages that should compile byte code have no interpreter")
    return found[-1].removeprefix("python")


def cache_path(path: str, version: str) -> str | None:
    """Where the byte code of a module goes; None if this interpreter does not compile it.

    Args:
        path: of the module, without a leading ``/``.
        version: the interpreter's minor version.
    """
    found = _PUBLIC.match(path)
    if not found or (found[1] and f"3{found[1]}" != version):
        return None
    folder, _, name = path.rpartition("/")
    return f"{folder}/__pycache__/{name[:-3]}.cpython-{version.replace('.', '')}.pyc"


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
        argv = [
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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._child:
            self._child.close()

    def compile(self, path: str, source: bytes, mtime: int) -> bytes | None:
        """The byte code of a module, or None if it is no valid source for this interpreter.

        Args:
            path: absolute, as the image has it.
            mtime: of the source in the layer.
        """
        if self._child is None:
            argv = ["/usr/bin/env", f"PYTHONHOME={self._home}", *self._argv]
            self._child = Child(argv)
        name = path.encode("utf-8", "surrogateescape")
        self._child.write(struct.pack("<IIQ", len(name), len(source), mtime) + name + source)
        (size,) = struct.unpack("<I", self._child.read(4))
        return self._child.read(size) or None
