"""Packages that nobody sound would make: each is refused by name, or becomes the layer that it honestly is."""

from __future__ import annotations

import io
import lzma
import os
import random
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard

from builder.errors import MakeError
from builder.formats import deb
from builder.make import lowers, package_layer
from builder.make.dpkg_status import parse, unpacked
from builder.model.lock import LockedPackage
from builder.tools.store import Store
from tests.builder.test_package_layer import hardlink, member, names, plan, tar_of
from tests.kit.project import ROOT

pytestmark = [pytest.mark.integration, pytest.mark.skipif(os.geteuid() != 0, reason="needs root for owners")]
Members = list[tuple[tarfile.TarInfo, bytes]]
GIB = 1 << 30
CONTROL = "Package: evil\nVersion: 1\nArchitecture: all\nMaintainer: x <x@localhost>\nDescription: x\n"


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """A folder beside the store that stays as it is."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "safe").write_text("safe")
    before = {path.name for path in tmp_path.iterdir()}
    yield folder
    assert [(path.name, path.read_text()) for path in folder.iterdir()] == [("safe", "safe")]
    assert {path.name for path in tmp_path.iterdir()} - before <= {"store"}


def ar(*members: tuple[str, bytes]) -> bytes:
    """An archive as deb(5) has it."""
    data = b"!<arch>\n"
    for name, content in members:
        header = f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n"
        data += header.encode() + content + b"\n" * (len(content) % 2)
    return data


def locked(store: Store, data: bytes, name: str = "evil") -> LockedPackage:
    """Some bytes as a locked package of a store."""
    digest = store.add(data)
    return LockedPackage(name, "1", "all", name, "1", "s", "", f"{name}.deb", len(data), digest.hex, "asked for")


def package(
    store: Store, members: Members, control: str = CONTROL, more: Members | None = None, name: str = "evil"
) -> LockedPackage:
    """A package of a payload and of more members of its control archive."""
    text = control.replace("evil", name).encode()
    told = tar_of([(member("./control", size=len(text)), text), *(more or [])])
    return locked(store, ar(("debian-binary", b"2.0\n"), ("control.tar", told), ("data.tar", tar_of(members))), name)


def file(name: str, data: bytes = b"x", **values: object) -> tuple[tarfile.TarInfo, bytes]:
    """A member that is a file."""
    return member(name, size=len(data), **values), data


def link(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    """A member that is a symbolic link."""
    return member(name, type=tarfile.SYMTYPE, linkname=target), b""


REFUSED: dict[str, tuple[Members, str]] = {
    "up and out": ([file("../outside/safe")], "no path of a package"),
    "up from within": ([file("./usr/../../outside/safe")], "no path of a package"),
    "hard link up": ([hardlink("./a", "../outside/safe")], "no path of a package"),
    "hard link outside": ([hardlink("./a", "OUTSIDE/safe")], "hard link to nothing"),
    "below a link": ([link("./etc/x", "OUTSIDE"), file("./etc/x/safe")], "is a link|of evil a folder"),
    "below a relative link": ([link("./x", "../outside"), file("./x/safe")], "is a link|of evil a folder"),
    "hard link through a link": ([link("./x", "OUTSIDE"), hardlink("./y", "./x/safe")], "hard link to nothing|is a link"),
    "a line break": ([file("./usr/a\nb")], "no path of a package"),
    "a long name": ([file("./" + "n" * 300)], "too long"),
    "a long path": ([file("./" + "n/" * 3000 + "x")], "too long"),
    "a long target": ([link("./x", "y/" * 3000)], "too long"),
    "a device": ([(member("./dev/sda", type=tarfile.BLKTYPE), b"")], "device node"),
    "a strange type": ([(member("./x", type=b"Z"), b"")], "unknown type"),
    "a strange owner": ([file("./x", uid=70000)], "ids are below"),
    "no time": ([file("./x", pax_headers={"mtime": "nan"})], "a time that is none"),
    "too late a time": ([file("./x", pax_headers={"mtime": "1e300"})], "a time that is none"),
    "dpkg's own": ([file("./var/lib/dpkg/info/evil.postinst")], "only dpkg may write"),
    "dpkg's own as a link": ([link("./var/lib/dpkg/info/evil.config", "OUTSIDE/safe")], "only dpkg may write"),
    "a link to nothing": ([link("./x", "")], "a link to nothing"),
}  # fmt: skip


@pytest.mark.parametrize("trees", [False, True])
@pytest.mark.parametrize(("members", "said"), REFUSED.values(), ids=REFUSED)
def test_no_layer_has_it(tmp_path: Path, outside: Path, members: Members, said: str, trees: bool) -> None:
    store = Store(tmp_path / "store")
    for info, _ in members:
        info.linkname = info.linkname.replace("OUTSIDE", str(outside))
    bad = package(store, members)
    with pytest.raises(MakeError, match=said) as raised:
        package_layer.make(plan(bad), store, trees)
    assert "evil" in raised.value.message
    assert raised.value.hint
    assert store.tree(bad.sha256) is None
    assert list((tmp_path / "store/tmp").iterdir()) == []


HONEST: dict[str, Members] = {
    "no UTF-8": [file("./usr/share/\udcff\udcfe/\udc80")],
    "other letters": [file("./usr/share/ほげ — ½")],
    "absolute": [file("/etc/conf")],
    "a link outside": [link("./etc/x", "/outside/safe")],
    "a sticky name": [file("./ "), file("./-rf"), file("./$(reboot)"), file("./*")],
}
"""Names that are strange, but names."""


@pytest.mark.parametrize("members", HONEST.values(), ids=HONEST)
def test_strange_names_stay_as_they_are(tmp_path: Path, outside: Path, members: Members) -> None:
    store = Store(tmp_path / "store")
    good = package(store, members)
    made = package_layer.make(plan(good), store, True)
    wanted = {info.name.lstrip("./") for info, _ in members}
    assert wanted <= names(store, made.layer.digest).keys()
    tree = store.tree(good.sha256)
    assert tree
    assert all(os.path.lexists(tree / name) for name in wanted)


def test_of_what_comes_twice_the_last_is_taken(tmp_path: Path, outside: Path) -> None:
    store = Store(tmp_path / "store")
    twice = package(store, [link("./x", str(outside / "safe")), file("./x", b"first"), file("./x", b"last")])
    made = package_layer.make(plan(twice), store, True)
    tree = store.tree(twice.sha256)
    assert tree
    assert (tree / "x").read_text() == "last"
    with tarfile.open(fileobj=io.BytesIO(store.read(made.layer.digest))) as tar:
        assert [info.name for info in tar].count("x") == 1


def test_a_link_of_one_package_and_a_file_below_it_of_another(tmp_path: Path, outside: Path) -> None:
    store = Store(tmp_path / "store")
    both = (
        package(store, [link("./etc/x", str(outside))]),
        package(store, [file("./etc/x/safe", b"evil")], name="other"),
    )
    with pytest.raises(MakeError, match=r"/etc/x of evil and other|/etc/x of evil is a link, of other a folder"):
        package_layer.make(plan(*both), store, True)
    for one in both:
        package_layer.make(plan(one), store, True)
    found = [unpacked(store.root / "trees" / one.sha256, *parse(CONTROL.replace("evil", one.name))) for one in both]
    for order in (found, found[::-1]):
        with pytest.raises(MakeError, match="its paths do not go together"):
            lowers.merged(order, store)


CONTROLS: dict[str, tuple[str, Members, str]] = {
    "another package": (CONTROL.replace("evil", "other"), [], "says of itself that it is 'other'"),
    "a path for a name": (CONTROL.replace("evil", "../../../../../../outside/x"), [], "says of itself"),
    "another version": (CONTROL.replace(": 1", ": 2"), [], "says of itself"),
    "two packages": (CONTROL + "\n" + CONTROL, [], "its control file is broken"),
    "no fields": ("evil\n", [], "its control file is broken"),
    "nothing": ("", [], "its control file is broken"),
    "dpkg's list": (CONTROL, [file("./list", b"/outside\n")], "only dpkg may write"),
    "a strange name": (CONTROL, [file("./a\nb")], "only dpkg may write"),
    "a bomb": (CONTROL, [(member("./templates", size=10 * GIB), b"")], "control members are larger"),
    "many": (CONTROL, [file(f"./x{number}") for number in range(1001)], "control members are larger"),
}  # fmt: skip


@pytest.mark.parametrize(("control", "more", "said"), CONTROLS.values(), ids=CONTROLS)
def test_a_control_archive_that_lies(tmp_path: Path, outside: Path, control: str, more: Members, said: str) -> None:
    store = Store(tmp_path / "store")
    text = control.encode()
    archive = tar_of([(member("./control", size=len(text)), text)])
    for info, data in more:
        archive = archive[: -len(archive) % 512 or None].rstrip(b"\0")
        archive += b"\0" * (-len(archive) % 512) + info.tobuf() + data + b"\0" * (-len(data) % 512)
    bad = locked(store, ar(("debian-binary", b"2.0\n"), ("control.tar", archive), ("data.tar", tar_of([]))))
    with pytest.raises(MakeError, match=said) as raised:
        package_layer.make(plan(bad), store, True)
    assert "evil" in raised.value.message
    assert raised.value.hint


GOOD = (
    ("debian-binary", b"2.0\n"),
    ("control.tar", tar_of([(member("./control", size=len(CONTROL)), CONTROL.encode())])),
)
WRONG_MEMBERS: dict[str, bytes] = {
    "nothing": b"",
    "no archive": b"PK\x03\x04" + bytes(100),
    "no payload": ar(*GOOD),
    "no control": ar(("debian-binary", b"2.0\n"), ("data.tar", tar_of([]))),
    "an unknown compression": ar(*GOOD, ("data.tar.rar", b"x" * 100)),
    "no size": ar(*GOOD) + b"data.tar        " + b"?" * 44,
    "a negative size": ar(*GOOD) + f"{'data.tar':<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{-100:<10}`\n".encode(),
    "cut off": ar(*GOOD, ("data.tar.xz", lzma.compress(tar_of([file("./x", random.Random(1).randbytes(1 << 16))]))))[:-1000],
    "no xz": ar(*GOOD, ("data.tar.xz", b"no xz at all" * 100)),
    "no gzip": ar(*GOOD, ("data.tar.gz", b"no gzip at all" * 100)),
    "no zstd": ar(*GOOD, ("data.tar.zst", b"no zstd at all" * 100)),
    "no tar": ar(*GOOD, ("data.tar", b"no tar at all" * 100)),
    "half a header": ar(*GOOD, ("data.tar", tar_of([file("./x", b"x" * 2000)])[:700])),
    "a long header": ar(*GOOD, ("data.tar", member("././@LongLink", type=b"L", size=10 * GIB).tobuf() + bytes(1024))),
    "a long PAX header": ar(*GOOD, ("data.tar", member("x", type=b"x", size=10 * GIB).tobuf() + bytes(1024))),
    "less than nothing": ar(*GOOD, ("data.tar", member("x", size=-512).tobuf(tarfile.GNU_FORMAT) + bytes(1024))),
    "a broken PAX header": ar(*GOOD, ("data.tar", member("x", type=b"x", size=9).tobuf() + b"99 size=x" + bytes(503 + 1024))),
}  # fmt: skip


@pytest.mark.parametrize("data", WRONG_MEMBERS.values(), ids=WRONG_MEMBERS)
def test_what_is_no_package(tmp_path: Path, data: bytes) -> None:
    store = Store(tmp_path / "store")
    with pytest.raises(MakeError, match="evil: ") as raised:
        package_layer.make(plan(locked(store, data)), store, True)
    assert raised.value.hint


def zeros(size: int, kind: str) -> bytes:
    """A small package of a file of many zeros."""
    archive = member("./zeros", size=size).tobuf()
    if kind == "sparse":
        archive = tar_of(
            [
                (
                    member(
                        "./zeros",
                        pax_headers={
                            "GNU.sparse.major": "1",
                            "GNU.sparse.minor": "0",
                            "GNU.sparse.name": "./zeros",
                            "GNU.sparse.realsize": str(size),
                        },
                        size=512,
                    ),
                    b"0\n".ljust(512, b"\0"),
                )
            ]
        )
        return ar(*GOOD, ("data.tar", archive))
    if kind == "many":
        archive = b"".join(
            member(f"./zeros{number}", size=size // 16).tobuf() + bytes(size // 16) for number in range(16)
        )
        return ar(*GOOD, ("data.tar.xz", lzma.compress(archive, preset=0)))
    return ar(*GOOD, ("data.tar.xz", lzma.compress(archive + bytes(1 << 20), preset=0)))


@pytest.mark.parametrize("kind", ["one", "sparse"])
def test_ten_gigabytes_of_zeros(tmp_path: Path, kind: str) -> None:
    store = Store(tmp_path / "store")
    bomb = locked(store, zeros(10 * GIB, kind))
    with pytest.raises(MakeError, match=r"evil: it would unpack to 10737418\d+ bytes or more"):
        package_layer.make(plan(bomb), store, True)
    assert list((tmp_path / "store/tmp").iterdir()) == []
    assert store.tree(bomb.sha256) is None


def test_many_files_of_zeros(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deb, "MAX_PAYLOAD_BYTES", 4 << 20)
    store = Store(tmp_path / "store")
    with pytest.raises(MakeError, match="evil: it would unpack to"):
        package_layer.make(plan(locked(store, zeros(64 << 20, "many"))), store, True)


def test_a_large_file_takes_little_memory(tmp_path: Path) -> None:
    size = 256 << 20
    store = Store(tmp_path / "store")
    packer = zstandard.ZstdCompressor().compressobj()
    pieces = [member("./zeros", size=size).tobuf(), *[bytes(1 << 20)] * 256, bytes(1024)]
    data = b"".join(packer.compress(piece) for piece in pieces) + packer.flush()
    large = locked(store, ar(*GOOD, ("data.tar.zst", data)))
    code = (
        "import sys; from pathlib import Path; from builder.make import package_layer\n"
        "from tests.builder.test_hostile_archives import plan, LockedPackage, Store\n"
        "package = LockedPackage('evil', '1', 'all', 'evil', '1', 's', '', 'x', int(sys.argv[2]), sys.argv[3], '')\n"
        "made = package_layer.make(plan(package), Store(Path(sys.argv[1])), True)\n"
        "status = dict(line.split(':', 1) for line in Path('/proc/self/status').read_text().splitlines())\n"
        "print(made.layer.size, status['VmHWM'].split()[0])\n"  # ru_maxrss holds who started it, too
    )
    words = [sys.executable, "-c", code, str(tmp_path / "store"), str(large.size), large.sha256]
    done = subprocess.run(
        words, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True
    )
    layer, memory = map(int, done.stdout.split())
    assert layer < 4 << 20
    assert memory < 240 << 10
    tree = store.tree(large.sha256)
    assert tree
    assert (tree / "zeros").stat().st_size == size
