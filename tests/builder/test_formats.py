"""Tars, locks, layouts: the same value gives the same bytes, and what is written reads back."""

from __future__ import annotations

import io
import random
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from builder.errors import MakeError
from builder.formats import deb, lockfile, places, tar
from builder.formats.tar import Entry, EntryType, layer_writer
from builder.model.digest import Digest
from builder.model.lock import Grouping, Lock, LockedPackage, LockedSource, LockedUser, LockFile, Revision
from builder.tools.store import Store
from dsl.errors import DefinitionError


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


@pytest.mark.parametrize("seed", range(20))
def test_the_quick_way_to_a_header_gives_the_same_bytes(seed: int) -> None:
    chance = random.Random(seed)
    quick = 0
    for _ in range(100):
        kind: EntryType = chance.choice(["file", "folder", "link", "hardlink", "fifo"])
        entry = Entry(
            "/".join(
                "".join(chance.choices("abc.-_+~é", [9] * 8 + [0.2], k=7)) for _ in range(chance.randrange(1, 16))
            ),
            kind,
            chance.choice([0o644, 0o4755, 0o1777, 0]),
            chance.choice([0, 42436, 8**7 - 1, 8**7]),
            chance.choice([0, 7, 8**7]),
            chance.choice([0, 1735689600, 8**11 - 1, 8**11, -1]),
            chance.choice([0, 5, 8**11 - 1, 8**11]) if kind == "file" else 0,
            "x/" * chance.randrange(1, 60) if "link" in kind else "",
            chance.choice([(), (), (("user.a", b"1"),)]),
        )
        found = tar._plain_header(entry)
        quick += found is not None
        assert found in (None, tar._any_header(entry))
    assert quick


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
    assert (places.canonical(path) or ".") == expected


@pytest.mark.parametrize("path", ["../x", "./a/../../x", "a\nb", "a\0b"])
def test_paths_that_lead_out_are_refused(path: str) -> None:
    with pytest.raises(MakeError, match="no path"):
        places.canonical(path)


def test_the_folders_above_some_paths() -> None:
    assert places.above_all(("usr/bin/tool", "usr/lib/x/y", "etc", "usr/bin")) == {
        "usr",
        "usr/bin",
        "usr/lib",
        "usr/lib/x",
    }


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

    return LockFile((lock,), (Revision("web", "1.0", 3, CacheKey.of("x", 1), "amd64"),))


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
