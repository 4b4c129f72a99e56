"""Every path of a root file system as values: of an image, its layers merged as engines do it; of a tar."""

from __future__ import annotations

import hashlib
import posixpath
import tarfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from builder.errors import ImageError
from builder.formats import entries, untar
from builder.formats.tar import Entry
from builder.model.digest import Digest
from builder.model.image import Image

_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"
_PIECE = 1 << 20
_CAPABILITY = "security.capability"

Wanted = Callable[[str], bool]
"""Says of a path whether its bytes are kept."""


@dataclass(frozen=True, slots=True)
class Item:
    """One path.

    Attributes:
        entry: as a tar has it; of a further name of a file what the first one says.
        content: of a file, its sha256.
        file: which file it is: names that are hard links of each other have the same.
        data: its bytes, if they are wanted.
        implied: it has no entry of its own: a folder that something lies in.
        mtime: when it was last changed, in seconds since 1970. Its entry has none: trees are compared without.
    """

    entry: Entry
    content: str = ""
    file: tuple[int, str] = (0, "")
    data: bytes | None = None
    implied: bool = False
    mtime: int = field(default=0, compare=False)


Tree = dict[str, Item]
Scans = dict[Digest, tuple[Item, ...]]
"""Layers that were read before: what several images share is read once."""


def of_image(image: Image, wanted: Wanted, scans: Scans) -> Tree:
    """The root that engines make of an image (image-spec, layer.md#applying-changesets).

    Raises:
        ImageError: a layer is missing or damaged.
    """
    tree: Tree = {}
    for number, layer in enumerate(image.layers):
        if layer.digest not in scans:
            scans[layer.digest] = tuple(_items(entries.of(image.blobs, layer), wanted))
        _apply(tree, scans[layer.digest], number)
    return tree


def merged(image: Image, tree: Tree) -> Iterator[tuple[Entry, BinaryIO | None]]:
    """The entries of one tar of an image's root and, of files, their bytes, to be read before the next entry.

    Folders come first, then what each layer brings, each hard link right after its file.

    Args:
        tree: what `of_image` says of the image.

    Raises:
        ImageError: a layer is missing or damaged, or this is no root that can be unpacked by itself: it has a device, or a
            path below what is no folder, which might lead out of it.
    """
    names: dict[tuple[int, str], list[str]] = defaultdict(list)
    for path, item in sorted(tree.items()):
        if item.entry.type == "device":
            raise ImageError(f"/{path} is a device, which platforms bring and images do not")
        if (parent := posixpath.dirname(path)) and tree[parent].entry.type != "folder":
            raise ImageError(f"/{path} lies in /{parent}, which is no folder")
        if item.entry.type == "folder":
            yield replace(item.entry, mtime=item.mtime), None
        else:
            names[item.file].append(path)
    for number, layer in enumerate(image.layers):
        for entry, data in entries.of(image.blobs, layer):
            if entry.type in ("folder", "hardlink"):
                continue
            first, *more = names.pop((number, entry.path), [""])
            if first:
                yield replace(entry, path=first), data
            for other in more:
                yield replace(entry, path=other, type="hardlink", target=first, size=0), None


def of_tar(file: Path, wanted: Wanted) -> Tree:
    """The root that a tar holds.

    Raises:
        ImageError: it is damaged.
    """
    tree: Tree = {}
    with file.open("rb") as opened:
        try:
            _apply(tree, tuple(_items(entries.of_tar(untar.Forward(opened)), wanted)), 0)
        except tarfile.TarError as error:
            raise ImageError(f"{file}: the tar is damaged: {error}") from None
    return tree


def contents(image: Image, paths: Iterable[str], limit: int) -> dict[str, bytes]:
    """The bytes of some files of an image, each up to a limit."""
    tree: dict[str, bytes] = {}
    for layer in image.layers:
        tree |= _contents(entries.of(image.blobs, layer), frozenset(paths), limit)
    return tree


def contents_of_tar(file: Path, paths: Iterable[str], limit: int) -> dict[str, bytes]:
    """The same of a tar."""
    with file.open("rb") as opened:
        return _contents(entries.of_tar(untar.Forward(opened)), frozenset(paths), limit)


def _contents(found: Iterator[tuple[Entry, BinaryIO | None]], paths: frozenset[str], limit: int) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    wanted_links: dict[str, str] = {}
    for entry, data in found:
        if data is not None and entry.path in paths:
            files[entry.path] = data.read(limit)
        elif entry.type == "hardlink" and entry.path in paths:
            wanted_links[entry.path] = entry.target
    return files | {path: files[target] for path, target in wanted_links.items() if target in files}


def _items(found: Iterator[tuple[Entry, BinaryIO | None]], wanted: Wanted) -> Iterator[Item]:
    first: dict[str, Item] = {}
    for entry, data in found:
        if not entry.path:
            continue
        if entry.type == "hardlink":
            item = first.get(entry.target)
            if item is None:
                raise ImageError(f"/{entry.path} is a hard link to /{entry.target}, which is not there")
            item = replace(item, entry=replace(item.entry, path=entry.path))
        elif data is not None:
            item = _read(entry, data, wanted(entry.path))
        else:
            item = Item(_plain(entry), file=(0, entry.path), mtime=entry.mtime)
        first[entry.path] = item
        yield item


def _read(entry: Entry, data: BinaryIO, keep: bool) -> Item:
    digest, kept = hashlib.sha256(), b""
    while piece := data.read(_PIECE):
        digest.update(piece)
        if keep:
            kept += piece
    return Item(_plain(entry), digest.hexdigest(), (0, entry.path), kept if keep else None, mtime=entry.mtime)


def _plain(entry: Entry) -> Entry:
    # Of a namespace's own kind of capability the namespace is no matter here.
    found = tuple((name, plain_capability(value) if name == _CAPABILITY else value) for name, value in entry.xattrs)
    return replace(entry, xattrs=found, mtime=0)


def plain_capability(value: bytes) -> bytes:
    """A file capability in the form without a namespace (capabilities(7), "File capability extended attribute versioning")."""
    magic = int.from_bytes(value[:4], "little")
    if magic >> 24 == 3:
        return ((2 << 24) | (magic & 0xFFFFFF)).to_bytes(4, "little") + value[4:20]
    return value


def _apply(tree: Tree, items: Iterable[Item], number: int) -> None:
    """Lay a layer over a tree."""
    found = tuple(items)
    for item in found:
        folder, name = posixpath.split(item.entry.path)
        if name == _OPAQUE:
            _remove(tree, folder, itself=False)
        elif name.startswith(_WHITEOUT):
            _remove(tree, posixpath.join(folder, name.removeprefix(_WHITEOUT)), itself=True)
    for item in found:
        path = item.entry.path
        if posixpath.basename(path).startswith(_WHITEOUT):
            continue
        _make_way(tree, path, item)
        tree[path] = replace(item, file=(number, item.file[1]))


def _make_way(tree: Tree, path: str, item: Item) -> None:
    parent = posixpath.dirname(path)
    while parent and parent not in tree:
        tree[parent] = Item(Entry(parent, "folder", 0o755), file=(-1, parent), implied=True)
        parent = posixpath.dirname(parent)
    old = tree.get(path)
    if old is not None and old.entry.type == "folder" != item.entry.type:
        _remove(tree, path, itself=True)


def _remove(tree: Tree, path: str, *, itself: bool) -> None:
    if itself:
        tree.pop(path, None)
    below = f"{path}/" if path else ""
    for inner in [other for other in tree if other.startswith(below)]:
        del tree[inner]
