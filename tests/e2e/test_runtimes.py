"""memcached for runtimes that take neither a registry's nor an engine's form: its root under systemd-nspawn, and as an App
Container image that the specification's own program looks at."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from builder.formats import tree
from builder.formats.tree import Tree
from tests.builder.transports.test_roots import root_of, without_groups
from tests.kit import debian_tools
from tests.kit.engines import Docker
from tests.kit.fleet import Fleet
from tests.kit.project import imgbuild

pytestmark = pytest.mark.e2e


def build(fleet: Fleet, target: str) -> None:
    """Build it into a place."""
    built = imgbuild("-C", str(fleet.site), "build", "memcached", "--to", target, cache=fleet.cache)
    assert built.code == 0, built.errors


def test_it_runs_under_nspawn(fleet: Fleet, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may give files to the users of an image")
    root = tmp_path / "memcached"
    build(fleet, f"rootfs:{root}")
    words = ["--quiet", "--register=no", "--keep-unit", "--private-network", "--user=memcache", f"--directory={root}"]
    done = subprocess.run(
        ["systemd-nspawn", *words, "/usr/bin/memcached", "--version"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("memcached 1.")


@pytest.mark.full
def test_the_specification_holds(fleet: Fleet, tmp_path: Path) -> None:
    """actool is the reference of the App Container specification; Debian 12 is the last that has it."""
    tools = debian_tools.tools(tmp_path / "tools", ["appc-spec"], layer="debian-12")
    folder = tmp_path / "aci"
    build(fleet, f"aci:{folder}")
    (image,) = folder.glob("*.aci")
    done = tools.run("actool", "validate", image)
    assert done.returncode == 0, done.stderr
    broken = tmp_path / "broken.aci"
    plain = subprocess.run(["gzip", "-dc", image], capture_output=True, check=True).stdout
    broken.write_bytes(plain.replace(b'"acKind": "ImageManifest"', b'"acKind": "ImageMenifest"', 1))
    assert tools.run("actool", "validate", broken).returncode != 0


@pytest.mark.full
def test_its_root_is_what_docker_makes(fleet: Fleet, docker: Docker, tmp_path: Path) -> None:
    """File by file: kinds, owners, modes, times, capabilities, links and contents."""
    build(fleet, f"aci:{tmp_path}/aci")
    (image,) = (tmp_path / "aci").glob("*.aci")
    container = docker("create", fleet.load(docker, "memcached")["memcached"]).strip()
    exported = tmp_path / "exported.tar"
    docker("export", "--output", str(exported), container)
    docker("rm", container)
    ours = without_docker(root_of(image, tmp_path))
    theirs = without_docker(tree.of_tar(exported, lambda _: False))
    assert {"usr/bin/memcached", "var/lib/dpkg/status"} <= ours.keys()
    assert ours.keys() == theirs.keys()
    differ = {path: (item, theirs[path]) for path, item in ours.items() if item != theirs[path]}
    assert differ == {}
    # Folders in which docker puts something are changed when it does so.
    times = {path: (item.mtime, theirs[path].mtime) for path, item in ours.items() if item.entry.type != "folder"}
    assert {path: pair for path, pair in times.items() if pair[0] != pair[1]} == {}


def without_docker(found: Tree) -> Tree:
    """A root without what docker puts into each container's own, and without the kind of a file that it writes into modes."""
    own = {".dockerenv", "etc/hostname", "etc/hosts", "etc/mtab", "etc/resolv.conf"}
    return {
        path: replace(item, entry=replace(item.entry, mode=item.entry.mode & 0o7777))
        for path, item in without_groups(found).items()
        if path not in own and path.partition("/")[0] not in ("dev", "proc", "sys")
    }
