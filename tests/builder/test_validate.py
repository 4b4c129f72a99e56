"""An image spoiled in each way that there is: what is wrong is found, all of it at once."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from builder import validate
from builder.formats import compress, oci
from builder.formats.tar import Entry
from builder.model.digest import Digest
from builder.model.image import Image, Layer, StoredImage
from builder.tools.store import Store
from builder.transports import oci_layout
from tests.kit.images import make_image, make_layer, random_image


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Where images are made."""
    return Store(tmp_path / "store")


def documents(image: Image, manifest: Callable[[Any], object], config: Callable[[Any], object]) -> StoredImage:
    """An image with changed documents, which still name each other."""
    said, settings = json.loads(image.manifest), json.loads(image.config)
    config(settings)
    data = oci.dump(settings)
    said["config"] |= {"digest": Digest.of(data), "size": len(data)}
    manifest(said)
    return StoredImage("web:1", oci.dump(said), data, image.blobs)


def messages(faults: tuple[validate.Fault, ...]) -> list[str]:
    """What they say, without digests that a test would have to compute."""
    return [fault.message for fault in faults]


def same(_: Any) -> None:
    """Change nothing."""


def test_a_random_image_is_valid(store: Store) -> None:
    for seed in range(5):
        assert validate.image(random_image(store, layers=4, seed=seed)) == ()


def layer_of(*infos: tuple[tarfile.TarInfo, bytes], end: bytes = b"\0" * 1024) -> bytes:
    """A tar that nothing of ours would write."""
    return b"".join(
        info.tobuf(tarfile.PAX_FORMAT) + data + b"\0" * (-len(data) % 512) for info, data in infos
    ) + end  # fmt: skip


def entry(name: str, data: bytes = b"", **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    """An entry of such a tar."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, data


def link(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    """A hard link."""
    return entry(name, type=tarfile.LNKTYPE, linkname=target)


def image_of(store: Store, *tars: bytes) -> Image:
    """An image of these tars, whose digests are right."""
    layers = []
    for tar in tars:
        packed = compress.compressor("gzip")
        data = packed.compress(tar) + packed.flush()
        layers.append(Layer(store.add(data), Digest.of(tar), len(data), compress.MEDIA_TYPES["gzip"]))
    return make_image(store, layers)


@pytest.mark.parametrize(
    ("tar", "expected"),
    [
        (layer_of(entry("../evil", b"x")), "the path '../evil' leads out of the root"),
        (layer_of(entry("/etc/passwd", b"x")), "the path '/etc/passwd' leads out of the root"),
        (layer_of(entry("a"), link("b", "../../etc/shadow")), "the hard link 'b' leads out of the root: '../../etc/shadow'"),
        (layer_of(link("b", "a"), entry("a")), "the hard link 'b' is to 'a', which the layer has not brought before"),
        (layer_of(entry("a/.wh.")), "the whiteout 'a/.wh.' names nothing"),
        (layer_of(entry("a/.wh..wh.plnk")), "the whiteout 'a/.wh..wh.plnk' names nothing"),
        (layer_of(entry(".wh.a", b"x")), "the whiteout '.wh.a' is no empty file"),
        (layer_of(entry("a", type=tarfile.CHRTYPE)), "'a' is a deletion as overlayfs writes it, not as layers do"),
        (layer_of(entry("a", b"1"), entry("./a", b"2")), "'a' is there twice"),
        (layer_of(entry("a", type=b"Z")), "'a' is of the unknown type b'Z'"),
        (layer_of(entry("a", b"1"), end=b""), "it cannot be read: it ends before its end"),
        (layer_of(entry("a", b"1"))[:-1200], "it cannot be read: unexpected end of data"),
        (layer_of(entry("a", b"1"), end=b"x" * 512), "it cannot be read: a header is damaged"),
        (layer_of(entry("a", b"1")) + b"x", "it cannot be read: something follows its end"),
        (b"no tar", "it cannot be read: truncated header"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_a_layer_that_is_not_well_formed(store: Store, tar: bytes, expected: str) -> None:
    good = layer_of(entry("a", b"1"), link("b", "a"), entry("dir/.wh.x"), entry("dir/.wh..wh..opq"))
    image = image_of(store, good, tar)
    assert [(fault.where, fault.message) for fault in validate.image(image)] == [(image.layers[1].digest, expected)]


MANIFESTS: list[tuple[Callable[[Any], object], str]] = [
    (lambda m: m.update(schemaVersion=1), "it is no image manifest: its mediaType or schemaVersion is not one's"),
    (lambda m: m.update(mediaType="x"), "it is no image manifest: its mediaType or schemaVersion is not one's"),
    (lambda m: m["config"].update(size=1), "the manifest says 1"),
    (lambda m: m["config"].update(mediaType="x"), "the media type x is not a config's"),
    (lambda m: m["layers"][0].update(size=1), "the manifest says 1"),
    (lambda m: m["layers"][0].update(size="1"), "layer 1: its descriptor is wrong: its size is '1'"),
    (lambda m: m["layers"][0].update(digest="md5:1"), "layer 1: its descriptor is wrong: not a sha256 digest: 'md5:1'"),
    (lambda m: m["layers"][0].update(mediaType="text/plain"), "the media type text/plain is not a layer's"),
    (lambda m: m["layers"][0].update(annotations={"a": 1}), "layer 1: annotations are texts"),
    (lambda m: m["layers"].append("x"), "layer 3: its descriptor is wrong: 'str' object has no attribute 'get'"),
    (lambda m: m["layers"].pop(), "2 diff_ids for 1 layers"),
    (lambda m: m["layers"].append(m["layers"][0]), "it is in the image 2 times"),
    (lambda m: m["layers"].reverse(), "the config says"),
    (lambda m: m.update(layers={}), "it has no layers"),
]
CONFIGS: list[tuple[Callable[[Any], object], str]] = [
    (lambda c: c.pop("architecture"), "it has no architecture"),
    (lambda c: c.update(os=7), "it has no os"),
    (lambda c: c.update(created="yesterday"), "created is 'yesterday', which is no time (RFC 3339)"),
    (lambda c: c.update(history=[]), "0 history entries for 2 layers"),
    (lambda c: c["history"][0].update(empty_layer=True), "1 history entries for 2 layers"),
    (lambda c: c.update(history=[1]), "its history is no list of entries"),
    (lambda c: c.update(rootfs={}), "its rootfs has no layers"),
    (lambda c: c["rootfs"]["diff_ids"].pop(), "1 diff_ids for 2 layers"),
    (lambda c: c["rootfs"]["diff_ids"].reverse(), "the config says"),
    (lambda c: c["rootfs"]["diff_ids"].__setitem__(0, 5), "the config says 5"),
]


@pytest.mark.parametrize(("change", "expected"), MANIFESTS, ids=[text for _, text in MANIFESTS])
def test_a_wrong_manifest(store: Store, change: Callable[[Any], object], expected: str) -> None:
    found = validate.image(documents(random_image(store, layers=2, seed=1), change, same))
    assert [text for text in messages(found) if expected in text], messages(found)


@pytest.mark.parametrize(("change", "expected"), CONFIGS, ids=[text for _, text in CONFIGS])
def test_a_wrong_config(store: Store, change: Callable[[Any], object], expected: str) -> None:
    found = validate.image(documents(random_image(store, layers=2, seed=1), same, change))
    assert [text for text in messages(found) if expected in text], messages(found)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff", b"[" * 100_000, b'{"layers": 1}', b"null"])
@pytest.mark.parametrize("which", ["manifest", "config"])
def test_documents_that_are_none(store: Store, data: bytes, which: str) -> None:
    image = random_image(store, layers=1, seed=1)
    spoiled = StoredImage("web:1", image.manifest, image.config, store)
    spoiled = replace(spoiled, manifest=data) if which == "manifest" else replace(spoiled, config=data)
    assert which in {fault.where for fault in validate.image(spoiled)}


def test_a_manifest_under_another_digest(store: Store) -> None:
    image = random_image(store, layers=1, seed=1)
    other = Digest.of(b"other")
    (fault,) = validate.image(StoredImage("web:1", image.manifest, image.config, store, other))
    assert fault == validate.Fault("manifest", f"its digest is {image.digest}, it lies under {other}")


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
@pytest.mark.parametrize("at", [0, 20, 0.5, -9, -1])
def test_a_changed_byte_is_found(store: Store, compression: str, at: float) -> None:
    image = random_image(store, layers=3, seed=1, compression=compression)
    path = store.path(image.layers[1].digest)
    data = bytearray(path.read_bytes())
    data[int(at * len(data)) if isinstance(at, float) else at] ^= 1
    path.write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    assert validate.image(image) == (
        validate.Fault(image.layers[1].digest, f"its bytes have the digest sha256:{digest}"),
    )


def test_all_faults_come_at_once(store: Store, tmp_path: Path) -> None:
    image = random_image(store, layers=4, seed=1)
    oci_layout.write(image, tmp_path / "out", "web:1")
    blobs = oci_layout.LayoutBlobs(tmp_path / "out")
    for layer, data in zip(image.layers, (b"", None), strict=False):
        blobs.path(layer.digest).unlink()
        if data is not None:
            blobs.path(layer.digest).write_bytes(data)
    blobs.path(image.config_digest).unlink()
    found = validate.image(oci_layout.at(tmp_path / "out").read("web:1"))
    assert [(fault.where, fault.message) for fault in found] == [
        ("config", "it is missing"),
        (image.layers[0].digest, f"its bytes have the digest {Digest.of(b'')}"),
        (image.layers[1].digest, "it is missing"),
    ]


def ours(store: Store) -> Image:
    """An image with a package layer and a records layer, annotated."""
    status = b"Package: a\nStatus: install ok installed\nVersion: 1\n"

    def layer(kind: str) -> Layer:
        made = make_layer(
            store, [(Entry("var/lib/dpkg/status", "file", 0o644, size=len(status), mtime=ord(kind[0])), status)]
        )
        said = {"kind": kind, "definition": "base", "cache-key": "0" * 64}
        if kind == "package":
            said["packages"] = "a=1"
        return replace(made, annotations=tuple(sorted((f"org.imgbuild.{k}", v) for k, v in said.items())))

    return make_image(store, [layer("package"), layer("records")])


ANNOTATIONS: list[tuple[int, str, str | None, list[str]]] = [
    (0, "kind", "other", ["its annotation org.imgbuild.kind is 'other': package, wheel, files, state, records",
                          "packages that are not in the package layers: a 1"]),
    (0, "definition", None, ["it has no annotation org.imgbuild.definition"]),
    (1, "cache-key", "x", ["it has no annotation org.imgbuild.cache-key"]),
    (0, "packages", "a=2", ["packages that are not in its annotations: a 1", "packages that are not in its dpkg status: a 2",
                            "packages that are not in the package layers: a 1", "packages that are not in its dpkg status: a 2"]),
    (0, "packages", "a=1 b=1", ["packages that are not in its dpkg status: b 1"] * 2),
]  # fmt: skip


@pytest.mark.parametrize(("number", "name", "value", "expected"), ANNOTATIONS)
def test_wrong_annotations(store: Store, number: int, name: str, value: str | None, expected: list[str]) -> None:
    image = ours(store)
    assert validate.image(image) == ()

    def change(manifest: Any) -> None:
        annotations = manifest["layers"][number]["annotations"]
        annotations.pop(f"org.imgbuild.{name}")
        if value is not None:
            annotations[f"org.imgbuild.{name}"] = value

    assert messages(validate.image(documents(image, change, same))) == expected


def test_a_shared_layer_is_read_once(store: Store) -> None:
    reads = []

    class Counting:
        def open(self, digest: Digest) -> Any:
            reads.append(digest)
            return store.open(digest)

    known: validate.Known = {}
    for layers in (2, 3):
        image = replace(random_image(store, layers=layers, seed=1, compression="gzip"), blobs=Counting())
        assert validate.image(image, 2, known) == ()
    assert len(reads) == len(set(reads)) == 3


def test_a_header_that_wants_much_memory(store: Store) -> None:
    """A long name of a gigabyte is refused, not read."""
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 1 << 30
    (fault,) = validate.image(image_of(store, info.tobuf(tarfile.GNU_FORMAT) + b"x" * 5000))
    assert fault.message == "it cannot be read: a header of 1073741824 bytes"


def test_bytes_after_the_compressed_ones(store: Store) -> None:
    tar = layer_of(entry("a"))
    packed = compress.compressor("gzip")
    data = packed.compress(tar) + packed.flush() + b"more"
    layer = Layer(store.add(data), Digest.of(tar), len(data), compress.MEDIA_TYPES["gzip"])
    (fault,) = validate.image(make_image(store, [layer]))
    assert fault.message.startswith("it cannot be read:")
