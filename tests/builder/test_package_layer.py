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
from builder.make import bytecode, leave_out, package_layer
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


def raw_deb(store: Store, name: str, entries: list[tuple[tarfile.TarInfo, bytes]], control: str = "") -> LockedPackage:
    """A package with a payload that dpkg-deb would not make."""
    text = f"Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: x <x@localhost>\nDescription: x\n{control}"
    members = {
        "debian-binary": b"2.0\n",
        "control.tar": tar_of([(member("./control", size=len(text)), text.encode())]),
        "data.tar": tar_of(entries),
    }
    data = b"!<arch>\n"
    for member_name, content in members.items():
        header = f"{member_name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n"
        data += header.encode() + content + b"\n" * (len(content) % 2)
    digest = store.add(data)
    return LockedPackage(name, "1", "all", name, "1", "s", "", f"{name}.deb", len(data), digest.hex, "asked for")


def tar_of(entries: list[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    """A tar with these members."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, data in entries:
            tar.addfile(info, io.BytesIO(data))
    return archive.getvalue()


def member(name: str, **values: object) -> tarfile.TarInfo:
    """A tar's member."""
    info = tarfile.TarInfo(name)
    for key, value in values.items():
        setattr(info, key, value)
    return info


def hardlink(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    """A member that is a hard link."""
    return member(name, type=tarfile.LNKTYPE, linkname=target), b""


def data_of(store: Store, digest: Digest, path: str) -> bytes:
    """A file's bytes, through hard links."""
    with tarfile.open(fileobj=io.BytesIO(store.read(digest))) as tar:
        file = tar.extractfile(path)
        assert file
        return file.read()


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


@pytest.mark.parametrize(("winner", "loser"), [("a", "b"), ("b", "a")])
def test_the_package_that_replaces_has_the_path_whatever_the_order(tmp_path: Path, winner: str, loser: str) -> None:
    store = Store(tmp_path / "store")
    packages = [
        make_deb(tmp_path, store, winner, {"usr/bin/tool": winner}, f"Replaces: x, {loser} (<< 2)\n"),
        make_deb(tmp_path, store, loser, {"usr/bin/tool": loser}),
    ]
    made = package_layer.make(plan(*sorted(packages)), store, False)
    assert data_of(store, made.layer.digest, "usr/bin/tool").decode() == winner


@pytest.mark.parametrize("replaces", ["", "Replaces: a (<< 1)\n", "Replaces: a (>> 1)\n", "Replaces: a-b\n"])
def test_a_path_of_two_packages_that_nothing_decides_is_an_error(tmp_path: Path, replaces: str) -> None:
    store = Store(tmp_path / "store")
    a = make_deb(tmp_path, store, "a", {"usr/bin/tool": "a"})
    b = make_deb(tmp_path, store, "b", {"usr/bin/tool": "b"}, replaces)
    with pytest.raises(MakeError, match="/usr/bin/tool is brought by a and b, and none replaces the other"):
        package_layer.make(plan(a, b), store, False)


def test_packages_that_replace_each_other_decide_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    a = make_deb(tmp_path, store, "a", {"usr/bin/tool": "a"}, "Replaces: b\n")
    b = make_deb(tmp_path, store, "b", {"usr/bin/tool": "b"}, "Replaces: a\n")
    with pytest.raises(MakeError, match="a and b"):
        package_layer.make(plan(a, b), store, False)


def test_folders_and_equal_files_of_two_packages_are_fine(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    a = make_deb(tmp_path, store, "a", {"etc/both/same": "x", "lib/link": "-> x"})
    b = make_deb(tmp_path, store, "b", {"etc/both/same": "x", "usr/lib/link": "-> x"})
    found = names(store, package_layer.make(plan(a, b), store, False).layer.digest)
    assert {"etc/both", "etc/both/same", "usr/lib/link"} <= found.keys()


@pytest.mark.parametrize("other", ["-> elsewhere", "a file"])
def test_a_folder_and_something_else_at_one_path_is_an_error(tmp_path: Path, other: str) -> None:
    store = Store(tmp_path / "store")
    a = make_deb(tmp_path, store, "a", {"etc/both/x": ""})
    b = make_deb(tmp_path, store, "b", {"etc/both": other}, "Replaces: a\n")
    with pytest.raises(MakeError, match="/etc/both of a and b is a folder"):
        package_layer.make(plan(a, b), store, False)


def test_a_file_below_a_link_of_another_package_is_an_error(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    a = make_deb(tmp_path, store, "a", {"usr/x": "-> y"})
    b = raw_deb(store, "b", [(member("./usr/x/file", size=1), b"b")])
    with pytest.raises(MakeError, match="/usr/x of a is a link, of b a folder"):
        package_layer.make(plan(a, b), store, False)


@pytest.mark.parametrize("link", ["usr/a", "usr/z", "usr/share/man/zz"])
def test_a_hard_link_to_what_is_left_out_carries_the_bytes(tmp_path: Path, link: str) -> None:
    store = Store(tmp_path / "store")
    original = member("./usr/share/man/page", size=4, uid=7, gid=8, mode=0o640, mtime=99)
    original.pax_headers = {"SCHILY.xattr.user.note": "kept"}
    package = raw_deb(
        store,
        "linked",
        [
            (original, b"page"),
            hardlink(f"./{link}", "./usr/share/man/page"),
            hardlink("./usr/m", f"./{link}"),
            hardlink("./usr/share/man/other", "./usr/m"),
        ],
    )
    rules = LeaveOutRules(("man",), ("/usr/share/man/zz",))
    made = package_layer.make(plan(package, rules=rules), store, False)
    found = names(store, made.layer.digest)
    first, second = sorted((link, "usr/m"))
    assert not {"usr/share/man/page", "usr/share/man/other"} & found.keys()
    assert found[second].islnk()
    assert found[second].linkname == first
    assert data_of(store, made.layer.digest, second) == b"page"
    info = found[first]
    assert (info.uid, info.gid, info.mode, info.mtime) == (7, 8, 0o640, 99)
    assert info.pax_headers["SCHILY.xattr.user.note"] == "kept"


def test_a_hard_link_keeps_its_bytes_when_its_target_is_replaced(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    a = make_deb(tmp_path, store, "a", {"usr/x": "old", "usr/y": "== usr/x"})
    b = make_deb(tmp_path, store, "b", {"usr/x": "new"}, "Replaces: a\n")
    made = package_layer.make(plan(a, b), store, False)
    assert data_of(store, made.layer.digest, "usr/x") == b"new"
    assert data_of(store, made.layer.digest, "usr/y") == b"old"


@pytest.mark.parametrize("trees", [False, True])
@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ([(member("./dev/x", type=tarfile.CHRTYPE), b"")], "/dev/x is a device node"),
        ([(member("./dev/x", type=tarfile.BLKTYPE), b"")], "/dev/x is a device node"),
        ([(member("./../x"), b"")], "no path of a package"),
        ([(member("./a\nb"), b"")], "no path of a package"),
        ([hardlink("./a", "./../../etc/shadow")], "no path of a package"),
        ([hardlink("./a", "./etc/shadow")], "hard link to nothing: /etc/shadow"),
        (
            [(member("./a"), b""), (member("./a/b"), b"")],
            "/a of wrong is a file, of wrong a folder|wrong: /a is a file and a folder",
        ),
    ],
)
def test_what_no_layer_may_have_is_told(
    tmp_path: Path, entries: list[tuple[tarfile.TarInfo, bytes]], reason: str, trees: bool
) -> None:
    store = Store(tmp_path / "store")
    with pytest.raises(MakeError, match=f"wrong.*{reason}" if "wrong" not in reason else reason):
        package_layer.make(plan(raw_deb(store, "wrong", entries)), store, trees)


def test_a_fifo_is_fine(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    made = package_layer.make(plan(raw_deb(store, "fifo", [(member("./f", type=tarfile.FIFOTYPE), b"")])), store, True)
    assert names(store, made.layer.digest)["f"].isfifo()


def test_a_layer_knows_the_newest_time_of_its_packages(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    old = raw_deb(store, "old", [(member("./o", mtime=10), b"")])
    new = raw_deb(store, "new", [(member("./n", mtime=500), b""), (member("./m", mtime=20), b"")])
    made = package_layer.make(plan(new, old), store, False)
    assert made.newest == 500
    again = store.made(made.cache_key)
    assert again
    assert again.newest == 500


RULES = LeaveOutRules(
    ("docs", "locales", "man", "units"), ("/usr/share/man/man8/kept*", "/usr/share/locale/de/LC_MESSAGES/kept.mo")
)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for dpkg")
def test_what_is_left_out_is_what_dpkg_leaves_out(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    files = {
        "usr/share/doc/x/README": "", "usr/share/doc/x/copyright": "", "usr/share/doc/x/examples/a/b": "",
        "usr/share/doc/x/a-link": "-> ../y/copyright", "usr/share/doc/y": "-> x", "usr/share/man/man1/x.1": "",
        "usr/share/man/man8/x.8": "", "usr/share/man/man8/kept.8": "", "usr/share/man/de": "-> man1",
        "usr/share/man/man8/a": "-> kept.8", "usr/share/locale/de/LC_MESSAGES/x.mo": "",
        "usr/share/locale/de/LC_MESSAGES/kept.mo": "", "usr/share/locale/fr/LC_MESSAGES/x.mo": "",
        "lib/systemd/system/x.service": "", "usr/lib/systemd/system/y.service": "", "usr/bin/x": "",
    }  # fmt: skip
    package = make_deb(tmp_path, store, "x", files)
    made = package_layer.make(plan(package, rules=RULES), store, False)
    root, admin = tmp_path / "root", tmp_path / "root/var/lib/dpkg"
    (admin / "updates").mkdir(parents=True)
    (admin / "info").mkdir()
    (admin / "status").touch()
    for link in ("bin", "lib"):
        (root / "usr" / link).mkdir(parents=True)
        (root / link).symlink_to(f"usr/{link}")
    options = [f"--{line}" for line in leave_out.dpkg_cfg(RULES).splitlines()]
    subprocess.run(
        ["dpkg", f"--root={root}", "--log=/dev/null", *options, "--unpack", tmp_path / "x.deb"],
        check=True, capture_output=True,
    )  # fmt: skip
    unpacked = {str(path.relative_to(root)) for path in (root / "usr").rglob("*")}
    assert {path for path in names(store, made.layer.digest) if path.startswith("usr/")} == unpacked


POSTINST = b"""#!/bin/sh
set -e
if command -v py3compile >/dev/null 2>&1; then
\tpy3compile -p tool:amd64
\tpy3compile -p tool /usr/share/tool -V 3.10- -X 'tests/.*' -X '/usr/share/tool/old' || true
\tpy3compile -p tool /usr/lib/two /opt/$x -V 3.8-3.11
\tpypy3compile -p tool /usr/share/pypy || true
fi
"""


@pytest.mark.parametrize(
    ("path", "version", "compiled"),
    [
        ("usr/share/tool/a.py", "3.13", True),
        ("usr/share/tool/a/b.py", "3.10", True),
        ("usr/share/tool/a.py", "3.9", False),
        ("usr/share/tool/tests/a.py", "3.13", False),
        ("usr/share/tool/old/a.py", "3.13", False),
        ("usr/share/tool/a.pl", "3.13", False),
        ("usr/share/tools/a.py", "3.13", False),
        ("usr/share/pypy/a.py", "3.13", False),
        ("usr/lib/two/a.py", "3.11", True),
        ("usr/lib/two/a.py", "3.13", False),
        ("usr/lib/python3/dist-packages/a.py", "3.13", True),
        ("usr/lib/python3.12/a.py", "3.13", False),
    ],
)
def test_modules_that_a_postinst_compiles_are_compiled(path: str, version: str, compiled: bool) -> None:
    cached = bytecode.cache_path(path, version, bytecode.private(POSTINST))
    assert (cached is not None) is compiled
    if cached:
        assert (
            cached == f"{path.rpartition('/')[0]}/__pycache__/a.cpython-{version.replace('.', '')}.pyc"
            or "b." in cached
        )


@pytest.mark.parametrize(
    "line", ["py3compile -p 'x", "py3compile -p x /y -V z", "py3compile -X '(' /y", "py3compile -V"]
)
def test_a_line_that_only_a_shell_understands_compiles_nothing(line: str) -> None:
    assert bytecode.private(line.encode()) == ()
