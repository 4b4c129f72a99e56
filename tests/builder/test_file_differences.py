"""Which files of which layer differ."""

from __future__ import annotations

import io
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from builder import file_differences
from builder.cli import differences
from builder.errors import ImageError
from builder.file_differences import LayerDifference
from builder.formats.tar import Entry
from builder.model.digest import Digest
from builder.model.image import Image, Layer
from builder.tools.store import Store
from tests.kit.images import make_image, make_layer

FILE = Entry("etc/x", "file", 0o644, size=3)


def annotated(layer: Layer, kind: str, definition: str = "web", packages: str = "") -> Layer:
    """With what a layer of ours says."""
    told = {"kind": kind, "definition": definition, **({"packages": packages} if packages else {})}
    return replace(layer, annotations=tuple((f"org.imgbuild.{name}", value) for name, value in sorted(told.items())))


def image(store: Store, *entries: tuple[Entry, bytes | None], kind: str = "files") -> Image:
    """An image of one layer."""
    return make_image(store, [annotated(make_layer(store, entries), kind)])


def difference(store: Store, old: Entry, new: Entry, old_data: bytes = b"abc", new_data: bytes = b"abc") -> list[Any]:
    """Of two images of one entry."""
    (found,) = file_differences.of(
        image(store, (old, old_data if old.type == "file" else None)),
        image(store, (new, new_data if new.type == "file" else None)),
    )
    return [(file.path, file.old, file.new) for file in found.files]


@pytest.mark.parametrize(
    ("changed", "fact", "old", "new"),
    [
        ({"mode": 0o4755}, "mode", "0644", "4755"),
        ({"uid": 5, "gid": 6}, "owner", "0:0", "5:6"),
        ({"mtime": 7}, "time", "0", "7"),
        ({"xattrs": (("security.capability", b"\x01\xff"),)}, "xattrs", None, "security.capability=01ff"),
    ],
)
def test_each_fact_is_told(tmp_path: Path, changed: Any, fact: str, old: str | None, new: str) -> None:
    found = difference(Store(tmp_path), FILE, replace(FILE, **changed))
    assert found == [("etc/x", {fact: old} if old else {}, {fact: new})]


def test_content_target_and_type(tmp_path: Path) -> None:
    store = Store(tmp_path)
    ((_, old, new),) = difference(store, FILE, FILE, new_data=b"abd")
    assert (old, new) == ({"content": Digest.of(b"abc").hex}, {"content": Digest.of(b"abd").hex})
    link = Entry("l", "link", 0o777, target="a")
    assert difference(store, link, replace(link, target="b")) == [("l", {"target": "a"}, {"target": "b"})]
    ((_, old, new),) = difference(store, FILE, Entry("etc/x", "folder", 0o644))
    assert (old["type"], new) == ("file", {"type": "folder"})


def test_files_of_one_side_alone(tmp_path: Path) -> None:
    store = Store(tmp_path)
    more = Entry("etc/y", "file", 0o644)
    (found,) = file_differences.of(image(store, (FILE, b"abc")), image(store, (FILE, b"abc"), (more, b"")))
    (file,) = found.files
    assert (file.path, file.old, file.new["type"]) == ("etc/y", {}, "file")
    assert differences.line(file) == "+ etc/y (file)"


def test_what_images_share_is_not_read(tmp_path: Path) -> None:
    store = Store(tmp_path)
    shared = annotated(make_layer(store, [(FILE, b"abc")]), "package", packages="x=1")
    others = [annotated(make_layer(store, [(replace(FILE, mtime=n), b"abc")]), "files") for n in (1, 2)]
    old, new = (make_image(store, [shared, other]) for other in others)
    store.path(shared.digest).unlink()
    (found,) = file_differences.of(old, new)
    assert [file.new for file in found.files] == [{"time": "2"}]
    assert list(file_differences.of(old, old)) == []


def test_layers_are_paired_by_what_they_stand_for(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def layer(number: int, *told: str) -> Layer:
        return annotated(make_layer(store, [(replace(FILE, mtime=number), b"abc")]), *told)

    old = [
        layer(1, "package", "base", "a=1 b=1"),
        layer(2, "package", "base", "c=1"),
        layer(3, "state", "base"),
        layer(4, "files", "web"),
    ]
    new = [
        layer(5, "package", "base", "c=2"),
        layer(6, "package", "base", "a=1 b=2"),
        layer(7, "state", "base"),
        layer(8, "records", "web"),
    ]
    found = list(file_differences.of(make_image(store, old), make_image(store, new)))
    numbers = {layer.digest: number for number, layer in enumerate([*old, *new], start=1)}
    seen = [tuple(numbers[side.digest] if side else None for side in (one.old, one.new)) for one in found]
    assert seen == [(2, 5), (1, 6), (3, 7), (None, 8), (4, None)]


def test_the_same_files_in_another_form(tmp_path: Path) -> None:
    store = Store(tmp_path)
    usual = make_layer(store, [(FILE, b"abc")])
    entries = [("b", b"1"), ("a", b"2")]
    forms = [_tar(store, entries), _tar(store, entries[::-1]), _tar(store, entries, tarfile.GNU_FORMAT)]

    def form(old: Layer, new: Layer) -> str:
        (found,) = file_differences.of(*(make_image(store, [annotated(one, "files")]) for one in (old, new)))
        assert found.files == ()
        return found.form

    assert form(forms[0], forms[1]) == "all entries are the same, their order is not"
    assert form(forms[0], forms[2]) == "all entries are the same, how their headers are written is not"
    other = replace(usual, digest=Digest.of(b"other"))
    assert form(usual, other) == "the tars are the same, compressed to other bytes"


def _tar(store: Store, files: list[tuple[str, bytes]], form: int = tarfile.PAX_FORMAT) -> Layer:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as archive:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    digest = store.add(file.getvalue())
    return Layer(digest, digest, len(file.getvalue()), "application/vnd.oci.image.layer.v1.tar")


def test_diffoscope_is_offered_for_files_on_disk(tmp_path: Path) -> None:
    store = Store(tmp_path)
    old, new = image(store, (FILE, b"abc")), image(store, (FILE, b"abd"))
    (found,) = file_differences.of(old, new)
    command = file_differences.diffoscope(old, new, found)
    assert command == ("diffoscope", *(str(store.path(one.layers[0].digest)) for one in (old, new)))
    assert file_differences.diffoscope(old, new, LayerDifference(None, found.new, ())) == ()


def test_a_damaged_layer_is_an_error(tmp_path: Path) -> None:
    store = Store(tmp_path)
    old, new = image(store, (FILE, b"abc")), image(store, (FILE, b"abd"))
    store.path(new.layers[0].digest).write_bytes(b"\x1f\x8bnothing")
    with pytest.raises(ImageError, match="is damaged"):
        list(file_differences.of(old, new))
