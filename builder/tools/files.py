"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO


@contextlib.contextmanager
def replacing(path: Path, mode: int = 0o644) -> Iterator[BinaryIO]:
    """Write a file: it is there, in place of the one before, when the block ends without an error.

    Args:
        mode: its permission bits; until then only its owner reads it.
    """
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
        os.chmod(name, mode)
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise


def write(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write a file of these bytes, whole or not at all, whether or not the machine keeps its power.

    For what cannot be made again: locks, indexes. Blobs are known by size and digest, so `replacing` is enough.
    """
    with replacing(path, mode) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Nobody else who asks for this folder has it until the block ends, in this process or another."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def write_all(folder: Path, files: Mapping[Path, bytes]) -> None:
    """Write several files: all of them, or none, whenever it is ended; ``finish`` does the rest of one that was.

    Args:
        folder: where what is to be done is noted; the same that ``finish`` is given.
    """
    if len(files) < 2:
        for path, data in files.items():
            write(path, data)
        return
    ready: list[str] = []
    try:
        for path, data in files.items():
            descriptor, name = tempfile.mkstemp(dir=path.parent.absolute(), prefix=f".{path.name}.")
            ready.append(name)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(name, 0o644)
        descriptor, note = tempfile.mkstemp(dir=folder, prefix=".imgbuild-", suffix=".unfinished")
        os.close(descriptor)
        # From here on they will be there.
        write(Path(note), json.dumps(ready).encode())
    except BaseException:
        for name in ready:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)
        raise
    _rename(Path(note))


def finish(folder: Path) -> bool:
    """Do the rest of what ``write_all`` was about to do when it was ended: whether there was something."""
    notes = sorted(folder.glob(".imgbuild-*.unfinished"))
    for note in notes:
        _rename(note)
    return bool(notes)


def _rename(note: Path) -> None:
    # Whoever comes first renames; what is not there any more has been.
    with contextlib.suppress(FileNotFoundError):
        for path in _noted(note.read_bytes()):
            with contextlib.suppress(FileNotFoundError):
                os.replace(path, path.with_name(path.name[1:].rpartition(".")[0]))
        note.unlink()


def _noted(data: bytes) -> list[Path]:
    # Somebody else's repository may bring such a note: it names no places, only files that have been made ready beside
    # those in whose place they come.
    try:
        found = json.loads(data) if data else []
    except ValueError:
        found = []
    paths = [Path(name) for name in found if isinstance(name, str)] if isinstance(found, list) else []
    return [path for path in paths if re.fullmatch(r"\.[^/]+\.[a-z0-9_]{8}", path.name) and path.is_absolute()]
