"""A copy that pip installs, in an environment of its own: it brings the layers that ship."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.kit.project import ROOT, project

pytestmark = pytest.mark.e2e

COMPONENT = """\
dsl: 1
component: shop
summary: a shop
version: "1.0"
images:
  shop:
    summary: a shop
    extends: debian-13 ^1.0
    users: {shop: {uid: 4000}}
    run: {command: [shop], user: shop}
"""


@pytest.fixture(scope="module")
def site_packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the installed copy lies; libraries are those of the tests."""
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run(["git", "clone", "--quiet", ROOT, folder / "source"], check=True)
    for name in ("dsl", "builder", "layers", "pyproject.toml", "README.md", "LICENSE"):
        # As it is now, not as it was committed.
        subprocess.run(["cp", "-r", "--", ROOT / name, folder / "source"], check=True)
    subprocess.run([sys.executable, "-m", "venv", folder / "env"], check=True)
    pip: list[str | Path] = [
        folder / "env/bin/python",
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        folder / "source",
    ]
    subprocess.run(pip, check=True)
    (found,) = (folder / "env/lib").glob("python3*/site-packages")
    (found / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return found


def test_everything_that_is_not_a_test_is_there(site_packages: Path) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "dsl", "builder", "layers"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    missing = [name for name in listed.stdout.splitlines() if not (site_packages / name).exists()]
    assert missing == []


def test_it_works_in_an_empty_folder(site_packages: Path, tmp_path: Path) -> None:
    program = site_packages.parent.parent.parent / "bin/imgbuild"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["XDG_CACHE_HOME"] = str(tmp_path / "cache")

    def run(*words: str) -> str:
        result = subprocess.run(
            [program, *words], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, result.stderr
        return result.stdout

    project(tmp_path / "shop", {"component.yaml": COMPONENT})
    assert run("-C", "shop", "check") == "1 components with 1 images: nothing wrong\n"
    assert json.loads(run("-C", "shop", "show", "debian-13", "--json"))["layer"] == "debian-13"
    # Debian's indexes are verified by the keyring that ships.
    assert "component: memcached" in run("-C", "shop", "init", "memcached", "--dry-run")
    assert "_IMGBUILD_COMPLETE" in run("completion", "bash")
