"""Wheels → a layer of a virtual environment: what pip would have put there, always the same bytes."""

from __future__ import annotations

import csv
import io
import os
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from builder.errors import MakeError
from builder.formats import compress
from builder.make import wheel_layer
from builder.model.digest import CacheKey
from builder.model.lock import LockedWheel
from builder.model.plan import WheelLayerPlan
from builder.tools.store import Store
from tests.kit.wheels import TIME, wheel

SITE = "opt/web/lib/python3.11/site-packages"
SCRIPT = "#!python\nprint('moved')\n"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def plan(store: Store, files: Iterable[Path], name: str = "web") -> WheelLayerPlan:
    """A layer of these wheels."""
    locked = []
    for file in files:
        data = file.read_bytes()
        project, version = file.name.split("-")[:2]
        digest = store.add(data).hex
        locked.append(
            LockedWheel(
                name, project.replace("_", "-"), version, file.name, "", len(data), digest, "bin-00", "asked for"
            )
        )
    key = CacheKey.of("wheels", [name, [one.sha256 for one in locked], str(time.monotonic_ns())])
    return WheelLayerPlan(key, "web", name, "3.11", "bin-00", tuple(sorted(locked)), (), "gzip")


def layer(made: WheelLayerPlan, store: Store) -> dict[str, tuple[tarfile.TarInfo, bytes]]:
    """What the layer has."""
    found = wheel_layer.make(made, store)
    with store.open(found.layer.digest) as blob, compress.decompressed(blob, "gzip") as plain:
        data = plain.read()
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {info.name: (info, file.read() if (file := archive.extractfile(info)) else b"") for info in archive}


def several(folder: Path) -> tuple[Path, Path]:
    """Wheels with all that wheels may have."""
    one = wheel(
        folder, "own-thing", "1.5",
        {
            "own_thing/__init__.py": "def main():\n    print('it runs')\n",
            "own_thing/data.txt": "data\n",
            "own_thing/tool": "#!/bin/sh\n",
            "own_thing-1.5.data/scripts/moved": SCRIPT,
            "own_thing-1.5.data/data/share/own/page": "page\n",
            "own_thing-1.5.data/headers/own.h": "int own;\n",
            "own_thing-1.5.data/purelib/beside.py": "x = 1\n",
        },
        scripts={"own": "own_thing:main"}, executable=("own_thing/tool", "own_thing-1.5.data/scripts/moved"), needs=("other",),
    )  # fmt: skip
    return one, wheel(folder, "other", "2.0", {"ünï.py": "", "other/__init__.py": "y = 2\n"})


def test_it_is_what_pip_installs(store: Store, tmp_path: Path) -> None:
    made = several(tmp_path / "wheels")
    pip = (
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-compile",
        "--no-index",
        "--ignore-installed",
    )
    subprocess.run([*pip, "--root", tmp_path / "pip", "--prefix", "/opt/web", *made], check=True, cwd=tmp_path)
    root = tmp_path / "pip"
    minor = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    theirs = {
        str(path.relative_to(root)).replace(minor, "python3.11"): path
        for path in root.rglob("*")
        if path.is_file() and path.name not in ("INSTALLER", "REQUESTED", "direct_url.json")
    }
    ours = layer(plan(store, made), store)
    files = {path: one for path, one in ours.items() if one[0].isreg() and not path.endswith("/INSTALLER")}
    assert files.keys() == theirs.keys()
    for path, (info, data) in files.items():
        expected = theirs[path].read_bytes().replace(f"#!{sys.executable}\n".encode(), b"#!/opt/web/bin/python\n")
        assert bool(info.mode & 0o111) == bool(theirs[path].stat().st_mode & 0o111), path
        if path.endswith("/RECORD"):
            assert _record(data).keys() == _record(expected.replace(minor.encode(), b"python3.11")).keys()
        elif path != "opt/web/bin/own":  # installer's words for it are others than pip's
            assert data == expected, path
    assert ours["opt/web/bin/own"][1].startswith(b"#!/opt/web/bin/python\n")
    assert b"own_thing" in ours["opt/web/bin/own"][1]


def _record(data: bytes) -> dict[str, list[str]]:
    rows = {row[0]: row[1:] for row in csv.reader(io.StringIO(data.decode()))}
    beside = ("INSTALLER", "REQUESTED", "direct_url.json")
    return {path: rest for path, rest in rows.items() if not path.endswith(beside)}


def test_the_record_is_sorted_and_true(store: Store, tmp_path: Path) -> None:
    ours = layer(plan(store, several(tmp_path)), store)
    data = ours[f"{SITE}/own_thing-1.5.dist-info/RECORD"][1]
    rows = list(csv.reader(io.StringIO(data.decode())))
    assert [row[0] for row in rows] == sorted(row[0] for row in rows)
    for path, _, size in rows:
        there = os.path.normpath(f"{SITE}/{path}")
        assert there in ours
        assert not size or int(size) == ours[there][0].size


def test_the_same_wheels_always_give_the_same_bytes(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = several(tmp_path / "wheels")
    first = wheel_layer.make(plan(store, made), store)
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    before = os.umask(0o077)
    try:
        again = wheel_layer.make(plan(store, reversed(made)), Store(store.root))
    finally:
        os.umask(before)
        monkeypatch.undo()
        time.tzset()
    assert again.layer == first.layer
    # Another one is another way of making layers: `RULES` says which.
    assert first.layer.diff_id == "sha256:0c5b17975f36ad3412296527d4aa69db15c66de0c029cac625fa2c768e5311dc"
    assert first.newest == 1580608922


def test_everything_belongs_to_root_and_has_its_wheels_time(store: Store, tmp_path: Path) -> None:
    for info, _ in layer(plan(store, several(tmp_path)), store).values():
        assert (info.uid, info.gid, info.uname) == (0, 0, "")
        assert info.mtime == 1580608922
        assert info.mode & 0o7022 == 0


def test_the_same_wheel_is_another_layer_in_another_environment(store: Store, tmp_path: Path) -> None:
    made = wheel(tmp_path, "one")
    assert "opt/other/lib/python3.11/site-packages/one.py" in layer(plan(store, [made], "other"), store)


def test_two_that_bring_the_same_path_are_told(store: Store, tmp_path: Path) -> None:
    same = wheel(tmp_path, "one", files={"shared/__init__.py": "", "one.py": ""})
    fits = wheel(tmp_path, "two", files={"shared/__init__.py": "", "two.py": ""})
    assert f"{SITE}/shared/__init__.py" in layer(plan(store, [same, fits]), store)
    differs = wheel(tmp_path, "three", files={"shared/__init__.py": "x = 1\n"})
    with pytest.raises(MakeError, match=r"shared/__init__\.py is brought by .*, and they differ"):
        layer(plan(store, [same, differs]), store)


@pytest.mark.parametrize(
    "files",
    [
        {"../outside.py": ""},
        {"bad-1.0.data/data/../../../../etc/passwd": ""},
        {"bad-1.0.data/scripts/../../../bin/sh": ""},
        {"bad-1.0.data/nowhere/x": ""},
        {"bad/a\nb.py": ""},
    ],
)
def test_hostile_paths_are_refused(store: Store, tmp_path: Path, files: dict[str, str]) -> None:
    with pytest.raises(MakeError, match=r"^bad-1\.0-py3-none-any\.whl: "):
        layer(plan(store, [wheel(tmp_path, "bad", files=files)]), store)


def test_a_hostile_entry_point_is_refused(store: Store, tmp_path: Path) -> None:
    made = wheel(tmp_path, "bad", scripts={"../../../bin/sh": "bad:main"})
    with pytest.raises(MakeError, match="is no name of a program"):
        layer(plan(store, [made]), store)


def test_damaged_wheels_are_told(store: Store, tmp_path: Path) -> None:
    whole = wheel(tmp_path, "bad", files={"bad.py": "x = 1\n" * 1000}).read_bytes()
    for number, data in enumerate((b"", b"no zip", whole[:200], whole.replace(b"x = 1\nx", b"x = 2\nx", 1))):
        broken = tmp_path / f"{number}/bad-1.0-py3-none-any.whl"
        broken.parent.mkdir()
        broken.write_bytes(data)
        with pytest.raises(MakeError, match=r"^bad-1\.0-py3-none-any\.whl: "):
            layer(plan(store, [broken]), store)


def test_a_time_that_is_none_is_the_oldest(store: Store, tmp_path: Path) -> None:
    made = wheel(tmp_path, "one")
    with zipfile.ZipFile(made) as archive:
        assert archive.infolist()[0].date_time == TIME
    packed = (TIME[0] - 1980) << 9 | TIME[1] << 5 | TIME[2]
    made.write_bytes(made.read_bytes().replace(packed.to_bytes(2, "little"), b"\0\0"))
    assert {info.mtime for info, _ in layer(plan(store, [made]), store).values()} == {315532800}
