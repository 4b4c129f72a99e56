"""memcached for runtimes that take neither a registry's nor an engine's form: its root under systemd-nspawn, and as an App
Container image that the specification's own program looks at."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.kit import debian_tools
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
