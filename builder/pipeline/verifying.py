"""The store held against what it should hold; what is damaged is removed, so that the next run makes or fetches it anew."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from builder.formats import deb
from builder.formats.tar import Entry
from builder.make import payload, upper
from builder.model.digest import CacheKey, Digest
from builder.model.lock import LockedPackage
from builder.report import Reporter
from builder.resolve import stanzas
from builder.tools import rootless
from builder.tools.store import BlobWriter, Store
from dsl.errors import ImgbuildError

_DERIVED = ("merged-", "tools-", "files-")
"""Trees that are quickly made again from others: they go with any that is damaged."""
_TYPES = {"file": stat.S_IFREG, "folder": stat.S_IFDIR, "link": stat.S_IFLNK, "fifo": stat.S_IFIFO}


@dataclass(frozen=True, slots=True)
class Damage:
    """Something that was not what it should be, and has been removed.

    Attributes:
        path: below the store's folder.
    """

    path: str
    problem: str


def verify(store: Store, reporter: Reporter) -> tuple[Damage, ...]:
    """Read the whole store and remove what is damaged. No build should run meanwhile."""
    # Trees have files of many owners.
    return rootless.call(_verify, store.root, reporter=reporter)


def _verify(root: Path, reporter: Reporter) -> tuple[Damage, ...]:
    store = Store(root)
    found: list[Damage] = []
    parts = (
        ("blobs", _blobs),
        ("layers", _layers),
        ("stanzas", _stanzas),
        ("trees", _trees),
        ("package indexes", _indexes),
    )
    for number, (title, part) in enumerate(parts):
        reporter.step(f"reading {title}")
        reporter.progress("verify", number, len(parts))
        for path, problem in part(store):
            store.remove(path)
            found.append(Damage(str(path.relative_to(root)), problem))
    if any(damage.path.startswith("trees/") for damage in found):
        for path in _files(root / "trees"):
            if path.name.startswith(_DERIVED):
                store.remove(path)
    return tuple(found)


Found = Iterator[tuple[Path, str]]


def _files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _blobs(store: Store) -> Found:
    for path in _files(store.root / "blobs/sha256"):
        found = _sha256(path)
        if found != path.name:
            yield path, f"its checksum is {found}"


def _layers(store: Store) -> Found:
    for path in _files(store.root / "layers"):
        known = path.exists()
        # What is wrong with the record itself is removed by asking for it.
        if store.made(CacheKey(path.stem)) is None and known:
            yield path, "it is no record of a layer, or the layer is not there"


def _stanzas(store: Store) -> Found:
    for path in _files(store.root / "stanzas"):
        if stanzas.read(path) is None:
            yield path, "its checksum is another"


def _trees(store: Store) -> Found:
    for path in _files(store.root / "trees"):
        if path.name.startswith("state-"):
            problem = _state_problem(path, store)
        elif re.fullmatch("[0-9a-f]{64}", path.name):
            problem = _package_problem(path, store)
        else:
            continue
        if problem:
            yield path, problem


def _state_problem(tree: Path, store: Store) -> str:
    made = store.made(CacheKey(tree.name.removeprefix("state-")))
    if made is None:
        return "nothing is known of it"
    compression = "zstd" if made.layer.media_type.endswith("zstd") else "gzip"
    again = upper.layer(tree, _Nowhere(), compression)
    return "" if again.diff_id == made.layer.diff_id else "it is not what its layer holds"


class _Nowhere:
    """Takes layers of which the digest alone is wanted."""

    @contextlib.contextmanager
    def writing(self) -> Iterator[BlobWriter]:
        """Take one."""
        with open(os.devnull, "wb") as file:
            yield BlobWriter(file)


def _package_problem(tree: Path, store: Store) -> str:
    digest = Digest.from_hex(tree.name)
    if not store.has(digest):
        return "its package is not there"
    wanted: dict[str, tuple[Entry, str]] = {}

    def take(entry: Entry, data: payload.Data) -> None:
        wanted[entry.path] = (entry, _hash(data))

    try:
        with store.open(digest) as file:
            fields = deb.control(file, tree.name[:12]).fields
        name, version, architecture = (fields.get(key, "") for key in ("Package", "Version", "Architecture"))
        package = LockedPackage(name, version, architecture, "", "", "", "", "", 0, digest.hex, "")
        payload.read(package, store, None, lambda control, stanza: take)
    except ImgbuildError as error:
        return error.message
    different = next(
        (path for path, (entry, sha256) in wanted.items() if not _as_made(tree / path, entry, sha256)), None
    )
    if different is not None:
        return f"/{different} is not what the package brings"
    more = next((path for path in _below(tree) if path not in wanted and not (tree / path).is_dir()), None)
    return f"/{more} is not of the package" if more else ""


def _as_made(path: Path, entry: Entry, sha256: str) -> bool:
    try:
        found = path.lstat()
    except OSError:
        return False
    if entry.type == "hardlink":
        return stat.S_ISREG(found.st_mode)
    same = (stat.S_IFMT(found.st_mode), found.st_uid, found.st_gid) == (_TYPES[entry.type], entry.uid, entry.gid)
    if entry.type == "link":
        return same and os.readlink(path) == entry.target
    same = same and stat.S_IMODE(found.st_mode) == entry.mode
    if entry.type == "file":
        return same and (found.st_size, int(found.st_mtime)) == (entry.size, entry.mtime) and _sha256(path) == sha256
    return same


def _below(tree: Path) -> Iterator[str]:
    for folder, folders, names in os.walk(tree):
        for name in (*folders, *names):
            yield os.path.relpath(os.path.join(folder, name), tree)


def _indexes(store: Store) -> Found:
    for root in _files(store.root / "apt"):
        lists = root / "state/lists"
        signed = "".join(path.read_text(errors="replace") for path in _files(lists) if path.name.endswith("Release"))
        for path in _files(lists):
            if path.name.endswith("_Packages") and _sha256(path) not in signed:
                yield path, "it is not what the Release file says"


def _hash(data: payload.Data) -> str:
    if isinstance(data, bytes):
        return hashlib.sha256(data).hexdigest()
    return Digest.of_stream(data).hex


def _sha256(path: Path) -> str:
    with contextlib.suppress(IsADirectoryError), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
    return "that of a folder"
