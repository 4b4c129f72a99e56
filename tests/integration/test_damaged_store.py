"""A store that is damaged, read-only or used by several at once."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from builder import validate
from tests.integration.test_failures import require_tidy, require_told
from tests.kit.distribution import Site
from tests.kit.http_server import Fault, HttpServer
from tests.kit.project import own, running

pytestmark = [pytest.mark.integration, pytest.mark.sampled(4)]
PROGRAM = {"usr/bin/app": "#!/bin/sh\n"}


def flip(path: Path) -> None:
    """Change a byte in the middle."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    own(path, bytes(data))


def cut(path: Path) -> None:
    """Lose the end, as with the machine's power."""
    own(path, path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    own(path, b"")


def blobs_of(site: Site, kind: str) -> list[Path]:
    """Layers that the store has, or packages."""
    layers = {json.loads(path.read_bytes())["digest"][7:] for path in (site.cache / "imgbuild/layers").iterdir()}
    every = list((site.cache / "imgbuild/blobs/sha256").iterdir())
    return sorted(
        path for path in every if (path.name in layers if kind == "layers" else path.read_bytes()[:7] == b"!<arch>")
    )


@pytest.mark.parametrize("harm", [flip, cut, empty])
def test_a_damaged_layer_is_made_again(site: Site, harm: Callable[[Path], None]) -> None:
    expected = site.build(out="expected")
    for path in blobs_of(site, "layers"):
        harm(path)
    assert site.build(out="again") == expected
    assert not validate.image(site.image(out="again"))


@pytest.mark.parametrize("harm", [flip, cut, empty])
def test_a_damaged_package_is_fetched_again(site: Site, harm: Callable[[Path], None]) -> None:
    expected = site.build(out="expected")
    for path in blobs_of(site, "packages"):
        harm(path)
    subprocess.run(["rm", "-r", site.cache / "imgbuild/layers", site.cache / "imgbuild/trees"], check=True)
    assert site.build(out="again") == expected
    site.repo.add("app", "2", files=PROGRAM)
    site.repo.publish()
    site.works("lock", "app", "--update")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"digest": 7}', "\x00" * 200])
def test_a_damaged_record_of_a_layer_is_written_again(site: Site, text: str) -> None:
    expected = site.build(out="expected")
    for path in (site.cache / "imgbuild/layers").iterdir():
        own(path, text.encode())
    assert site.build(out="again") == expected


@pytest.mark.parametrize("harm", [flip, cut, empty])
def test_a_damaged_stanza_is_read_from_the_package(site: Site, harm: Callable[[Path], None]) -> None:
    lock = site.lock()
    for path in (site.cache / "imgbuild/stanzas").iterdir():
        harm(path)
    site.works("lock", "app")
    assert site.lock() == lock


def test_all_damage_is_found_and_mended(site: Site) -> None:
    site.works("lock", "app", "--update")
    expected = site.build(out="expected")
    store = site.cache / "imgbuild"
    assert site.works("cache", "verify").output.startswith("nothing damaged")
    packages = {path.name for path in blobs_of(site, "packages")}
    trees = {path.name: path for path in sorted((store / "trees").iterdir())}
    tree = next(path for name, path in trees.items() if name in packages and (path / "usr/bin/app").exists())
    other = next(path for name, path in trees.items() if name in packages and (path / "usr/bin/dpkg").exists())
    state = next(path for name, path in trees.items() if name.startswith("state-"))
    flip(tree / "usr/bin/app")
    (other / "usr/bin/more").write_text("more")
    (state / "etc/more").parent.mkdir(exist_ok=True)
    (state / "etc/more").write_text("more")
    layer, package = blobs_of(site, "layers")[0], blobs_of(site, "packages")[0]
    # Nobody has noticed it: it has its time and its size.
    for path in (layer, package):
        before = path.stat()
        flip(path)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    record = next(path for path in (store / "layers").iterdir() if layer.name not in path.read_text())
    stanza = next((store / "stanzas").iterdir())
    index = next((store / "apt").rglob("*_Packages"))
    for path in (record, stanza, index):
        cut(path)
    result = site.run("cache", "verify", "--json")
    assert result.code == 3, result.errors
    removed = {one["path"] for one in result.json["removed"]}
    harmed = (tree, other, state, layer, package, record, stanza, index)
    assert {str(path.relative_to(store)) for path in harmed} <= removed
    assert not any(path.exists() for path in harmed)
    assert site.works("cache", "verify").output.startswith("nothing damaged")
    assert site.build(out="again") == expected
    assert not validate.image(site.image(out="again"))
    site.works("lock", "app", "--update")
    site.repo.add("app", "2", files=PROGRAM, postinst="#!/bin/sh\ntrue\n")
    site.repo.publish()
    site.works("lock", "app", "--update")
    assert site.works("cache", "verify").output.startswith("nothing damaged")


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """A folder that even root cannot write to."""
    mount = ["mount", "--bind", str(folder), str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("this machine allows no mounts")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True)
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_store_that_can_only_be_read(site: Site) -> None:
    expected = site.build(out="expected")
    site.repo.add("app", "2", files=PROGRAM)
    site.repo.publish()
    with read_only(site.cache):
        # What is made already is enough for what only reads.
        assert site.build(out="again") == expected
        for reading in ("list", "inspect oci:again:app", "plan app", "cache", "validate oci:again:app"):
            site.works(*reading.split())
        for writing in ("lock app --update", "cache clean"):
            require_told(site.run(*writing.split()), str(site.cache), "Read-only file system")
    site.works("lock", "app", "--update")
    with read_only(site.cache):
        require_told(site.run("build", "app", "--to", "oci:new", cache=site.cache / "deeper"), str(site.cache))


def test_builds_at_once_share_their_work(site: Site) -> None:
    site.repo.add("app", "2", files=PROGRAM, postinst="#!/bin/sh\nsleep 1\necho made > /etc/made\n")
    site.repo.publish()
    expected = site.build(out="expected", cache=site.lock_elsewhere())
    with HttpServer(site.mirror) as server:
        site.env["IMGBUILD_MIRROR"] = server.uri
        server.spoil("app_2", Fault(pause=0.3), times=1)
        words = [("build", "app", "--locked", "--to", f"oci:out-{number}") for number in range(3)]
        with (
            running(*words[0], cache=site.cache, cwd=site.folder, env=site.env) as first,
            running(*words[1], cache=site.cache, cwd=site.folder, env=site.env) as second,
            running(*words[2], cache=site.cache, cwd=site.folder, env=site.env) as third,
        ):
            ended = [one.end(120) for one in (first, second, third)]
        assert [one.code for one in ended] == [0, 0, 0], [one.errors for one in ended]
        assert server.asked("app_2") == 1
    for number in range(3):
        assert {"app": site.image(out=f"out-{number}").digest} == expected
    require_tidy(site)
    logs = list((site.cache / "imgbuild/logs").iterdir())
    assert logs
