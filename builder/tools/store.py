"""The local store: bytes by digest, made layers by cache key, unpacked trees by name.

    blobs/sha256/HEX     packages and layers, as their bytes
    layers/KEY.json      what a layer plan turned out to be, and the time of its bytes
    trees/NAME/          unpacked packages and states, for configuring
    apt/                 apt's lists
    feeds/               documents of advisories, by their address
    record/              what is remembered of releases and advisories: it is not emptied with the rest
    worktrees/           workspaces at a commit, while a branch is made of what changes there
    logs/                what scripts of packages said, by state; what became of an image, by its name
    locks/               one file per shared thing, for `exclusive`
    tmp/                 what is being made; whatever lies here unlocked is left over

Everything is made under a temporary name and renamed, so what is there is whole; what is damaged later, or was lost with
the machine's power, is found by its size, its time or its checksum, and made or fetched again.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from builder.errors import IntegrityError, SandboxError
from builder.model.digest import CacheKey, Digest
from builder.model.plan import MadeLayer
from builder.tools import rootless


def default_root() -> Path:
    """``$XDG_CACHE_HOME/imgbuild``, or ``~/.cache/imgbuild``."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "imgbuild"


class BlobWriter:
    """Takes bytes of a digest that is known at the end."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Add bytes."""
        self._hash.update(data)
        self.size += len(data)
        return self._file.write(data)

    @property
    def digest(self) -> Digest:
        """Of what was written so far."""
        return Digest.from_hex(self._hash.hexdigest())


class Store:
    """The store in a folder; made when first written to. Several processes may share it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    # bytes

    def path(self, digest: Digest) -> Path:
        """Where the bytes of a digest lie, whether or not they do."""
        return self.root / "blobs" / "sha256" / digest.hex

    def has(self, digest: Digest) -> bool:
        """Whether the bytes are here."""
        return self.path(digest).exists()

    def open(self, digest: Digest) -> BinaryIO:
        """The bytes from their start.

        Raises:
            KeyError: they are not here.
        """
        try:
            return self.path(digest).open("rb")
        except FileNotFoundError:
            raise KeyError(digest) from None

    def read(self, digest: Digest) -> bytes:
        """The bytes of a small blob.

        Raises:
            KeyError: they are not here.
            IntegrityError: they are others, and have been removed.
        """
        with self.open(digest) as file:
            data = file.read()
        if (found := Digest.of(data)) != digest:
            self._discard(self.path(digest))
            raise IntegrityError(
                f"{self.path(digest)}: the store's copy was damaged and has been removed", digest, found,
                "do the same again: it is made or fetched anew; `imgbuild cache verify` looks for more",
            )  # fmt: skip
        return data

    def sound(self, digest: Digest) -> bool:
        """Whether the bytes are here, all of them read; those that are others are removed."""
        try:
            with self.path(digest).open("rb") as file:
                found = Digest.from_hex(hashlib.file_digest(file, "sha256").hexdigest())
        except FileNotFoundError:
            return False
        if found != digest:
            self._discard(self.path(digest))
        return found == digest

    def _discard(self, path: Path) -> None:
        # A store that cannot be written to keeps it; that it is damaged is found again.
        with contextlib.suppress(OSError):
            path.unlink()

    @contextlib.contextmanager
    def writing(self) -> Iterator[BlobWriter]:
        """Add a blob: it is there, under its digest, when the block ends without an error."""
        with self._temporary_file() as (file, name):
            writer = BlobWriter(file)
            yield writer
            file.flush()
            target = self.path(writer.digest)
            self._folder("blobs", "sha256")
            os.replace(name, target)

    def add(self, data: bytes) -> Digest:
        """Add a small blob."""
        digest = Digest.of(data)
        if not self.has(digest):
            with self.writing() as writer:
                writer.write(data)
        return digest

    # layers

    def made(self, key: CacheKey) -> MadeLayer | None:
        """What a layer plan turned out to be, if all its bytes are here."""
        path = self.root / "layers" / f"{key}.json"
        try:
            data = json.loads(path.read_bytes())
            made = MadeLayer.of(key, data)
            stamp = data.get("stamp")
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, AttributeError):
            self._discard(path)
            return None
        if not self._unchanged(made, stamp) or (made.status and not self.has(made.status)):
            return None
        return made

    def _unchanged(self, made: MadeLayer, stamp: int | None) -> bool:
        # To read all layers at each build would take longer than the build: who changes a file changes its time.
        layer = made.layer
        path = self.path(layer.digest)
        try:
            found = path.stat()
        except FileNotFoundError:
            return False
        if found.st_size != layer.size:
            self._discard(path)
            return False
        if found.st_mtime_ns == stamp:
            return True
        if not self.sound(layer.digest):
            return False
        with contextlib.suppress(OSError):
            self.keep(made)
        return True

    def keep(self, made: MadeLayer) -> None:
        """Remember what a layer plan turned out to be; its bytes must be here."""
        data = {**made.data(), "stamp": self.path(made.layer.digest).stat().st_mtime_ns}
        self.write_file(self._folder("layers") / f"{made.cache_key}.json", json.dumps(data).encode())

    # trees

    def tree(self, name: str) -> Path | None:
        """An unpacked tree, if it is here."""
        path = self.root / "trees" / name
        return path if path.is_dir() else None

    @contextlib.contextmanager
    def making_tree(self, name: str) -> Iterator[Path]:
        """Make an unpacked tree: it is there, whole, when the block ends without an error."""
        with self.temporary_folder() as folder:
            work = folder / "tree"
            work.mkdir(mode=0o755)
            yield work
            target = self._folder("trees") / name
            try:
                os.rename(work, target)
            except OSError:
                if not target.is_dir():
                    raise

    # tools

    @contextlib.contextmanager
    def temporary_folder(self) -> Iterator[Path]:
        """A folder on the store's file system that goes away with the block."""
        with self._claiming():
            path = Path(tempfile.mkdtemp(dir=self._folder("tmp")))
            descriptor = os.open(path, os.O_RDONLY)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        try:
            path.chmod(0o755)
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)
            os.close(descriptor)

    @contextlib.contextmanager
    def _temporary_file(self) -> Iterator[tuple[BinaryIO, str]]:
        """A file that is gone when the block ends, unless the block renames it."""
        with self._claiming():
            descriptor, name = tempfile.mkstemp(dir=self._folder("tmp"))
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        try:
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(file.fileno(), 0o644)
                yield file, name
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)

    def _claiming(self) -> contextlib.AbstractContextManager[None]:
        # What is made and not yet locked looks like a leftover.
        return self.exclusive("tmp")

    def sweep(self) -> None:
        """Remove what runs that were killed have left in ``tmp``."""
        folder = self.root / "tmp"
        if not folder.is_dir() or not any(folder.iterdir()):
            return
        with self._claiming():
            for path in folder.iterdir():
                with contextlib.suppress(OSError):
                    descriptor = os.open(path, os.O_RDONLY)
                    try:
                        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        if path.is_dir():
                            with contextlib.suppress(SandboxError):
                                _remove(path)
                        else:
                            path.unlink()
                    finally:
                        os.close(descriptor)

    @contextlib.contextmanager
    def exclusive(self, name: str) -> Iterator[None]:
        """Only one process at a time, of all that share the store, is in a block of this name."""
        with (self._folder("locks") / name).open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @contextlib.contextmanager
    def alone(self, name: str) -> Iterator[bool]:
        """As ``exclusive``, but nobody is waited for: whether we are the only one in a block of this name."""
        with (self._folder("locks") / name).open("wb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True

    def folder(self, name: str) -> Path:
        """A folder of the store, made if need be: ``apt``."""
        return self._folder(name)

    def log(self, name: str) -> Path:
        """Where a log lies, whether or not it does."""
        return self._folder("logs") / f"{name}.log"

    def write_file(self, path: Path, data: bytes) -> None:
        """Write a file of the store whole or not at all."""
        with self._temporary_file() as (file, name):
            file.write(data)
            file.flush()
            os.replace(name, path)

    def usage(self) -> dict[str, int]:
        """Bytes on disk by the store's folders; a file with several names counts once."""
        try:
            return _usage(self.root)
        except PermissionError:
            return rootless.call(_usage, self.root)

    def remove(self, path: Path) -> None:
        """Remove something of the store; what is a folder is gone at once, not bit by bit."""
        if path.is_dir() and not path.is_symlink():
            with self.temporary_folder() as folder:
                path.rename(folder / "gone")
                _remove(folder / "gone")
        else:
            path.unlink(missing_ok=True)

    def clean(self) -> None:
        """Empty the store, once nobody writes to it."""
        with self.exclusive("clean"):
            for folder in self.root.iterdir():
                if folder.name not in ("locks", "record"):
                    _remove(folder)

    def _folder(self, *parts: str) -> Path:
        path = self.root.joinpath(*parts)
        path.mkdir(parents=True, exist_ok=True)
        return path


def _usage(root: Path) -> dict[str, int]:
    result: dict[str, int] = {}
    seen: set[int] = set()
    for folder in sorted(root.iterdir()) if root.is_dir() else ():
        total = 0
        for parent, _, names in os.walk(folder, onerror=_not_ours):
            for name in names:
                with contextlib.suppress(FileNotFoundError):
                    found = os.lstat(os.path.join(parent, name))
                    if found.st_ino not in seen:
                        seen.add(found.st_ino)
                        total += found.st_blocks * 512
        result[folder.name] = total
    return result


def _not_ours(error: OSError) -> None:
    if isinstance(error, PermissionError):
        raise error


def _remove(folder: Path) -> None:
    """Remove a folder, whoever owns what is in it."""
    try:
        shutil.rmtree(folder)
    except PermissionError:
        rootless.call(shutil.rmtree, folder)
