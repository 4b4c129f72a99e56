"""Tars, locks, layouts: the same value gives the same bytes, and what is written reads back."""

from __future__ import annotations

import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from builder import contents, validate
from builder.errors import ImageError, MakeError
from builder.formats import deb, lockfile, oci
from builder.formats.tar import Entry, layer_writer
from builder.model.digest import Digest
from builder.model.image import Image
from builder.model.lock import Grouping, Lock, LockedPackage, LockedSource, LockedUser, LockFile, Revision
from builder.tools.store import Store
from builder.transports import archive, oci_layout
from dsl.errors import DefinitionError
from tests.kit.images import random_image


def package(name: str, source: str = "", version: str = "1") -> LockedPackage:
    """A package that no mirror has."""
    return LockedPackage(
        name, version, "amd64", source or name, version, "s", "suite", f"pool/{name}.deb", 1000, "0" * 64, "asked for"
    )


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_a_layer_is_a_function_of_its_entries(tmp_path: Path, compression: str) -> None:
    layers = []
    for name in ("one", "two"):
        with layer_writer(Store(tmp_path / name), compression) as writer:
            writer.add(Entry("etc", "folder", 0o755))
            writer.add(Entry("etc/" + "ü" * 200, "file", 0o644, 5, 6, 7, 3, xattrs=(("user.x", b"\x00\xff"),)), b"abc")
            writer.add(Entry("etc/\U0001f600", "link", 0o777, target="y"))
        layers.append(writer.layer)
    assert layers[0] == layers[1]


def write_unsorted(store: Store) -> None:
    """What a layer must not be."""
    with layer_writer(store, "gzip") as writer:
        writer.add(Entry("b", "folder", 0o755))
        writer.add(Entry("a", "folder", 0o755))


def test_entries_come_sorted(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="comes after"):
        write_unsorted(Store(tmp_path))
    assert not list((tmp_path / "tmp").iterdir())


def test_headers_name_nobody(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with layer_writer(store, "gzip") as writer:
        writer.add(Entry("f", "file", 0o4755, 1, 2, 3, 1), b"x")
    assert writer.layer
    with tarfile.open(fileobj=io.BytesIO(store.read(writer.layer.digest))) as tar:
        (info,) = tar.getmembers()
    assert (info.uname, info.gname, info.uid, info.gid, info.mode, info.mtime) == ("", "", 1, 2, 0o4755, 3)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("./bin/ls", "usr/bin/ls"),
        ("./lib64/x", "usr/lib64/x"),
        ("./usr/bin/", "usr/bin"),
        ("./bin", "bin"),
        ("./", "."),
    ],
)
def test_paths_are_merged(path: str, expected: str) -> None:
    assert (deb.canonical(path) or ".") == expected


@pytest.mark.parametrize("path", ["../x", "./a/../../x", "a\nb", "a\0b"])
def test_paths_that_lead_out_are_refused(path: str) -> None:
    with pytest.raises(MakeError, match="no path"):
        deb.canonical(path)


def test_relations_give_names() -> None:
    text = "libc6 (>= 2.36),\n python3:any (>= 3.5~) | python3-minimal [amd64], a+b.c-1 <!nocheck>,, x"
    assert deb.relation_names(text) == ("libc6", "python3", "python3-minimal", "a+b.c-1", "x")
    assert deb.relation_names("") == ()


def lock_file() -> LockFile:
    """A lock with everything in it."""
    lock = Lock(
        "web", "amd64", 1, "f", Digest.of(b"below"), (LockedSource("s", "suite", "2026-01-01T00:00:00Z", ""),),
        (package("a"), package("b")), (LockedUser("web", 1, 2, "/", "/bin/false", "it's"),), (), Grouping(2, ("a",)),
    )  # fmt: skip
    from builder.model.digest import CacheKey

    return LockFile((lock,), (Revision("web", "1.0", 3, CacheKey.of("x", 1)),))


def test_a_lock_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "lock.yaml"
    path.write_text(lockfile.text(lock_file()))
    assert lockfile.read(path) == lock_file()


def test_a_new_package_is_one_new_line() -> None:
    old = lock_file()
    new = LockFile((replace(old.locks[0], packages=(*old.locks[0].packages, package("c"))),), old.revisions)
    before, after = lockfile.text(old).splitlines(), lockfile.text(new).splitlines()
    assert len(set(after) - set(before)) == 1
    assert set(before) <= set(after)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("lock: 1", "lock: 2"),
        ("definitions:", "<<<<<<< HEAD\ndefinitions:"),
        ("definitions:", "definitionz:"),
        ('"amd64"', "[]"),
        ("1000", '"1000"'),
        ("sha256:", "md5:"),
        ("lock: 1", "lock: ["),
    ],
)
def test_a_damaged_lock_is_told(tmp_path: Path, old: str, new: str) -> None:
    path = tmp_path / "lock.yaml"
    path.write_text(lockfile.text(lock_file()).replace(old, new))
    with pytest.raises(DefinitionError):
        lockfile.read(path)


@pytest.mark.parametrize("seed", range(3))
def test_a_layout_reads_back(tmp_path: Path, seed: int) -> None:
    image = random_image(Store(tmp_path / "store"), layers=3, seed=seed)
    folder = tmp_path / "out"
    oci_layout.write(image, folder, "web:1.0-r1")
    oci_layout.write(random_image(Store(tmp_path / "store"), layers=2, seed=99), folder, "other:1.0-r1")
    again = oci_layout.read(folder, "web")
    assert again == image
    assert validate.image(again) == ()
    assert oci_layout.references(folder)["web:1.0-r1"] == image.digest
    with pytest.raises(ImageError):
        oci_layout.read(folder, "nothing")


def test_an_archive_reads_back(tmp_path: Path) -> None:
    image = random_image(Store(tmp_path / "store"), layers=3, seed=1)
    archive.write(image, tmp_path / "image.tar", "web:1.0-r1")
    assert archive.read(tmp_path / "image.tar", Store(tmp_path / "other")) == image


def test_a_changed_byte_is_found(tmp_path: Path) -> None:
    image = random_image(Store(tmp_path / "store"), layers=3, seed=1)
    oci_layout.write(image, tmp_path / "out", "web:1")
    path = oci_layout.LayoutBlobs(tmp_path / "out").path(image.layers[1].digest)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.unlink()
    path.write_bytes(data)
    (fault,) = validate.image(oci_layout.read(tmp_path / "out", "web"))
    assert fault.where == image.layers[1].digest


def test_wrong_documents_are_found(tmp_path: Path) -> None:
    image = random_image(Store(tmp_path), layers=2, seed=1)
    config = json.loads(image.config)
    config["history"] = []
    wrong = Image(image.manifest, oci.dump(config), image.layers, image.blobs)
    assert {fault.where for fault in validate.image(wrong)} == {"config"}
    assert len(validate.image(wrong)) == 2


def test_images_are_compared(tmp_path: Path) -> None:
    store = Store(tmp_path)
    old, new = random_image(store, layers=3, seed=1), random_image(store, layers=4, seed=1)
    found = contents.difference(old, new)
    assert len(found.layers_new) == 1
    assert found.layers_gone == ()
    assert found.bytes_new == found.layers_new[0].size


def test_a_layout_is_mended(tmp_path: Path) -> None:
    image = random_image(Store(tmp_path / "store"), layers=2, seed=1)
    folder = tmp_path / "out"
    oci_layout.write(image, folder, "web:1")
    blobs = oci_layout.LayoutBlobs(folder)
    blobs.path(image.config_digest).unlink()
    blobs.path(image.layers[0].digest).unlink()
    blobs.path(image.layers[0].digest).write_bytes(b"x")
    oci_layout.write(image, folder, "web:1")
    assert validate.image(oci_layout.read(folder)) == ()


def test_a_cut_off_archive_is_told(tmp_path: Path) -> None:
    image = random_image(Store(tmp_path / "store"), layers=3, seed=1)
    path = tmp_path / "image.tar"
    archive.write(image, path, "web:1")
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(ImageError, match="no OCI archive"):
        archive.read(path, Store(tmp_path / "other"))
