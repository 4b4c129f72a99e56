"""The files that a definition itself brings → a layer, and a tree for configuring above it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from builder.errors import MakeError
from builder.formats import places
from builder.formats.tar import Entry, layer_writer
from builder.make.epoch import EPOCH
from builder.model.plan import FileEntry, FilesLayerPlan, MadeLayer
from builder.tools.store import Store


def make(plan: FilesLayerPlan, store: Store) -> MadeLayer:
    """Make the layer; its tree ``files-KEY`` is then in the store too.

    The store must know what the state that it lies on turned out to be, if it names one.

    Raises:
        MakeError: two of its paths are the same place.
    """
    files = _placed(plan.files, _folders(plan, store))
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


def _folders(plan: FilesLayerPlan, store: Store) -> dict[str, FileEntry]:
    if plan.state is None:
        return {}
    state = store.made(plan.state.cache_key)
    if state is None or state.status is None:
        raise MakeError(f"the state of {plan.state.definition} has not been made")
    return {folder.path: folder for folder in state.folders}


def _placed(files: Iterable[FileEntry], below: Mapping[str, FileEntry]) -> tuple[FileEntry, ...]:
    """Sorted by the paths that layers have, with the folders that they lie in as these are below.

    Engines make folders of their own of those that no entry names, and these hide the mode and owner of the ones below;
    docker's overlay has let everyone write to them.
    """
    found: dict[str, FileEntry] = {}
    for file in files:
        path = places.placed(file.path)
        if path in found:
            raise MakeError(f"{found[path].path} and {file.path} are the same place", "name it once")
        found[path] = file
    for path in list(found):
        for folder in places.above(path):
            parent = found.setdefault(folder, below.get(folder, FileEntry(folder, "folder", 0, 0, 0o755)))
            if parent.kind != "folder":
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
