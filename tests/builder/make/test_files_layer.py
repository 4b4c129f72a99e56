"""What a definition brings itself."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest

from builder.errors import MakeError
from builder.make import files_layer
from builder.model.digest import CacheKey
from builder.model.plan import FileEntry, FilesLayerPlan
from builder.tools.store import Store

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root for trees with owners")


def plan(*files: FileEntry) -> FilesLayerPlan:
    """A layer of files."""
    return FilesLayerPlan(CacheKey.of("files", [file.path for file in files]), "test", tuple(sorted(files)), "gzip")


def folder(path: str, mode: int = 0o750) -> FileEntry:
    """A folder of someone."""
    return FileEntry(path, "folder", 7, 8, mode)


def test_folders_above_are_named_and_paths_are_those_of_layers(tmp_path: Path) -> None:
    store = Store(tmp_path)
    content = store.add(b"rule")
    entries = (
        folder("/var/lib/x"),
        folder("/var/run/x"),
        FileEntry("/lib/udev/rules.d/x", "file", 0, 0, 0o644, content),
        FileEntry("/bin/y", "link", 0, 0, 0o777, target="x"),
    )
    made = files_layer.make(plan(*entries), store)
    with store.open(made.layer.digest) as file, tarfile.open(fileobj=file) as archive:
        found = {info.name: (info.mode, info.uid) for info in archive}
    assert found == {
        "run": (0o755, 0), "run/x": (0o750, 7), "usr": (0o755, 0), "usr/bin": (0o755, 0), "usr/bin/y": (0o777, 0),
        "usr/lib": (0o755, 0), "usr/lib/udev": (0o755, 0), "usr/lib/udev/rules.d": (0o755, 0),
        "usr/lib/udev/rules.d/x": (0o644, 0), "var": (0o755, 0), "var/lib": (0o755, 0), "var/lib/x": (0o750, 7),
    }  # fmt: skip
    tree = store.tree(f"files-{made.cache_key}")
    assert tree
    assert (tree / "usr/lib/udev/rules.d/x").read_bytes() == b"rule"
    assert (tree / "run/x").stat().st_uid == 7


def test_one_place_by_two_names_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MakeError, match="/lib/x and /usr/lib/x are the same place"):
        files_layer.make(plan(folder("/lib/x"), folder("/usr/lib/x")), Store(tmp_path))


def test_something_below_a_link_is_an_error(tmp_path: Path) -> None:
    link = FileEntry("/srv/a", "link", 0, 0, 0o777, target="b")
    with pytest.raises(MakeError, match="/srv/a is a link, and something lies in it"):
        files_layer.make(plan(link, folder("/srv/a/x")), Store(tmp_path))
