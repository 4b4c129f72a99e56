"""Lock files: what is written is read back, and damage is told with its line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from builder.formats import lockfile
from builder.model.digest import CacheKey, Digest
from builder.model.lock import Grouping, Lock, LockedPackage, LockedUser, LockFile, Revision
from dsl.errors import DefinitionError


def _package(name: str, version: str = "2:1.0-1") -> LockedPackage:
    return LockedPackage(
        name, version, "all", name, version, "debian", "trixie", f"pool/{name}.deb", 10, "0" * 64, "asked for"
    )


def _file() -> LockFile:
    lock = Lock(
        "base", "amd64", 1, "f" * 32, Digest.of(b"below"), (), (_package("a"), _package("b")),
        (LockedUser("nova", 42436, 42436, "/var/lib/nova", "/usr/sbin/nologin", "ö, \"quoted\": yes"),), (), Grouping(4, ("a",)),
    )  # fmt: skip
    return LockFile((lock,), (Revision("nova-api", "31.0.0", 3, CacheKey("e" * 64), "amd64"),))


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "lock.yaml"
    path.write_text(lockfile.text(_file()))
    assert lockfile.read(path) == _file()


def test_a_file_of_one_architecture_does_not_say_it_with_revisions() -> None:
    assert '- ["nova-api", "31.0.0", 3, "' + "e" * 64 + '"]\n' in lockfile.text(_file())


def test_a_revision_of_a_second_architecture_says_it() -> None:
    both = _with_arm64(_file())
    text = lockfile.text(both)
    assert lockfile.text(_file()).splitlines()[2:4] == text.splitlines()[2:4]
    assert '- ["nova-api", "31.0.0", 3, "' + "d" * 64 + '", "arm64"]\n' in text
    assert lockfile.parse(text, Path("lock.yaml")) == both
    assert both.revision("nova-api", "arm64") == both.revisions[1]


def test_the_first_architecture_may_come_later() -> None:
    both = _with_arm64(_file())
    alone = LockFile(both.locks[1:], both.revisions[1:])
    assert '"]\n' in lockfile.text(alone)
    assert 'arm64"]' not in lockfile.text(alone)
    kept = lockfile.parse(lockfile.text(alone), Path("lock.yaml"))
    assert kept.revisions == alone.revisions
    again = LockFile((*kept.locks, *_file().locks), (*kept.revisions, *_file().revisions))
    assert lockfile.text(again) == lockfile.text(both)


def _with_arm64(file: LockFile) -> LockFile:
    row = Revision("nova-api", "31.0.0", 3, CacheKey("d" * 64), "arm64")
    return LockFile((*file.locks, replace(file.locks[0], architecture="arm64")), (*file.revisions, row))


def test_a_moved_package_changes_one_line() -> None:
    before = _file()
    lock = before.locks[0]
    after = replace(before, locks=(replace(lock, packages=(_package("b", "2:1.0-2"), _package("a"))),))
    pairs = zip(lockfile.text(before).splitlines(), lockfile.text(after).splitlines(), strict=True)
    assert [old for old, new in pairs if old != new] == [
        line for line in lockfile.text(before).splitlines() if '- ["b"' in line
    ]


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("lock: 1\n<<<<<<< HEAD\ndefinitions: []\n", 2, "merge"),
        ("lock: 1\ndefinitions: [\n", 3, "not YAML"),
        ("lock: 99\ndefinitions: []\n", 1, "expected"),
        ("lock: 1\ndefinitions: []\nrevisions:\n- [a, b]\n", 1, "2 values"),
    ],
)
def test_damage_is_told(tmp_path: Path, text: str, line: int, message: str) -> None:
    path = tmp_path / "lock.yaml"
    path.write_text(text)
    with pytest.raises(DefinitionError) as caught:
        lockfile.read(path)
    (problem,) = caught.value.problems
    assert problem.place.line == line
    assert message in problem.message


def test_no_file_is_no_lock(tmp_path: Path) -> None:
    assert lockfile.read(tmp_path / "lock.yaml") == LockFile()


def test_what_lies_beside_an_image_is_packed() -> None:
    text = lockfile.text(_file())
    data = lockfile.packed(text)
    assert data == lockfile.packed(text)
    assert len(data) < len(text.encode())
    assert lockfile.unpacked(data) == text.encode()
    assert lockfile.beside(data, "web:1-r1") == lockfile.beside(text.encode(), "web:1-r1") == _file().locks


@pytest.mark.parametrize(
    "data", [b"\x1f\x8b", lockfile.packed("lock: 1")[:-3], b"\x1f\x8b\x08junk", lockfile.packed("lock: 7")]
)
def test_damage_beside_an_image_is_told(data: bytes) -> None:
    with pytest.raises(DefinitionError, match=r"web:1-r1 \(its lock\)"):
        lockfile.beside(data, "web:1-r1")


def test_what_is_too_large_is_no_lock() -> None:
    with pytest.raises(ValueError, match="too large"):
        lockfile.unpacked(lockfile.packed(" " * ((64 << 20) + 1)))
