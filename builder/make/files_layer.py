"""The files that a definition itself brings → a layer, and a tree for configuring above it."""

from __future__ import annotations

import os
from pathlib import Path

from builder.formats.tar import Entry, layer_writer
from builder.make.epoch import EPOCH
from builder.model.plan import FileEntry, FilesLayerPlan, MadeLayer
from builder.tools.store import Store


def make(plan: FilesLayerPlan, store: Store) -> MadeLayer:
    """Make the layer; its tree ``files-KEY`` is then in the store too."""
    with layer_writer(store, plan.compression) as writer:
        for file in sorted(plan.files):
            data = store.read(file.content) if file.content else b""
            writer.add(_entry(file, len(data)), data)
    name = f"files-{plan.cache_key}"
    if store.tree(name) is None:
        with store.making_tree(name) as tree:
            for file in sorted(plan.files):
                _unpack(tree, file, store)
    assert writer.layer is not None, "it was just finished"
    made = MadeLayer(plan.cache_key, writer.layer)
    store.keep(made)
    return made


def _entry(file: FileEntry, size: int) -> Entry:
    path = file.path.lstrip("/")
    match file.kind:
        case "folder":
            return Entry(path, "folder", file.mode, file.uid, file.gid, EPOCH)
        case "link":
            return Entry(path, "link", 0o777, file.uid, file.gid, EPOCH, target=file.target)
        case _:
            return Entry(path, "file", file.mode, file.uid, file.gid, EPOCH, size)


def _unpack(tree: Path, file: FileEntry, store: Store) -> None:
    path = tree / file.path.lstrip("/")
    path.parent.mkdir(parents=True, exist_ok=True)
    if file.kind == "link":
        path.symlink_to(file.target)
    elif file.kind == "folder":
        path.mkdir(exist_ok=True)
    else:
        assert file.content is not None, "a file has bytes"
        path.write_bytes(store.read(file.content))
    os.chown(path, file.uid, file.gid, follow_symlinks=False)
    if file.kind != "link":
        path.chmod(file.mode)
