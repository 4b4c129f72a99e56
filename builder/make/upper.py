"""The folder that took what configuring changed → a state: cleaned, with constant times, as a layer."""

from __future__ import annotations

import filecmp
import os
import posixpath
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from builder.errors import MakeError
from builder.formats import berkeley_db, offline_manifest
from builder.formats.places import canonical
from builder.formats.tar import Entry, EntryType, Keeper, layer_writer
from builder.make import left_behind
from builder.make.epoch import EPOCH
from builder.make.lowers import OPAQUE, Lowers, is_opaque, is_whiteout
from builder.model.image import Layer

DAY = EPOCH // 86400
"""The day of the rules' constant time, as /etc/shadow counts days."""


def clean(
    upper: Path,
    lowers: Lowers,
    generated: tuple[str, ...],
    stays_out: Callable[[str, bool], bool],
    settled: Mapping[str, Path],
) -> None:
    """Remove what stays out of a state and what is as it was, and set times.

    Args:
        generated: absolute paths whose content is left out.
        stays_out: says of a relative path, and of whether it is a folder or link, if the definition's rules leave it out.
        settled: relative paths that the state brings even if they are as in the trees below, and where they are from.
    """
    empty = tuple(path.strip("/") + "/" for path in generated)
    gone: set[Path] = set()
    linked: list[tuple[Path, os.stat_result, Path]] = []
    for path, found in _deepest_first(upper):
        relative = str(path.relative_to(upper))
        folder = stat.S_ISDIR(found.st_mode)
        link = stat.S_ISLNK(found.st_mode)
        out = relative not in settled and left_behind.stays_out(relative, folder=folder)
        out = out or relative.startswith(empty)
        if link and not out:
            # Links and alternatives to what the rules leave out would point at nothing.
            target = _target(relative, os.readlink(path))
            out = stays_out(target, _leads_on(target, upper, lowers))
        by_rule = stays_out(relative, folder or link)
        # A socket is of a program that has ended.
        if out or stat.S_ISSOCK(found.st_mode) or (not folder and not is_whiteout(found) and by_rule):
            if folder:
                _remove_folder(path)
            else:
                path.unlink()
                gone.add(path)
            continue
        below = settled.get(relative) or lowers.find(relative)
        if is_whiteout(found):
            if below is None or stays_out(relative, False):
                path.unlink()
        elif folder:
            _tidy_folder(path, found, below, by_rule, kept=relative in settled)
        elif below is not None and relative not in settled and _same(path, found, below):
            if found.st_nlink > 1:
                linked.append((path, found, below))
            else:
                path.unlink()
        else:
            _strip(path)
            if stat.S_ISREG(found.st_mode) and below is None:
                _forget_chance(path, relative)
            os.utime(path, (EPOCH, _mtime(path, found, below)), follow_symlinks=False)
    for path, found, below in linked:
        # A script has given a file below a further name: they are one file still, if both names stay.
        if path.lstat().st_nlink > 1:
            _strip(path)
            os.utime(path, (EPOCH, _mtime(path, found, below)))
        else:
            path.unlink()
    _drop_dangling(upper, gone)
    _tidy_top(upper)


def folders(upper: Path) -> Iterator[str]:
    """The relative paths of its folders."""
    for folder, folders_, _ in os.walk(upper):
        for name in folders_:
            yield os.path.relpath(os.path.join(folder, name), upper)


def _deepest_first(upper: Path) -> Iterator[tuple[Path, os.stat_result]]:
    for folder, folders, files in os.walk(upper, topdown=False):
        for name in sorted((*folders, *files)):
            path = Path(folder, name)
            yield path, path.lstat()


def _target(link: str, target: str) -> str:
    return canonical(posixpath.normpath(posixpath.join("/", posixpath.dirname(link), target)))


def _leads_on(path: str, upper: Path, lowers: Lowers) -> bool:
    place = upper / path
    found = place if os.path.lexists(place) else lowers.find(path)
    return found is None or found.is_dir() or found.is_symlink()


def _remove_folder(path: Path) -> None:
    # What was in it is gone already, but for what is kept below (never the case for patterns that end in /*).
    try:
        path.rmdir()
    except OSError:
        os.utime(path, (EPOCH, EPOCH))


def _tidy_folder(path: Path, found: os.stat_result, below: Path | None, out: bool, *, kept: bool) -> None:
    opaque = is_opaque(path)
    if opaque and (below is None or not below.is_dir()):
        os.removexattr(path, OPAQUE)
        opaque = False
    empty = not any(path.iterdir())
    if empty and not opaque:
        if out:
            path.rmdir()
            return
        if below is not None and below.is_dir() and not below.is_symlink() and not kept:
            old = below.lstat()
            if (old.st_mode, old.st_uid, old.st_gid) == (found.st_mode, found.st_uid, found.st_gid):
                path.rmdir()
                return
    _strip(path)
    os.utime(path, (EPOCH, EPOCH))


def _tidy_top(upper: Path) -> None:
    _strip(upper)
    upper.chmod(0o755)
    os.utime(upper, (EPOCH, EPOCH))
    # Removing files touched their folders.
    for folder, _, _ in os.walk(upper):
        os.utime(folder, (EPOCH, EPOCH))


def _drop_dangling(upper: Path, gone: set[Path]) -> None:
    names = {(path.parent, path.name) for path in gone}
    for parent in {path.parent for path in gone}:
        if parent.is_dir():
            for path in sorted(parent.iterdir()):
                if path.is_symlink() and (parent, os.readlink(path)) in names:
                    path.unlink()


def _same(path: Path, found: os.stat_result, below: Path) -> bool:
    old = below.lstat()
    if (old.st_mode, old.st_uid, old.st_gid) != (found.st_mode, found.st_uid, found.st_gid):
        return False
    return _xattrs(path) == _xattrs(below) and _same_content(path, found, below, old)


def _same_content(path: Path, found: os.stat_result, below: Path, old: os.stat_result) -> bool:
    if stat.S_ISLNK(found.st_mode):
        return stat.S_ISLNK(old.st_mode) and os.readlink(path) == os.readlink(below)
    if not stat.S_ISREG(found.st_mode) or not stat.S_ISREG(old.st_mode):
        return stat.S_IFMT(found.st_mode) == stat.S_IFMT(old.st_mode)
    return found.st_size == old.st_size and filecmp.cmp(path, below, shallow=False)


def _mtime(path: Path, found: os.stat_result, below: Path | None) -> int:
    # A file copied up for its mode keeps its time: byte code knows its source by it.
    if below is not None:
        old = below.lstat()
        if stat.S_ISREG(found.st_mode) and _same_content(path, found, below, old):
            return int(old.st_mtime)
    return EPOCH


def _forget_chance(path: Path, relative: str) -> None:
    if path.name == offline_manifest.NAME:
        path.write_bytes(offline_manifest.in_order(path.read_bytes()))
        return
    with path.open("rb") as file:
        head = file.read(berkeley_db.HEAD)
        if not berkeley_db.has_id(head):
            return
        data = head + file.read()
    path.write_bytes(berkeley_db.with_constant_id(data, relative))


def _strip(path: Path) -> None:
    for name in os.listxattr(path, follow_symlinks=False):
        if name.startswith("user.overlay.") and name != OPAQUE:
            os.removexattr(path, name, follow_symlinks=False)


def _xattrs(path: Path) -> tuple[tuple[str, bytes], ...]:
    found = []
    for name in sorted(os.listxattr(path, follow_symlinks=False)):
        if name.startswith(("user.overlay.", "system.posix_acl", "security.selinux")):
            continue
        value = os.getxattr(path, name, follow_symlinks=False)
        found.append((name, _plain_capability(value) if name == "security.capability" else value))
    return tuple(found)


def _plain_capability(value: bytes) -> bytes:
    # A capability set in a user namespace may be of version 3, which names the namespace's root; images want version 2.
    magic = int.from_bytes(value[:4], "little")
    if magic >> 24 == 3:
        return ((2 << 24) | (magic & 0xFFFFFF)).to_bytes(4, "little") + value[4:20]
    return value


def layer(upper: Path, store: Keeper, compression: str) -> Layer:
    """The OCI layer of a cleaned upper folder; deletions become ``.wh.`` files (image-spec, layer.md#whiteouts)."""
    with layer_writer(store, compression) as writer:
        first_of: dict[tuple[int, int], str] = {}
        for path, place, entry in sorted(_entries(upper), key=lambda item: item[0]):
            if place is None or entry.type != "file":
                writer.add(entry, b"" if entry.type == "file" else None)
                continue
            found = place.lstat()
            first = first_of.setdefault((found.st_dev, found.st_ino), path)
            if found.st_nlink > 1 and first != path:
                writer.add(replace(entry, type="hardlink", target=first, size=0, xattrs=()))
                continue
            with place.open("rb") as file:
                writer.add(entry, file)
    assert writer.layer is not None
    return writer.layer


def _entries(upper: Path) -> Iterator[tuple[str, Path | None, Entry]]:
    for folder, folders, files in os.walk(upper):
        here = Path(folder)
        base = "" if here == upper else f"{here.relative_to(upper)}/"
        if here != upper and is_opaque(here):
            yield _mark(base, ".wh..wh..opq")
        for name in (*folders, *files):
            place = here / name
            found = place.lstat()
            if is_whiteout(found):
                yield _mark(base, f".wh.{name}")
                continue
            path = base + name
            yield path, place, _entry(path, place, found)


def _mark(base: str, name: str) -> tuple[str, None, Entry]:
    return base + name, None, Entry(base + name, "file", 0o644, 0, 0, EPOCH)


_TYPES: dict[int, EntryType] = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "folder",
    stat.S_IFLNK: "link",
    stat.S_IFIFO: "fifo",
}


def _entry(path: str, place: Path, found: os.stat_result) -> Entry:
    kind = stat.S_IFMT(found.st_mode)
    if kind not in _TYPES:
        raise MakeError(f"/{path}: a device or socket cannot be in a layer")
    return Entry(
        path=path,
        type=_TYPES[kind],
        mode=stat.S_IMODE(found.st_mode),
        uid=found.st_uid,
        gid=found.st_gid,
        mtime=int(found.st_mtime),
        size=found.st_size if kind == stat.S_IFREG else 0,
        target=os.readlink(place) if kind == stat.S_IFLNK else "",
        xattrs=tuple((n, v) for n, v in _xattrs(place) if n != OPAQUE),
    )
