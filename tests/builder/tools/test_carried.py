"""A folder that stands in the place of every address: what lies where in it, and that nothing leads out of it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import BinaryIO

import pytest

from builder.errors import UsageError
from builder.model.digest import Digest
from builder.tools import carried


class Bytes:
    """Blobs in memory."""

    def __init__(self, *data: bytes) -> None:
        self._known = {Digest.of(one): one for one in data}

    def open(self, digest: Digest) -> BinaryIO:
        return io.BytesIO(self._known[digest])


def fill(root: Path, **files: bytes) -> None:
    names = {name.replace("__", "/"): data for name, data in files.items()}
    carried.fill(
        root, {name: Digest.of(data) for name, data in names.items()}, "2026-01-01T00:00:00Z", Bytes(*files.values())
    )


def there(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and "blobs" not in path.parts and path.name != carried.LIST
    }


def test_it_is_what_was_carried_in_last(tmp_path: Path) -> None:
    fill(tmp_path, apt__h__old=b"old", apt__h__same=b"same", git__a=b"one")
    fill(tmp_path, apt__h__new=b"new", apt__h__same=b"same", git__a=b"other")
    assert there(tmp_path) == {"apt/h/new": b"new", "apt/h/same": b"same", "git/a": b"other"}
    # Bytes stay, for the locks that name them; two names for the same bytes are one file.
    assert len(list((tmp_path / "blobs/sha256").iterdir())) == 5
    fill(tmp_path, apt__h__new=b"new")
    assert there(tmp_path) == {"apt/h/new": b"new"}
    assert not (tmp_path / "git").exists()


@pytest.mark.parametrize(
    "path", ["../x", "apt/../../x", "/etc/x", "apt", "blobs/sha256/x", "carried.json", "apt//x", "apt/./x", "", "x/y"]
)
def test_no_path_leads_out(tmp_path: Path, path: str) -> None:
    with pytest.raises(UsageError):
        carried.fill(tmp_path / "root", {path: Digest.of(b"x")}, "", Bytes(b"x"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("http://deb.debian.org/debian", "apt/deb.debian.org/debian"),
        ("https://me:word@r.example:8443/a/b/", "apt/r.example:8443/a/b"),
        ("http://r.example/../../etc", "apt/r.example/_/_/etc"),
        ("file:///srv/mirror", "apt/localhost/srv/mirror"),
    ],
)
def test_where_a_repository_lies(uri: str, path: str) -> None:
    assert carried.apt_path(uri) == path


def test_what_is_no_such_folder(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    for place in (None, "", str(tmp_path), str(tmp_path / "other"), "http://r.example/x", "oci:out"):
        assert carried.at(place) is None
    fill(tmp_path / "root", git__a=b"one")
    for place in (str(tmp_path / "root"), f"file://{tmp_path}/root"):
        found = carried.at(place)
        assert found
        assert (found.root, found.at) == (tmp_path / "root", "2026-01-01T00:00:00Z")
