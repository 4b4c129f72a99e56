"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


@contextlib.contextmanager
def replacing(path: Path, folder: Path | None = None) -> Iterator[BinaryIO]:
    """Write a file: it is there, in place of the one before, when the block ends without an error.

    Args:
        folder: where it is made, on the same file system; beside the file if not given.
    """
    descriptor, name = tempfile.mkstemp(dir=folder or path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise


def write(path: Path, data: bytes, folder: Path | None = None) -> None:
    """Write a file of these bytes, whole or not at all."""
    with replacing(path, folder) as file:
        file.write(data)
