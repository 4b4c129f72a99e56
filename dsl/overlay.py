"""A document and a site's changes → the changed document, each value keeping its place."""

from __future__ import annotations

from typing import Any

from dsl.document import Document, Path_
from dsl.errors import DefinitionError, Place, Problem


def apply(base: Document, overlay: Document, at: Path_) -> Document:
    """Change a document.

    A mapping changes the keys it names, ``null`` takes a key away, ``{add: […], remove: […]}`` changes a list,
    anything else takes the place of what was there.

    Args:
        at: where the changes stand in the overlay's document.

    Raises:
        DefinitionError: a change takes away what is not there.
    """
    places, keys = dict(base.places), dict(base.keys)
    problems: list[Problem] = []

    def forget(path: Path_) -> None:
        for known in (places, keys):
            for old in [p for p in known if p[: len(path)] == path]:
                del known[old]

    def take(source: Path_, path: Path_) -> None:
        for mine, theirs in ((places, overlay.places), (keys, overlay.keys)):
            mine |= {(*path, *p[len(source) :]): place for p, place in theirs.items() if p[: len(source)] == source}

    def fail(path: Path_, message: str) -> None:
        problems.append(overlay.problem(overlay.key_place(path), "overlay", message))

    def change(old: Any, new: Any, path: Path_, source: Path_) -> Any:
        if isinstance(old, tuple) and isinstance(new, dict) and new and new.keys() <= {"add", "remove"}:
            return _change_list(old, new, path, source)
        if not (isinstance(old, dict) and isinstance(new, dict)):
            forget(path)
            take(source, path)
            return new
        result = dict(old)
        for key, value in new.items():
            if value is not None:
                result[key] = change(old.get(key), value, (*path, key), (*source, key))
                keys[(*path, key)] = overlay.keys[(*source, key)]
            elif key in old:
                del result[key]
                forget((*path, key))
            else:
                fail((*source, key), f"{key!r} cannot be taken away: it is not there")
        return result

    def _change_list(old: tuple[Any, ...], new: dict[str, Any], path: Path_, source: Path_) -> tuple[Any, ...]:
        for key, value in new.items():
            if not isinstance(value, tuple):
                fail((*source, key), f"{key!r} wants a list")
                return old
        kept: list[tuple[Any, Place]] = [(item, base.place((*path, i))) for i, item in enumerate(old)]
        for index, item in enumerate(new.get("remove") or ()):
            matching = [entry for entry in kept if _same(entry[0], item)]
            if not matching:
                fail((*source, "remove", index), f"{item!r} cannot be taken away: it is not there")
            kept = [entry for entry in kept if entry not in matching]
        for index, item in enumerate(new.get("add") or ()):
            kept = [entry for entry in kept if not _same(entry[0], item)]
            kept.append((item, overlay.place((*source, "add", index))))
        forget(path)
        places[path] = overlay.place(source)
        places.update({(*path, i): place for i, (_, place) in enumerate(kept)})
        return tuple(item for item, _ in kept)

    changes = overlay.data
    for part in at:
        changes = changes[part]
    data = change(base.data, changes, (), at)
    if problems:
        raise DefinitionError(tuple(problems))
    return Document(base.file, data, places, keys, base.lines, {**base.others, overlay.file: overlay.lines})


def _same(old: Any, new: Any) -> bool:
    # A wish with another constraint is the same package.
    if isinstance(old, str) and isinstance(new, str):
        return old.split(" ", 1)[0] == new.split(" ", 1)[0]
    return bool(old == new)
