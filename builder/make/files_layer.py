"""The files that a definition itself brings → a layer, and a tree for configuring above it."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from builder.errors import MakeError
from builder.formats.deb import canonical
from builder.formats.tar import Entry, layer_writer
from builder.make.epoch import EPOCH
from builder.model.plan import FileEntry, FilesLayerPlan, MadeLayer
from builder.tools.store import Store

_LINKED = {"var/run": "run", "var/lock": "run/lock"}
"""What Debian has links for: a folder of this name would take their place."""
_STANDARD = frozenset(
    "etc home opt run srv usr usr/bin usr/lib usr/libexec usr/local usr/sbin usr/share var var/cache var/lib var/log".split()  # noqa: SIM905
)
"""Folders of base-files that belong to root, 0755, everywhere."""


def make(plan: FilesLayerPlan, store: Store) -> MadeLayer:
    """Make the layer; its tree ``files-KEY`` is then in the store too.

    Raises:
        MakeError: two of its paths are the same place.
    """
    files = _placed(plan.files)
    with layer_writer(store, plan.compression) as writer:
        for file in files:
            data = store.read(file.content) if file.content else b""
            writer.add(_entry(file, len(data)), data)
    name = f"files-{plan.cache_key}"
    if store.tree(name) is None:
        with store.making_tree(name) as tree:
            for file in files:
                _unpack(tree, file, store)
    assert writer.layer is not None, "it was just finished"
    made = MadeLayer(plan.cache_key, writer.layer)
    store.keep(made)
    return made


def _placed(files: Iterable[FileEntry]) -> tuple[FileEntry, ...]:
    """Sorted by the paths that layers have, with the folders that they lie in as far as these are known.

    Engines differ in what they make of a folder that no entry names: docker's overlay has let everyone write to it.
    """
    found: dict[str, FileEntry] = {}
    for file in files:
        path = canonical(file.path)
        path = next((new + path[len(old) :] for old, new in _LINKED.items() if f"{path}/".startswith(f"{old}/")), path)
        if path in found:
            raise MakeError(f"{found[path].path} and {file.path} are the same place", "name it once")
        found[path] = file
    for path in list(found):
        while path := posixpath.dirname(path):
            if path in _STANDARD:
                found.setdefault(path, FileEntry(path, "folder", 0, 0, 0o755))
            elif path in found and found[path].kind != "folder":
                parent = found[path]
                raise MakeError(f"{parent.path} is a {parent.kind}, and something lies in it", "name only one of them")
    return tuple(replace(found[path], path=path) for path in sorted(found))


def _entry(file: FileEntry, size: int) -> Entry:
    match file.kind:
        case "folder":
            return Entry(file.path, "folder", file.mode, file.uid, file.gid, EPOCH)
        case "link":
            return Entry(file.path, "link", 0o777, file.uid, file.gid, EPOCH, target=file.target)
        case _:
            return Entry(file.path, "file", file.mode, file.uid, file.gid, EPOCH, size)


def _unpack(tree: Path, file: FileEntry, store: Store) -> None:
    path = tree / file.path
    path.parent.mkdir(parents=True, exist_ok=True)
    if file.kind == "link":
        path.symlink_to(file.target)
    elif file.kind == "folder":
        path.mkdir()
    else:
        assert file.content is not None, "a file has bytes"
        path.write_bytes(store.read(file.content))
    os.chown(path, file.uid, file.gid, follow_symlinks=False)
    if file.kind != "link":
        path.chmod(file.mode)
