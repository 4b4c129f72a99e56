"""A document and a site's changes → the changed document, each value keeping its place."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from dsl.document import Document, Path_
from dsl.errors import DefinitionError, Place, Problem

_WISHED = re.compile(r"[ \[<>=!~;]")


def apply(base: Document, overlay: Document, at: Path_) -> Document:
    """Change a document.

    A mapping changes the keys it names, ``null`` takes a key away, ``{add: […], remove: […]}`` changes a list,
    anything else takes the place of what was there.

    Args:
        at: where the changes stand in the overlay's document.

    Raises:
        DefinitionError: a change takes away what is not there.
    """
    changing = _Changing(base, overlay)
    data = changing.change(base.data, overlay.value(at), (), at)
    if changing.problems:
        raise DefinitionError(tuple(changing.problems))
    others = {**base.others, overlay.file: overlay.lines}
    return Document(base.file, data, changing.places, changing.keys, base.lines, others)


class _Changing:
    """The places of the changed document, and what is wrong with the changes."""

    def __init__(self, base: Document, overlay: Document) -> None:
        self.base, self.overlay = base, overlay
        self.places, self.keys = dict(base.places), dict(base.keys)
        self.problems: list[Problem] = []

    def change(self, old: Any, new: Any, path: Path_, source: Path_) -> Any:
        if isinstance(new, dict) and new and new.keys() <= {"add", "remove"} and isinstance(old, tuple | None):
            return self.change_list(old or (), new, path, source)
        if isinstance(new, dict) and new and old is None:
            old = {}  # so that lists within it may be added to
            self.forget(path)
            self.places[path] = self.overlay.place(source)
        if not (isinstance(old, dict) and isinstance(new, dict)):
            self.forget(path)
            self.take(self.overlay, source, path)
            return new
        result = dict(old)
        for key, value in new.items():
            if value is not None:
                result[key] = self.change(old.get(key), value, (*path, key), (*source, key))
                self.keys[(*path, key)] = self.overlay.keys[(*source, key)]
            elif key in old:
                del result[key]
                self.forget((*path, key))
            else:
                self.fail((*source, key), f"{key!r} cannot be taken away: it is not there")
        return result

    def change_list(self, old: tuple[Any, ...], new: dict[str, Any], path: Path_, source: Path_) -> tuple[Any, ...]:
        for key, value in new.items():
            if not isinstance(value, tuple):
                self.fail((*source, key), f"{key!r} wants a list")
                return old
        wishes = path[-2:] == ("packages", "apt") or (path[-3:-2] == ("environments",) and path[-1] == "wheels")
        kept = [(item, self.base, (*path, index)) for index, item in enumerate(old)]
        for index, item in enumerate(new.get("remove", ())):
            rest = [entry for entry in kept if _name(entry[0], wishes) != _name(item, wishes)]
            if len(rest) == len(kept):
                self.fail((*source, "remove", index), f"{_told(item)} cannot be taken away: it is not there")
            kept = rest
        for index, item in enumerate(new.get("add", ())):
            kept = [entry for entry in kept if _name(entry[0], wishes) != _name(item, wishes)]
            kept.append((item, self.overlay, (*source, "add", index)))
        self.forget(path)
        self.places[path] = self.overlay.place(source)
        for index, (_, document, where) in enumerate(kept):
            self.take(document, where, (*path, index))
        return tuple(item for item, _, _ in kept)

    def forget(self, path: Path_) -> None:
        for known in (self.places, self.keys):
            for old in [p for p in known if p[: len(path)] == path]:
                del known[old]

    def take(self, document: Document, source: Path_, path: Path_) -> None:
        self.places.update(_below(document.places, source, path))
        self.keys.update(_below(document.keys, source, path))

    def fail(self, path: Path_, message: str) -> None:
        self.problems.append(self.overlay.problem(self.overlay.key_place(path), "overlay", message))


def _below(places: Any, source: Path_, path: Path_) -> Iterator[tuple[Path_, Place]]:
    for one, place in places.items():
        if one[: len(source)] == source:
            yield (*path, *one[len(source) :]), place


def _name(item: Any, wishes: bool) -> Any:
    # A wish with another constraint is the same package; a folder with another owner the same folder.
    if isinstance(item, dict):
        return item.get("path", item)
    return _WISHED.split(item, maxsplit=1)[0] if wishes and isinstance(item, str) else item


def _told(item: Any) -> str:
    return "this" if isinstance(item, dict | tuple) else repr(item)
