"""Debian 12 and 13 as the machine that builds: another Python, apt, dpkg and kernel interface, the same image."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.kit.hosts import debian
from tests.kit.project import ROOT, imgbuild, take_kept

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.full,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root for other roots"),
]
TARGET = "memcached"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ships, checked out by itself: the program and its definitions, with locks that fit."""
    folder = tmp_path_factory.mktemp("hosts")
    site = folder / "site"
    for name in ("builder", "dsl", "layers", "repos", "tools"):
        shutil.copytree(ROOT / name, site / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("imgbuild", "imgbuild.yaml", "pyproject.toml"):
        shutil.copy(ROOT / name, site)
    take_kept(folder / "cache")
    return site


@pytest.fixture(scope="module")
def here(site: Path) -> str:
    """The digest that this machine makes."""
    words = ("-C", str(site), "build", TARGET, "--to", f"oci:{site}/out", "--json")
    result = imgbuild(*words, cache=site.parent / "cache")
    assert result.code == 0, result.errors + result.output
    (built,) = result.json["images"]
    return str(built["digest"])


@pytest.mark.parametrize("suite", ["bookworm", "trixie"])
def test_another_release_makes_the_same_image(suite: str, site: Path, here: str) -> None:
    cache = site.parent / f"cache-{suite}"
    shutil.copytree(site.parent / "cache/imgbuild/blobs", cache / "imgbuild/blobs", copy_function=os.link)
    shutil.rmtree(site / ".venv", ignore_errors=True)
    with debian(suite, site.parent, (site.parent,)) as host:
        told = host.run(
            "./imgbuild", "build", TARGET, "--locked", "--to", f"oci:{site.parent}/out-{suite}", "--json",
            cwd=site, env={"XDG_CACHE_HOME": str(cache)},
        )  # fmt: skip
        assert suite in host.run("cat", "/etc/os-release", cwd=Path("/"))
    (built,) = json.loads(told)["images"]
    assert built["digest"] == here
    assert built["layers_reused"] == 0
    # What one release made, another one's tools read.
    layout = f"oci:{site.parent}/out-{suite}:{built['image']}:{built['tag']}"
    found = subprocess.run(
        ["skopeo", "inspect", "--format", "{{.Digest}}", layout], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == here
