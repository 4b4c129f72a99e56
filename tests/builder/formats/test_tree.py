"""Layers merged as engines merge them."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.errors import ImageError
from builder.formats import tree
from builder.formats.tar import Entry
from builder.tools.store import Store
from tests.kit.images import make_image, make_layer


def file(path: str, data: bytes = b"x", mode: int = 0o644) -> tuple[Entry, bytes | None]:
    """A file of a layer."""
    return Entry(path, "file", mode, size=len(data)), data


def folder(path: str, mode: int = 0o755) -> tuple[Entry, bytes | None]:
    """A folder of a layer."""
    return Entry(path, "folder", mode), None


def merged(store: Path, *layers: list[tuple[Entry, bytes | None]]) -> tree.Tree:
    """The tree of an image of these layers, with all bytes kept."""
    made = Store(store)
    return tree.of_image(make_image(made, [make_layer(made, layer) for layer in layers]), lambda _: True, {})


def test_what_lies_above_wins(tmp_path: Path) -> None:
    found = merged(tmp_path, [folder("a", 0o700), file("a/x", b"1")], [folder("a", 0o711), file("a/x", b"22", 0o600)])
    assert {path: (item.entry.mode, item.data) for path, item in found.items()} == {
        "a": (0o711, None),
        "a/x": (0o600, b"22"),
    }


def test_deletions(tmp_path: Path) -> None:
    below = [folder("a"), file("a/x"), file("a/y"), folder("b"), file("b/z"), folder("c"), file("c/old")]
    above = [
        folder("a"),
        file("a/.wh.x", b""),
        file(".wh.b", b""),
        folder("c"),
        file("c/.wh..wh..opq", b""),
        file("c/new"),
    ]
    found = merged(tmp_path, below, sorted(above, key=lambda pair: pair[0].path))
    assert sorted(found) == ["a", "a/y", "c", "c/new"]


def test_a_file_in_the_place_of_a_folder_hides_what_was_in_it(tmp_path: Path) -> None:
    assert sorted(merged(tmp_path, [folder("a"), file("a/x")], [file("a")])) == ["a"]


def test_a_folder_without_an_entry_is_what_engines_make(tmp_path: Path) -> None:
    found = merged(tmp_path, [file("etc/x/y")])
    assert [(path, item.entry.mode, item.implied) for path, item in sorted(found.items())] == [
        ("etc", 0o755, True),
        ("etc/x", 0o755, True),
        ("etc/x/y", 0o644, False),
    ]


def test_hard_links_are_one_file_until_a_layer_brings_another(tmp_path: Path) -> None:
    links = [file("a"), (Entry("b", "hardlink", 0o644, target="a"), None)]
    found = merged(tmp_path / "one", links)
    assert found["a"].file == found["b"].file
    assert found["b"].content == found["a"].content
    found = merged(tmp_path / "two", links, [file("b")])
    assert found["a"].file != found["b"].file
    with pytest.raises(ImageError, match="/b is a hard link to /nothing, which is not there"):
        merged(tmp_path / "three", [(Entry("b", "hardlink", 0o644, target="nothing"), None)])


def test_capabilities_are_compared_without_their_namespace() -> None:
    plain = bytes.fromhex("0100000200200000000000000000000000000000")
    assert tree.plain_capability(bytes.fromhex("010000030020000000000000000000000000000000000000")) == plain
    assert tree.plain_capability(plain) == plain


def test_bytes_of_some_files(tmp_path: Path) -> None:
    store = Store(tmp_path)
    layers = [[file("a", b"old"), (Entry("b", "hardlink", 0o644, target="a"), None)], [file("a", b"newer")]]
    image = make_image(store, [make_layer(store, layer) for layer in layers])
    assert tree.contents(image, ["a", "b", "c"], 4) == {"a": b"newe", "b": b"old"}
