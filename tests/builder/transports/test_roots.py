"""Roots as a folder and in App Container images: what engines would make of the layers, path by path."""

from __future__ import annotations

import os
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from builder.errors import ImageError, UsageError
from builder.formats import tree
from builder.formats.tar import Entry
from builder.formats.tree import Tree
from builder.model.image import Image
from builder.tools.store import Store
from builder.transports import aci, rootfs
from builder.transports.aci import Site
from tests.kit.images import make_image, make_layer, random_image

CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")
ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files to others")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Where images are made."""
    return Store(tmp_path / "store")


@pytest.fixture
def image(store: Store) -> Image:
    """What layers can say: owners, modes, times, capabilities, links, hard links, what a later one changes or takes away."""
    lower: list[tuple[Entry, bytes | None]] = [
        (Entry("bin", "folder", 0o755, mtime=50), None),
        (Entry("bin/a", "file", 0o4755, 7, 8, 100, 1, xattrs=(("security.capability", CAPABILITY),)), b"1"),
        (Entry("bin/b", "hardlink", 0o755, target="bin/a"), None),
        (Entry("bin/c", "hardlink", 0o755, target="bin/a"), None),
        (Entry("bin/gone", "file", 0o644, size=1), b"x"),
        (Entry("bin/old", "file", 0o644, size=1), b"x"),
        (Entry("bin/to", "link", 0o777, 3, 4, 60, target="../bin/a"), None),
        (Entry("srv", "folder", 0o2770, 5, 6, mtime=70), None),
        (Entry("srv/pipe", "fifo", 0o600), None),
    ]
    upper: list[tuple[Entry, bytes | None]] = [
        (Entry("bin", "folder", 0o711, mtime=90), None),
        (Entry("bin/.wh.gone", "file", 0o644), b""),
        (Entry("bin/a", "file", 0o600, mtime=110, size=2), b"22"),
        (Entry("bin/old", "file", 0o640, size=3), b"new"),
    ]
    return make_image(store, [make_layer(store, lower), make_layer(store, upper)])


def merged(image: Image) -> Tree:
    """The root that engines make."""
    return tree.of_image(image, lambda _: True, {})


def without_groups(found: Tree) -> Tree:
    """A tree in which hard links are told by their names alone: in what layer a file lay is gone in one tar."""
    names: dict[tuple[int, str], str] = {}
    for path, item in sorted(found.items()):
        if item.entry.type != "folder":
            names.setdefault(item.file, path)
    return {
        path: replace(item, file=(0, names.get(item.file, path)), implied=False, data=None)
        for path, item in sorted(found.items())
    }


def tar_of(folder: Path, file: Path) -> Path:
    """A folder as tar reads it."""
    subprocess.run(
        ["tar", "-C", folder, "--xattrs", "--xattrs-include=*", "--numeric-owner", "--format=pax", "-cf", file, "."],
        check=True,
    )
    return file


@ROOT
@pytest.mark.parametrize("seed", range(3))
def test_a_folder_is_what_engines_would_make(store: Store, tmp_path: Path, seed: int) -> None:
    image = random_image(store, layers=4, seed=seed)
    rootfs.write(image, tmp_path / "root")
    found = tree.of_tar(tar_of(tmp_path / "root", tmp_path / "root.tar"), lambda _: True)
    assert without_groups(found) == without_groups(merged(image))


@ROOT
def test_owners_modes_times_and_capabilities_are_those_of_the_layers(image: Image, tmp_path: Path) -> None:
    folder = tmp_path / "root"
    rootfs.write(image, folder)
    found = tree.of_tar(tar_of(folder, tmp_path / "root.tar"), lambda _: True)
    assert without_groups(found) == without_groups(merged(image))
    assert {path: os.lstat(folder / path).st_mtime for path in ("bin", "bin/a", "bin/b", "bin/to", "srv")} == {
        "bin": 90, "bin/a": 110, "bin/b": 100, "bin/to": 60, "srv": 70,
    }  # fmt: skip
    assert os.getxattr(folder / "bin/c", "security.capability") == CAPABILITY
    assert (folder / "bin/b").samefile(folder / "bin/c")
    assert oct(folder.stat().st_mode)[-3:] == "755"


@ROOT
def test_what_is_there_is_not_touched(image: Image, tmp_path: Path) -> None:
    folder = tmp_path / "root"
    folder.mkdir()
    (folder / "mine").touch()
    with pytest.raises(UsageError, match="is not empty"):
        rootfs.write(image, folder)
    assert [path.name for path in folder.iterdir()] == ["mine"]


@ROOT
@pytest.mark.parametrize("target", ["/etc", "../../etc"])
def test_nothing_is_written_through_a_link(store: Store, tmp_path: Path, target: str) -> None:
    link = make_layer(store, [(Entry("a", "link", 0o777, target=target), None)])
    below = make_layer(store, [(Entry("a/passwd", "file", 0o644, size=1), b"x")])
    with pytest.raises(ImageError, match="lies in /a, which is no folder"):
        rootfs.write(make_image(store, [link, below]), tmp_path / "root")
    assert not (tmp_path / "root").exists()
    assert not any(tmp_path.glob(".root.*"))


def archive(image: Image, folder: Path, site: Site) -> Path:
    """An App Container image of an image whose command is there."""
    aci.write(replace(image, config=image.config.replace(b'"x"', b'"/bin/a"')), folder, "web:1.0-r1", site)
    (path,) = folder.glob("**/*.aci")
    return path


def test_an_archive_has_two_names_at_its_top_and_none_twice(image: Image, tmp_path: Path) -> None:
    path = archive(image, tmp_path / "aci", Site("example.com/acme"))
    assert path.relative_to(tmp_path / "aci") == Path("example.com/acme/web-1.0-r1-linux-amd64.aci")
    with tarfile.open(path) as found:
        names = found.getnames()
    assert {name.partition("/")[0] for name in names} == {"manifest", "rootfs"}
    assert len(set(names)) == len(names)


def root_of(archive: Path, folder: Path) -> Tree:
    """The root that an App Container image holds.

    Args:
        folder: for the plain tar.
    """
    plain = folder / "plain.tar"
    with plain.open("wb") as file:
        subprocess.run(["gzip", "-dc", archive], stdout=file, check=True)
    found = tree.of_tar(plain, lambda _: True)
    return {
        name.removeprefix("rootfs/"): replace(
            item,
            entry=replace(item.entry, path=name.removeprefix("rootfs/")),
            file=(item.file[0], item.file[1].removeprefix("rootfs/")),
        )
        for name, item in found.items()
        if name.startswith("rootfs/")
    }


@pytest.mark.parametrize("seed", range(3))
def test_its_root_is_what_engines_would_make(store: Store, tmp_path: Path, seed: int) -> None:
    image = random_image(store, layers=4, seed=seed)
    path = archive(image, tmp_path / "aci", Site())
    assert without_groups(root_of(path, tmp_path)) == without_groups(merged(image))


def test_the_same_image_gives_the_same_archive(image: Image, tmp_path: Path) -> None:
    first, second = (archive(image, tmp_path / name, Site()).read_bytes() for name in ("a", "b"))
    assert first == second


def test_the_page_says_where_images_and_keys_are() -> None:
    told = aci.page(Site("example.com/acme", "https://images.example.com/aci/", "A" * 40))
    address = "https://images.example.com/aci/{name}-{version}-{os}-{arch}.{ext}"
    assert f'<meta name="ac-discovery" content="example.com/acme {address}">' in told
    assert (
        '<meta name="ac-discovery-pubkeys" content="example.com/acme https://images.example.com/aci/pubkeys.gpg">'
        in told
    )
    assert "https://example.com/{name}-" in aci.page(Site("example.com/acme"))
    assert "pubkeys" not in aci.page(Site("example.com/acme"))


@pytest.fixture
def key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An OpenPGP key of this user."""
    home = tmp_path / "gnupg"
    home.mkdir(mode=0o700)
    monkeypatch.setenv("GNUPGHOME", str(home))
    subprocess.run(
        ["gpg", "--batch", "--passphrase", "", "--quick-gen-key", "Acme <images@example.com>", "ed25519", "sign"],
        check=True, capture_output=True,
    )  # fmt: skip
    listed = subprocess.run(["gpg", "--batch", "--with-colons", "-K"], check=True, capture_output=True, text=True)
    yield next(line.split(":")[9] for line in listed.stdout.splitlines() if line.startswith("fpr"))
    subprocess.run(["gpgconf", "--kill", "all"], check=False)


@pytest.mark.integration
def test_a_signature_holds_by_the_keys_beside_it(image: Image, tmp_path: Path, key: str) -> None:
    folder = tmp_path / "aci"
    path = archive(image, folder, Site("example.com/acme", "", key))
    checked = ["gpgv", "--keyring", str(folder / "pubkeys.gpg"), f"{path}.asc", str(path)]
    assert subprocess.run(checked, capture_output=True, check=False).returncode == 0
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    assert subprocess.run(checked, capture_output=True, check=False).returncode != 0


@pytest.mark.integration
def test_a_key_that_is_not_there(image: Image, tmp_path: Path, key: str) -> None:
    with pytest.raises(ImageError, match="gpg does not sign"):
        archive(image, tmp_path / "aci", Site("example.com/acme", "", "B" * 40))
