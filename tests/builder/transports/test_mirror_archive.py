"""Archives for sites without internet: what was cut off or changed is refused, the same input gives the same bytes."""

from __future__ import annotations

import io
import json
import random
import tarfile
from pathlib import Path

import pytest

from builder.errors import ImageError, IntegrityError, UsageError
from builder.model.digest import Digest
from builder.model.image import Image
from builder.registry.uploads import Bytes
from builder.report import Silent
from builder.tools.store import Store
from builder.transports import Named, archive, mirror_archive
from builder.transports.mirror_archive import Building, File, Part, Released
from dsl.errors import ImgbuildError
from tests.kit.images import random_image


def released(image: Image, name: str) -> Released:
    layers = [
        Bytes(layer.digest, layer.size, lambda layer=layer: image.blobs.open(layer.digest), name)  # type: ignore[misc]
        for layer in image.layers
    ]
    named = Named(
        name.partition(":")[0], name, {"org.imgbuild.image": name}, {"org.imgbuild.lock": b"lock of " + name.encode()}
    )
    return mirror_archive.described([Part(named, image.manifest, image.config, tuple(layers))], named.image, ["1"])


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def two(store: Store) -> tuple[Released, ...]:
    """Two images, of which one begins with the layers of the other."""
    return (
        released(random_image(store, layers=5, seed=1), "b:1-r1"),
        released(random_image(store, layers=3, seed=1), "a:1-r1"),
    )


BUILDING = Building(
    tuple(File(path, Bytes(Digest.of(data), len(data), lambda data=data: io.BytesIO(data), path))  # type: ignore[misc]
          for path, data in (("apt/h/Release", b"indexes"), ("git/w.bundle", b"commits" * 50))),
    "2026-01-01T00:00:00Z",
)  # fmt: skip


def test_what_a_site_builds_from_is_an_artifact(tmp_path: Path, store: Store, two: tuple[Released, ...]) -> None:
    """Whose layers have the paths as titles, as oras wants it."""
    path = tmp_path / "archive.tar"
    mirror_archive.write(path, two, {}, Silent(), BUILDING)
    found = mirror_archive.read(path, store, Silent())
    assert found.at == BUILDING.at
    assert {name: found.layout.blobs.open(digest).read() for name, (digest, _) in found.files.items()} == {
        "apt/h/Release": b"indexes", "git/w.bundle": b"commits" * 50,
    }  # fmt: skip
    assert [entry.name for entry in found.layout.entries] == ["a:1-r1", "b:1-r1"]
    with tarfile.open(path) as tar:
        index = json.load(tar.extractfile("index.json"))  # type: ignore[arg-type]
        one = next(one for one in index["manifests"] if one.get("artifactType") == mirror_archive.BUILDING)
        manifest = json.load(tar.extractfile("blobs/sha256/" + one["digest"].removeprefix("sha256:")))  # type: ignore[arg-type]
    titles = [layer["annotations"]["org.opencontainers.image.title"] for layer in manifest["layers"]]
    assert titles == ["apt/h/Release", "git/w.bundle"]


def test_what_is_written_reads_back(tmp_path: Path, store: Store, two: tuple[Released, ...]) -> None:
    path = tmp_path / "archive.tar"
    mirror_archive.write(path, two, {}, Silent())
    found = mirror_archive.read(path, store, Silent())
    assert [entry.name for entry in found.layout.entries] == ["a:1-r1", "b:1-r1"]
    assert (found.without, found.floating) == ({}, {"a:1-r1": ("1",), "b:1-r1": ("1",)})
    assert found.layout.read("a:1-r1").beside("org.imgbuild.lock") == b"lock of a:1-r1"
    with path.open("rb") as file:
        assert archive.of(file, "it", store).names() == ("a:1-r1", "b:1-r1")


def test_the_same_input_gives_the_same_bytes(tmp_path: Path, two: tuple[Released, ...]) -> None:
    for name, images in (("one", two), ("other", two[::-1])):
        mirror_archive.write(tmp_path / name, images, {}, Silent())
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


def test_what_a_site_has_is_left_out(tmp_path: Path, store: Store, two: tuple[Released, ...]) -> None:
    first, second = tmp_path / "first.tar", tmp_path / "second.tar"
    mirror_archive.write(first, two[1:], {}, Silent())
    had = mirror_archive.list_of(first, store)
    assert had is not None
    written = mirror_archive.write(second, two, had, Silent())
    shared = {layer.digest for layer in two[1].layers}
    assert written.without == dict.fromkeys(shared, "a")
    with tarfile.open(second) as tar:
        names = {name.rpartition("/")[2] for name in tar.getnames()}
    assert not names & {digest.hex for digest in shared}
    # Who has taken in the second has what was left out of it, too.
    assert (mirror_archive.list_of(second, store) or {}).keys() >= had.keys()
    assert mirror_archive.read(second, store, Silent()).without.keys() == shared


@pytest.mark.parametrize("seed", range(30))
def test_what_was_cut_off_is_refused(tmp_path: Path, store: Store, two: tuple[Released, ...], seed: int) -> None:
    path = tmp_path / "archive.tar"
    mirror_archive.write(path, two, {}, Silent(), BUILDING)
    size = path.stat().st_size
    # Members end at multiples of 512: there a tar looks whole.
    at = random.Random(seed).randrange(size - 1024)
    with path.open("r+b") as file:
        file.truncate(at - at % 512 if seed % 2 else at)
    with pytest.raises(ImageError) as caught:
        mirror_archive.read(path, store, Silent())
    assert caught.value.hint


@pytest.mark.parametrize("seed", range(40))
def test_what_was_changed_is_refused(tmp_path: Path, store: Store, two: tuple[Released, ...], seed: int) -> None:
    path = tmp_path / "archive.tar"
    mirror_archive.write(path, two, {}, Silent(), BUILDING)
    with tarfile.open(path) as tar:
        spans = [(one.offset_data, one.size) for one in tar if one.name != "oci-layout"]
    chance = random.Random(seed)
    # The index as often as all else: it alone has no digest as a name.
    first, size = spans[0] if seed % 2 else chance.choice(spans[1:])
    at = first + chance.randrange(size)
    with path.open("r+b") as file:
        file.seek(at)
        old = file.read(1)[0]
        file.seek(at)
        file.write(bytes([old ^ (1 << chance.randrange(8))]))
    with pytest.raises(ImgbuildError) as caught:
        mirror_archive.read(path, store, Silent())
    assert isinstance(caught.value, ImageError | IntegrityError | UsageError)


def test_a_damaged_layer_is_not_written(tmp_path: Path, store: Store, two: tuple[Released, ...]) -> None:
    damaged = store.path(two[0].layers[0].digest)
    damaged.write_bytes(b"x" * damaged.stat().st_size)
    with pytest.raises(IntegrityError):
        mirror_archive.write(tmp_path / "archive.tar", two, {}, Silent())
    assert sorted(tmp_path.iterdir()) == [store.root]


def test_another_archive_of_images_is_none(tmp_path: Path, store: Store) -> None:
    archive.write(random_image(store, layers=2, seed=1), tmp_path / "image.tar", "a:1")
    with pytest.raises(UsageError, match="no archive of `imgbuild mirror save`"):
        mirror_archive.read(tmp_path / "image.tar", store, Silent())
    (tmp_path / "text").write_text("sha256:")
    assert mirror_archive.list_of(tmp_path / "text", store) is None
