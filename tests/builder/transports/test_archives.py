"""Archives and folders by hand: docker's and skopeo's own, and broken ones."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from builder import contents, transports, validate
from builder.errors import ImageError, UsageError
from builder.formats import compress, oci
from builder.formats.tar import Entry
from builder.model.digest import Digest
from builder.model.image import Image, StoredImage
from builder.tools.store import Store
from builder.transports import archive, directory, members, oci_layout
from tests.kit.images import make_image, make_layer, random_image


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Where images are made."""
    return Store(tmp_path / "store")


def tar(files: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    """A tar of some files and links."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as made:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            made.addfile(info, io.BytesIO(data))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            made.addfile(info)
    return file.getvalue()


def plain(image: Image, number: int) -> bytes:
    """A layer's tar."""
    layer = image.layers[number]
    with image.blobs.open(layer.digest) as file:
        return compress.decompressed(file, compress.of_media_type(layer.media_type)).read()


def docker_save(image: Image, names: list[str] | None) -> dict[str, bytes]:
    """The files of an image as docker 20.10 saves it."""
    files = {f"layer-{number}/layer.tar": plain(image, number) for number in range(len(image.layers))}
    config = f"{image.config_digest.hex}.json"
    manifest = [{"Config": config, "RepoTags": names, "Layers": list(files)}]
    return {**files, config: image.config, "manifest.json": json.dumps(manifest).encode()}


def read(path: Path, store: Store, name: str = "") -> StoredImage:
    """As `docker-archive:PATH[:NAME]`."""
    return transports.read_stored(f"docker-archive:{path}{name and ':'}{name}", store)


def test_what_docker_saves(store: Store, tmp_path: Path) -> None:
    image = random_image(store, layers=3, seed=1)
    path = tmp_path / "saved.tar"
    path.write_bytes(tar(docker_save(image, ["web:1-r1"])))
    found = read(path, store)
    assert (found.name, found.kept, found.config) == (f"docker-archive:{path}:web:1-r1", False, image.config)
    assert validate.image(found) == ()
    assert [layer.digest for layer in transports.parsed(found).layers] == [layer.diff_id for layer in image.layers]
    assert read(path, store, "web").config == image.config
    with pytest.raises(UsageError) as caught:
        read(path, store, "other")
    assert caught.value.hint == "there are: web:1-r1"


def test_an_image_without_a_name(store: Store, tmp_path: Path) -> None:
    image = random_image(store, layers=1, seed=1)
    path = tmp_path / "saved.tar"
    path.write_bytes(tar(docker_save(image, None)))
    assert read(path, store).name == f"docker-archive:{path}"


def test_a_layer_that_is_a_link(store: Store, tmp_path: Path) -> None:
    """As docker and podman save what is there twice."""
    image = random_image(store, layers=2, seed=1)
    files = docker_save(image, ["web:1"])
    files["same.tar"] = files.pop("layer-0/layer.tar")
    path = tmp_path / "saved.tar"
    path.write_bytes(tar(files, {"layer-0/layer.tar": "../same.tar"}))
    assert validate.image(read(path, store)) == ()


def test_compressed_layers_by_any_name(store: Store, tmp_path: Path) -> None:
    image = random_image(store, layers=2, seed=1, compression="gzip")
    files = docker_save(image, ["web:1"])
    for number, layer in enumerate(image.layers):
        with store.open(layer.digest) as file:
            files[f"layer-{number}/layer.tar"] = file.read()
    path = tmp_path / "saved.tar"
    path.write_bytes(tar(files))
    found = read(path, store)
    assert [layer.digest for layer in transports.parsed(found).layers] == [layer.digest for layer in image.layers]
    assert validate.image(found) == ()


@pytest.mark.parametrize(
    "pack",
    [gzip.compress, zstandard.compress, lzma.compress, bz2.compress],
    ids=["gzip", "zstd", "xz", "bzip2"],
)
def test_compressed_archives(store: Store, tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    image = random_image(store, layers=2, seed=1)
    path = tmp_path / "image.tar"
    archive.write(image, path, "web:1")
    path.write_bytes(pack(path.read_bytes()))
    assert transports.read(f"oci-archive:{path}", store) == image
    assert list((store.root / "tmp").iterdir()) == []
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ImageError, match=f"{path} is "):
        transports.read(f"oci-archive:{path}", store)


def test_a_spoiled_layer_in_an_archive_is_found(store: Store, tmp_path: Path) -> None:
    image = random_image(store, layers=2, seed=1)
    files = docker_save(image, ["web:1"])
    data = bytearray(files["layer-1/layer.tar"])
    data[600] ^= 1
    files["layer-1/layer.tar"] = bytes(data)
    files[f"{image.config_digest.hex}.json"] = image.config.replace(b"amd64", b"arm64")
    path = tmp_path / "saved.tar"
    path.write_bytes(tar(files))
    faults = validate.image(read(path, store))
    assert [fault.where for fault in faults] == ["config", image.layers[1].diff_id]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "is no image archive: it has neither index.json nor manifest.json"),
        ({"manifest.json": b"{"}, "its manifest.json is damaged"),
        ({"manifest.json": b"[]"}, "has no image"),
        ({"manifest.json": b"[1]"}, "its manifest.json is damaged"),
        ({"manifest.json": b'[{"Config":"x","Layers":["a"]}]'}, "the config x of its image is missing"),
        ({"manifest.json": b'[{"Config":"x","Layers":["a"]}]', "x": b"{}"}, "the config of its image is damaged"),
        ({"manifest.json": b'[{"Config":"x","Layers":[1]}]', "x": b"{}"}, "its manifest.json is damaged"),
        ({"manifest.json": b'[{"Config":"x","Layers":["a"]}]', "x": b'{"rootfs":{"diff_ids":[]}}'},
         "has 1 layers, the config of its image 0"),
        ({"index.json": b"[]"}, "its index.json is damaged"),
        ({"index.json": b"[" * 100_000}, "its index.json is damaged"),
        ({"index.json": b'{"manifests":[{"digest":"md5:x"}]}'}, "its index.json is damaged"),
        ({"index.json": b'{"manifests":[{"digest":"sha256:%s"}]}' % (b"0" * 64)}, "its manifest is missing"),
        ({"index.json": b'{"manifests":[{"mediaType":"%s","digest":"sha256:%s"}]}' % (oci.INDEX.encode(), b"0" * 64)},
         "its index.json is damaged: the index sha256:0"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_broken_archives(store: Store, tmp_path: Path, files: dict[str, bytes], message: str) -> None:
    path = tmp_path / "broken.tar"
    path.write_bytes(tar({"more": b"", **files}))
    with pytest.raises(ImageError) as caught:
        transports.read(f"docker-archive:{path}", store)
    assert message in caught.value.message
    assert str(path) in caught.value.message


@pytest.mark.parametrize("size", [0, 1, 100, 511, 512, 700, 3000, 9000])
def test_a_cut_off_archive_is_told(store: Store, tmp_path: Path, size: int) -> None:
    path = tmp_path / "image.tar"
    archive.write(random_image(store, layers=3, seed=1), path, "web:1")
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ImageError, match=f"{path} is no image archive"):
        transports.read(f"oci-archive:{path}", store)


def test_files_that_are_none(store: Store, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello " * 1000)
    with pytest.raises(ImageError, match="no image archive"):
        transports.read(f"docker-archive:{tmp_path}/text", store)
    for text, message in (
        (f"docker-archive:{tmp_path}/nothing", "there is no archive"),
        (f"docker-archive:{tmp_path}", "is a folder"),
        (f"oci:{tmp_path}/text", "is no OCI layout"),
        (f"oci:{tmp_path}/nothing:x", "is no OCI layout"),
        (f"dir:{tmp_path}", "is no image"),
        (f"dir:{tmp_path}/text", "is no image"),
        ("oci:", "wants a path"),
    ):
        with pytest.raises(UsageError, match=message):
            transports.read(text, store)


def test_a_huge_document_is_refused(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builder.transports.blobs.DOCUMENT_LIMIT", 1 << 10)
    path = tmp_path / "image.tar"
    path.write_bytes(tar({"index.json": b" " * 2000}))
    with pytest.raises(ImageError, match="has a document of more than"):
        transports.read(f"oci-archive:{path}", store)


def test_very_many_entries_are_refused(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "_ENTRIES_LIMIT", 10)
    path = tmp_path / "image.tar"
    path.write_bytes(tar({f"file-{number}": b"" for number in range(12)}))
    with pytest.raises(ImageError, match="more than 10 entries"):
        transports.read(f"oci-archive:{path}", store)


def test_paths_with_colons(store: Store, tmp_path: Path) -> None:
    image = random_image(store, layers=1, seed=1)
    oci_layout.write(image, tmp_path / "a:b", "web:1-r1")
    for name in ("", ":web", ":web:1-r1", f":{image.digest}"):
        assert transports.read(f"oci:{tmp_path}/a:b{name}", store) == image


def test_an_index_of_several_machines(store: Store, tmp_path: Path) -> None:
    """As buildx writes it: the image of this machine is taken."""
    image = random_image(store, layers=1, seed=1)
    other = random_image(store, layers=1, seed=2)
    folder = tmp_path / "out"
    for one in (other, image):
        oci_layout.write(one, folder, "web:1")
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    inner = oci.dump({"schemaVersion": 2, "manifests": [
        {"mediaType": oci.MANIFEST, "digest": other.digest, "size": 1, "platform": {"architecture": "unknown"}},
        {"mediaType": oci.MANIFEST, "digest": image.digest, "size": 1, "platform": {"architecture": machine}},
    ]})  # fmt: skip
    oci_layout.LayoutBlobs(folder).path(Digest.of(inner)).write_bytes(inner)
    outer = {"schemaVersion": 2, "manifests": [
        {"mediaType": oci.INDEX, "digest": Digest.of(inner), "size": len(inner),
         "annotations": {oci.REF_NAME: "several"}}]}  # fmt: skip
    (folder / "index.json").write_bytes(oci.dump(outer))
    assert transports.read(f"oci:{folder}:several", store) == image


def test_images_without_names_have_digests(store: Store, tmp_path: Path) -> None:
    images = [random_image(store, layers=1, seed=seed) for seed in (1, 2)]
    folder = tmp_path / "out"
    for image in images:
        oci_layout.write(image, folder, "web:1")
    entries = [{"mediaType": oci.MANIFEST, "digest": image.digest, "size": 1} for image in images]
    (folder / "index.json").write_bytes(oci.dump({"schemaVersion": 2, "manifests": entries}))
    for image in images:
        assert transports.read(f"oci:{folder}:{image.digest}", store) == image
    with pytest.raises(UsageError, match="has several images"):
        transports.read(f"oci:{folder}", store)
    names = {found.name for found in transports.read_chosen(f"oci:{folder}", store)}
    assert names == {f"oci:{folder}:{image.digest}" for image in images}


def test_a_layout_reads_back_and_is_mended(store: Store, tmp_path: Path) -> None:
    image = random_image(store, layers=2, seed=1)
    folder = tmp_path / "out"
    oci_layout.write(image, folder, "web:1")
    blobs = oci_layout.LayoutBlobs(folder)
    blobs.path(image.config_digest).unlink()
    blobs.path(image.layers[0].digest).unlink()
    blobs.path(image.layers[0].digest).write_bytes(b"x")
    oci_layout.write(image, folder, "web:1")
    assert oci_layout.read(folder) == image
    assert validate.image(oci_layout.read(folder)) == ()
    assert oci_layout.references(folder) == {"web:1": image.digest}


def test_a_folder_of_something_else_is_left_alone(store: Store, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home/letter").write_text("dear")
    with pytest.raises(UsageError):
        directory.write(random_image(store, layers=1, seed=1), tmp_path / "home")
    assert (tmp_path / "home/letter").read_text() == "dear"


def with_packages(store: Store, versions: dict[str, str]) -> Image:
    """An image with a layer per package, each with dpkg's status of it, and the status of all on top; not annotated."""
    stanzas = [
        f"Package: {name}\nStatus: install ok installed\nVersion: {version}\n" for name, version in versions.items()
    ]
    statuses = [*stanzas, "\n".join(stanzas)]
    return make_image(
        store,
        [make_layer(store, [(Entry("var/lib/dpkg/status", "file", 0o644, size=len(x)), x.encode())]) for x in statuses],
    )


def test_packages_are_read_from_layers_that_say_nothing(store: Store) -> None:
    old, new = (with_packages(store, versions) for versions in ({"a": "1", "b": "1"}, {"a": "1", "b": "2", "c": "1"}))
    assert [layer.packages for layer in contents.layers(new)] == [(("a", "1"),), (("b", "2"),), (("c", "1"),), ()]
    found = contents.difference(old, new)
    assert (found.added, found.removed, found.changed) == ((("c", "1"),), (), (("b", "1", "2"),))


def test_images_are_compared_however_compressed(store: Store) -> None:
    old = random_image(store, layers=3, seed=1, compression="zstd")
    new = random_image(store, layers=4, seed=1, compression="gzip")
    found = contents.difference(old, new)
    assert len(found.layers_new) == 1
    assert found.layers_gone == ()
    assert found.bytes_new == found.layers_new[0].size


@pytest.mark.integration
@pytest.mark.parametrize("kind", ["oci-archive", "docker-archive", "dir", "oci"])
def test_what_skopeo_writes(store: Store, tmp_path: Path, kind: str) -> None:
    image = random_image(store, layers=3, seed=1, compression="gzip")
    oci_layout.write(image, tmp_path / "out", "web:1-r1")
    target = f"{kind}:{tmp_path}/copied" + ("" if kind == "dir" else ":web:1-r1")
    subprocess.run(["skopeo", "copy", "-q", f"oci:{tmp_path}/out:web:1-r1", target], check=True)
    found = transports.read_stored(f"{kind}:{tmp_path}/copied", store)
    assert validate.image(found) == ()
    assert (found.config, found.kept) == (image.config, kind != "docker-archive")
    if found.kept:
        assert transports.parsed(found) == image


@pytest.mark.integration
@pytest.mark.parametrize("kind", ["oci-archive", "docker-archive", "dir", "oci"])
def test_what_skopeo_reads(store: Store, tmp_path: Path, kind: str) -> None:
    """And back again from what it copied."""
    image = random_image(store, layers=3, seed=1, compression="gzip")
    way = transports.parse_target(f"{kind}:{tmp_path}/written")
    from builder.report import Silent

    transports.write(image, way, transports.Named("web", "web:1-r1", {}), store, Silent())
    source = f"{kind}:{tmp_path}/written" + (":web:1-r1" if kind == "oci" else "")
    inspected = subprocess.run(["skopeo", "inspect", source], check=True, capture_output=True)
    assert json.loads(inspected.stdout)["Architecture"] == "amd64"
    subprocess.run(["skopeo", "copy", "-q", source, f"oci:{tmp_path}/back:web:1"], check=True)
    back = transports.read(f"oci:{tmp_path}/back", store)
    assert [layer.diff_id for layer in back.layers] == [layer.diff_id for layer in image.layers]
    # skopeo writes a config anew that it takes for docker's.
    assert kind == "docker-archive" or back.config == image.config
