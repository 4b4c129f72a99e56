"""Every way out is a way in: what is written reads back, from files and from real engines."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder import transports, validate
from builder.errors import EngineError, ImageError, UsageError
from builder.model.image import Image
from builder.report import Silent
from builder.tools import process
from builder.tools.store import Store
from builder.transports import Named, parse_target
from dsl.errors import ImgbuildError
from tests.kit.images import random_image

FILES = ["oci", "oci-archive", "docker-archive", "dir"]
ENGINES = [pytest.param(name, marks=pytest.mark.e2e) for name in ("docker", "podman")]


def write(image: Image, target: str, reference: str, store: Store) -> None:
    """As `imgbuild build --to` does."""
    name = reference.partition(":")[0]
    way = parse_target(target)
    transports.require([way], [name], store)
    transports.write(image, way, Named(name, reference, {}), store, Silent())


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Where the images are made."""
    return Store(tmp_path / "store")


@pytest.fixture
def target(transport: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A place of a kind."""
    if transport in ("docker", "podman"):
        variable = "DOCKER_HOST" if transport == "docker" else "CONTAINER_HOST"
        monkeypatch.setenv(variable, request.getfixturevalue(transport).host)
        return f"{transport}:"
    return f"{transport}:{tmp_path / 'written'}"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if process.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], check=False).code:
        pytest.skip("only root mounts")
    yield folder
    process.run(["umount", folder])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("transport", [*FILES, *ENGINES])
def test_a_written_image_reads_back(transport: str, target: str, seed: int, store: Store, tmp_path: Path) -> None:
    compression = "gzip" if transport == "docker" else ""
    image = random_image(store, layers=3, seed=seed, compression=compression)
    reference = f"web-{seed}:1.0-r1"
    write(image, target, reference, store)
    name = target + reference if transport in ("docker", "podman") else target
    stored = transports.read_stored(name, Store(tmp_path / "other"))
    assert validate.image(stored) == ()
    again = transports.parsed(stored)
    assert (again.config, again.config_digest) == (image.config, image.config_digest)
    assert [layer.diff_id for layer in again.layers] == [layer.diff_id for layer in image.layers]
    if stored.kept:
        assert again == image


@pytest.mark.parametrize("transport", ["oci", *ENGINES])
def test_the_newest_is_meant(transport: str, target: str, store: Store) -> None:
    images = {tag: random_image(store, layers=1, seed=seed, compression="gzip") for seed, tag in enumerate(
        ["1.9.0-r1", "1.10.0-r9", "1.10.0-r10", "2.0.0-dev"], 50)}  # fmt: skip
    for tag, image in images.items():
        write(image, target, f"newest:{tag}", store)
    write(random_image(store, layers=1, seed=60, compression="gzip"), target, "newest-not:3-r1", store)
    place = target if target.endswith(":") else f"{target}:"
    for asked, tag in (("", "1.10.0-r10"), (":1.9.0", "1.9.0-r1"), (":1.10.0-r9", "1.10.0-r9"), (":2", "2.0.0-dev")):
        found = transports.read_stored(f"{place}newest{asked}", store)
        assert found.config == images[tag].config, asked
        assert found.name.endswith(f"newest:{tag}")
    assert [name.rpartition(":")[2] for name in transports.releases(f"{place}newest", store)][-2:] == [
        "1.10.0-r9",
        "1.10.0-r10",
    ]
    with pytest.raises(UsageError) as caught:
        transports.read(f"{place}nothing", store)
    assert caught.value.exit_code == 2


def test_a_place_of_several_images_wants_a_name(store: Store, tmp_path: Path) -> None:
    for number, name in enumerate(("one:1-r1", "two:1-r1", "two:1-r2")):
        write(random_image(store, layers=1, seed=number), f"oci:{tmp_path}/out", name, store)
    with pytest.raises(UsageError) as caught:
        transports.read(f"oci:{tmp_path}/out", store)
    assert caught.value.hint == "there are: one, two"
    assert [found.name.rpartition("/")[2] for found in transports.read_chosen(f"oci:{tmp_path}/out", store)] == [
        "out:one:1-r1",
        "out:two:1-r1",
        "out:two:1-r2",
    ]


@pytest.mark.parametrize("transport", FILES)
def test_what_is_there_is_replaced_or_left(transport: str, target: str, store: Store, tmp_path: Path) -> None:
    """A second image takes the place of the first; a file of another process is left alone."""
    other = tmp_path / ".written.part"
    other.write_text("not ours")
    first, second = (random_image(store, layers=2, seed=seed) for seed in (1, 2))
    for image in (first, second):
        write(image, target, "web:1-r1", store)
    assert transports.read(target, store) == second
    assert other.read_text() == "not ours"
    assert sorted(path.name for path in tmp_path.iterdir()) == [".written.part", "store", "written"]


@pytest.mark.parametrize("transport", FILES)
def test_a_failed_write_leaves_nothing(transport: str, target: str, store: Store, tmp_path: Path) -> None:
    image = random_image(store, layers=3, seed=1)
    store.path(image.layers[2].digest).write_bytes(b"cut off")
    if transport in ("oci", "dir"):
        store.path(image.layers[2].digest).unlink()
    with pytest.raises((ImgbuildError, KeyError)):
        write(image, target, "web:1-r1", store)
    written = tmp_path / "written"
    assert not written.exists() or not (written / "index.json").exists()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("transport", FILES)
def test_a_full_disk_is_told(transport: str, store: Store, small_disk: Path) -> None:
    image = random_image(store, layers=60, seed=1)
    target = f"{transport}:{small_disk / 'written'}"
    with pytest.raises(ImageError) as caught:
        write(image, target, "web:1-r1", store)
    assert caught.value.message == f"web:1-r1 cannot be written to {target}: No space left on device"
    left = [path.name for path in small_disk.rglob("*") if path.name.startswith(".")]
    assert left == []
    assert transport == "oci" or not (small_disk / "written").exists()


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (["dir:{tmp}/x"], "dir:{tmp}/x takes one image, here are 2"),
        (["oci-archive:{tmp}/x.tar"], "oci-archive:{tmp}/x.tar takes one image, here are 2"),
        (["docker-archive:{tmp}/nowhere/{{image}}.tar"], "docker-archive:{tmp}/nowhere/one.tar: there is no folder {tmp}/nowhere"),
        (["oci:{tmp}/out", "docker-archive:{tmp}/{{image}}"], "docker-archive:{tmp}/one: it is a folder"),
        (["dir:{tmp}/{{image}}"], "dir:{tmp}/one: something other than an image is there"),
        (["oci:{tmp}/file"], "oci:{tmp}/file: it is no folder"),
        (["docker:name"], "'docker:name': images keep their names in docker"),
        (["tar:x"], "there is no way out 'tar:x'"),
        (["oci-archive:"], "oci-archive: wants a path"),
    ],
)  # fmt: skip
def test_what_a_target_cannot_take_is_told_before(
    targets: list[str], message: str, tmp_path: Path, store: Store
) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one/precious").touch()
    (tmp_path / "file").touch()

    def require() -> None:
        transports.require([parse_target(text.format(tmp=tmp_path)) for text in targets], ["one", "two"], store)

    with pytest.raises(UsageError) as caught:
        require()
    assert caught.value.message == message.format(tmp=tmp_path)
    assert caught.value.hint or "no folder" in message


def test_each_image_has_a_file_of_its_own(tmp_path: Path, store: Store) -> None:
    images = {name: random_image(store, layers=1, seed=seed) for seed, name in enumerate(("one", "two"))}
    way = parse_target(f"oci-archive:{tmp_path}/{{image}}.tar")
    transports.require([way], list(images), store)
    for name, image in images.items():
        transports.write(image, way, Named(name, f"{name}:1-r1", {}), store, Silent())
    for name, image in images.items():
        assert transports.read(f"oci-archive:{tmp_path}/{name}.tar", store) == image


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_to(tmp_path: Path, store: Store) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UsageError, match="cannot be written to"):
        transports.require([parse_target(f"oci-archive:{tmp_path}/x.tar")], ["x"], store)


@pytest.mark.parametrize("kind", ["docker", "podman"])
@pytest.mark.parametrize("host", ["unix:///nowhere/engine.sock", "tcp://127.0.0.1:1"])
def test_a_missing_engine_is_told_at_once(kind: str, host: str, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST" if kind == "docker" else "CONTAINER_HOST", host)
    with pytest.raises(EngineError) as caught:
        transports.require([parse_target(f"{kind}:")], ["web"], store)
    reason = "No such file or directory" if host.startswith("unix") else "Connection refused"
    assert caught.value.message == f"{kind} does not answer at {host}: {reason}"
    assert caught.value.hint
