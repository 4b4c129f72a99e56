"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Write a file: it is there, in place of the one before, when the block ends without an error."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise


def write(path: Path, data: bytes) -> None:
    """Write a file of these bytes, whole or not at all, whether or not the machine keeps its power.

    For what cannot be made again: locks, indexes. Blobs are known by size and digest, so `replacing` is enough.
    """
    with replacing(path) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
