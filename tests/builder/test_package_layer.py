"""Package layers from small packages that dpkg-deb makes."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from builder.errors import MakeError
from builder.make import package_layer
from builder.model.digest import CacheKey, Digest
from builder.model.lock import LockedPackage
from builder.model.plan import LeaveOutRules, PackageLayerPlan
from builder.tools.store import Store

pytestmark = pytest.mark.integration


def make_deb(folder: Path, store: Store, name: str, files: dict[str, str], control: str = "") -> LockedPackage:
    """A package in the store."""
    root = folder / name
    (root / "DEBIAN").mkdir(parents=True)
    text = f"Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: x <x@localhost>\nDescription: x\n{control}"
    (root / "DEBIAN/control").write_text(text)
    for path, data in files.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if data.startswith("-> "):
            target.symlink_to(data[3:])
        elif data.startswith("== "):
            os.link(root / data[3:], target)
        else:
            target.write_text(data)
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "--build", root, folder / f"{name}.deb"], check=True, capture_output=True
    )
    data_ = (folder / f"{name}.deb").read_bytes()
    digest = store.add(data_)
    return LockedPackage(name, "1", "all", name, "1", "s", "", f"{name}.deb", len(data_), digest.hex, "asked for")


def plan(*packages: LockedPackage, rules: LeaveOutRules = LeaveOutRules()) -> PackageLayerPlan:  # noqa: B008
    """A layer of packages."""
    key = CacheKey.of("test", [p.sha256 for p in packages])
    return PackageLayerPlan(key, "test", "bin-00", False, packages, rules, (), "gzip")


def names(store: Store, digest: Digest) -> dict[str, tarfile.TarInfo]:
    """What a layer holds."""
    with tarfile.open(fileobj=io.BytesIO(store.read(digest))) as tar:
        return {info.name: info for info in tar}


def test_a_layer_of_packages(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    one = make_deb(tmp_path, store, "one", {"bin/tool": "x", "usr/share/doc/one/README": "x", "usr/share/doc/one/copyright": "c",
                                            "etc/one.conf": "x", "a-link": "-> usr/share/doc/one/README", "z": "x", "b": "== z"})  # fmt: skip
    two = make_deb(tmp_path, store, "two", {"usr/bin/other": "x"})
    made = package_layer.make(plan(one, two, rules=LeaveOutRules(("docs",))), store, True)
    found = names(store, made.layer.digest)
    assert {
        "usr/bin/tool",
        "usr/bin/other",
        "usr/share/doc/one/copyright",
        "var/lib/dpkg/info/one.list",
    } <= found.keys()
    assert not {"bin", "bin/tool", "usr/share/doc/one/README", "a-link"} & found.keys()
    assert {found["b"].islnk(), found["z"].islnk()} == {True, False}
    tree = store.tree(one.sha256)
    assert tree
    assert (tree / "usr/share/doc/one/README").exists()
    assert "/bin/tool" in (tree / "var/lib/dpkg/info/one.list").read_text().splitlines()
    assert (tree / "z").stat().st_ino == (tree / "b").stat().st_ino


def test_a_license_in_another_packages_folder_is_found(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    docs = "usr/share/doc"
    base = make_deb(tmp_path, store, "base", {f"{docs}/base/copyright": "c", f"{docs}/base/README": "x"})
    lib = make_deb(tmp_path, store, "lib", {f"{docs}/lib": "-> base", f"{docs}/other/NEWS": "-> ../base/README"})
    made = package_layer.make(plan(base, lib, rules=LeaveOutRules(("docs",))), store, False)
    found = names(store, made.layer.digest)
    assert found[f"{docs}/lib"].linkname == "base"
    assert f"{docs}/base/copyright" in found
    assert not {f"{docs}/base/README", f"{docs}/other/NEWS"} & found.keys()


def test_the_same_packages_give_the_same_digest(tmp_path: Path) -> None:
    first, second = Store(tmp_path / "1"), Store(tmp_path / "2")
    one = make_deb(tmp_path, first, "one", {"usr/bin/tool": "x"})
    second.add(first.read(Digest.from_hex(one.sha256)))
    assert package_layer.make(plan(one), first, True) == package_layer.make(plan(one), second, False)


def test_a_layer_says_what_is_installed(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    one = make_deb(tmp_path, store, "one", {"usr/bin/tool": "x"})
    made = package_layer.make(plan(one), store, False)
    with tarfile.open(fileobj=io.BytesIO(store.read(made.layer.digest))) as tar:
        status = tar.extractfile("var/lib/dpkg/status")
        assert status
        text = status.read().decode()
    assert "Package: one\nStatus: install ok installed\n" in text


def test_what_is_no_package_is_told(tmp_path: Path) -> None:
    store = Store(tmp_path)
    digest = store.add(b"hello")
    wrong = LockedPackage("x", "1", "all", "x", "1", "s", "", "x", 5, digest.hex, "")
    with pytest.raises(MakeError, match="no Debian package"):
        package_layer.make(plan(wrong), store, True)
    assert store.tree(wrong.sha256) is None


def test_a_package_cannot_write_outside_its_tree(tmp_path: Path) -> None:
    victim = tmp_path / "outside/secret"
    victim.parent.mkdir()
    victim.write_text("safe")
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, kind, target in (
            ("./d", tarfile.SYMTYPE, str(victim.parent)),
            ("./y", tarfile.LNKTYPE, "./d/secret"),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            tar.addfile(info)
        info = tarfile.TarInfo("./y")
        info.size = 4
        tar.addfile(info, io.BytesIO(b"evil"))
    store = Store(tmp_path / "store")
    good = make_deb(tmp_path, store, "bad", {})
    (tmp_path / "data.tar").write_bytes(archive.getvalue())
    subprocess.run(["ar", "x", "bad.deb"], cwd=tmp_path, check=True)
    control = next(path.name for path in tmp_path.glob("control.tar*"))
    subprocess.run(["ar", "rc", "evil.deb", "debian-binary", control, "data.tar"], cwd=tmp_path, check=True)
    digest = store.add((tmp_path / "evil.deb").read_bytes())
    with pytest.raises(MakeError, match="a link and a folder at once"):
        package_layer.make(plan(replace(good, sha256=digest.hex)), store, True)
    assert victim.read_text() == "safe"
    assert store.tree(digest.hex) is None
