"""Which files of which layers differ between two images: layers are read as they come, and only facts are kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from builder import contents
from builder.contents import LayerContents
from builder.formats import entries
from builder.formats.tar import Entry
from builder.model.digest import Digest
from builder.model.image import Image, Layer

_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class FileDifference:
    """A path that is not the same in both layers.

    Attributes:
        old, new: what differs of it, by the name of the fact: ``type``, ``mode``, ``owner``, ``time``, ``size``,
            ``content`` (a sha256), ``xattrs``, ``target``; all of them on one side alone if the other has no such path.
    """

    path: str
    old: dict[str, str]
    new: dict[str, str]


@dataclass(frozen=True, slots=True)
class LayerDifference:
    """Two layers that mean the same and are not; one of them is None if the other image has no such layer.

    Attributes:
        form: what differs where all files are the same; empty otherwise.
    """

    old: LayerContents | None
    new: LayerContents | None
    files: tuple[FileDifference, ...]
    form: str = ""

    def data(self) -> dict[str, Any]:
        """For machines."""
        one = self.new or self.old
        assert one
        return {
            "old": self.old.digest if self.old else None,
            "new": self.new.digest if self.new else None,
            "kind": one.kind,
            "definition": one.definition,
            "comment": one.comment,
            "form": self.form,
            "files": [{"path": file.path, "old": file.old, "new": file.new} for file in self.files],
        }


def of(old: Image, new: Image) -> Iterator[LayerDifference]:
    """The layers that differ, bottom first, those that are gone at the end; each is read when it is its turn.

    Raises:
        ImageError: a layer is missing or damaged.
    """
    before = {layer.diff_id: layer for layer in old.layers}
    after = {layer.diff_id: layer for layer in new.layers}
    olds, news = contents.layers(old), contents.layers(new)
    for first in olds:
        one, other = before[first.diff_id], after.get(first.diff_id)
        # An engine keeps plain tars: that is another place, not another layer.
        if other and one.digest != other.digest and one.media_type == other.media_type:
            second = next(layer for layer in news if layer.diff_id == first.diff_id)
            yield LayerDifference(first, second, (), "the tars are the same, compressed to other bytes")
    for was, now in pairs(olds, news):
        old_facts = facts(old, before[was.diff_id]) if was else {}
        new_facts = facts(new, after[now.diff_id]) if now else {}
        found = compared(old_facts, new_facts)
        form = ""
        if was and now and not found:
            same_order = list(old_facts) == list(new_facts)
            form = (
                f"all entries are the same, {'how their headers are written' if same_order else 'their order'} is not"
            )
        yield LayerDifference(was, now, found, form)


def of_states(old: Image, new: Image) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The definitions whose state is another, each with the paths that differ in it.

    A folder is named if nothing in it is: it comes along with what is new in it.

    Raises:
        ImageError: a layer is missing or damaged.
    """
    before = {layer.diff_id: layer for layer in old.layers}
    after = {layer.diff_id: layer for layer in new.layers}
    for was, now in pairs(contents.layers(old), contents.layers(new)):
        if was and now and now.kind == "state":
            found = compared(facts(old, before[was.diff_id]), facts(new, after[now.diff_id]))
            paths = [f"/{one.path}" for one in found]
            above = {path[:end] for path in paths for end in range(len(path)) if path[end] == "/"}
            yield now.definition, tuple(path for path in paths if path not in above)


def pairs(
    old: Sequence[LayerContents], new: Sequence[LayerContents]
) -> tuple[tuple[LayerContents | None, LayerContents | None], ...]:
    """Layers whose tars are in one image alone, each with the one of the other image that stands for the same."""
    known, wanted = {layer.diff_id for layer in old}, {layer.diff_id for layer in new}
    left = [layer for layer in old if layer.diff_id not in wanted]
    found: list[tuple[LayerContents | None, LayerContents | None]] = []
    for layer in new:
        if layer.diff_id in known:
            continue
        near = max(left, key=lambda other: _nearness(other, layer), default=None)
        if near is not None and any(_nearness(near, layer)):
            left.remove(near)
            found.append((near, layer))
        else:
            found.append((None, layer))
    return (*found, *((layer, None) for layer in left))


def _nearness(old: LayerContents, new: LayerContents) -> tuple[int, ...]:
    """How much two layers stand for the same; all zero if they do not."""
    if (old.kind, old.definition) != (new.kind, new.definition):
        return (0, 0)
    common = {name for name, _ in old.packages} & {name for name, _ in new.packages}
    alike = int(old.comment == new.comment) if old.comment else 0
    one_of_a_kind = int(bool(old.kind) and not old.packages and not new.packages)
    return (len(common), alike or one_of_a_kind)


def facts(image: Image, layer: Layer) -> dict[str, dict[str, str]]:
    """What a layer says of each of its paths, in its order.

    Raises:
        ImageError: it is missing or damaged.
    """
    return {entry.path: _facts(entry, data) for entry, data in entries.of(image.blobs, layer)}


def compared(old: dict[str, dict[str, str]], new: dict[str, dict[str, str]]) -> tuple[FileDifference, ...]:
    """The paths whose facts differ, sorted."""
    found = []
    for path in sorted(old.keys() | new.keys()):
        was, now = old.get(path, {}), new.get(path, {})
        if was != now:
            both = bool(was and now)
            names = {name for name in was.keys() | now.keys() if not both or was.get(name) != now.get(name)}
            found.append(
                FileDifference(
                    path,
                    {name: value for name, value in was.items() if name in names},
                    {name: value for name, value in now.items() if name in names},
                )
            )
    return tuple(found)


def _facts(entry: Entry, data: BinaryIO | None) -> dict[str, str]:
    found = {
        "type": entry.type,
        "mode": f"{entry.mode:04o}",
        "owner": f"{entry.uid}:{entry.gid}",
        "time": str(entry.mtime),
    }
    if entry.type == "file":
        found |= {"size": str(entry.size), "content": _content(data)}
    if entry.target:
        found["target"] = entry.target
    if entry.xattrs:
        found["xattrs"] = " ".join(f"{name}={value.hex()}" for name, value in entry.xattrs)
    return found


def _content(data: BinaryIO | None) -> str:
    return (Digest.of(b"") if data is None else Digest.of_stream(data)).hex


def diffoscope(old: Image, new: Image, difference: LayerDifference) -> tuple[str, ...]:
    """The command that shows more of two layers; empty if they are not both files on disk."""
    if difference.old is None or difference.new is None:
        return ()
    places = (_place(old, difference.old.digest), _place(new, difference.new.digest))
    return ("diffoscope", *places) if all(places) else ()


def _place(image: Image, digest: Digest) -> str:
    try:
        with image.blobs.open(digest) as file:
            name = getattr(file, "name", "")
    except (KeyError, OSError):
        return ""
    return name if isinstance(name, str) else ""
