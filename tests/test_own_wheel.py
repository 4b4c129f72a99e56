"""The wheel of imgbuild in repos/imgbuild is what a commit has, and knows the locks of this one. `tools/own-wheel` makes the next."""

from __future__ import annotations

import re
import subprocess
import zipfile

import pytest

from builder import __version__
from builder.model.lock import RULES
from tests.kit.project import ROOT

WHEELS = ROOT / "repos/imgbuild/wheels"


@pytest.fixture
def wheel() -> zipfile.ZipFile:
    """The only one there is."""
    (found,) = WHEELS.glob("*.whl")
    assert found.name == f"imgbuild-{__version__}-py3-none-any.whl"
    return zipfile.ZipFile(found)


def test_it_holds_what_the_commit_has(wheel: zipfile.ZipFile) -> None:
    commit = (WHEELS / "commit").read_text().strip()
    known = subprocess.run(
        ["git", "cat-file", "-e", f"{commit}^{{commit}}"], cwd=ROOT, capture_output=True, check=False
    )
    if known.returncode != 0:
        pytest.skip("a shallow clone does not have the commit")
    listed = subprocess.run(
        ["git", "ls-tree", "-r", commit, "builder", "dsl", "layers"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    blobs = {line.split("\t")[1]: line.split()[2] for line in listed.splitlines()}
    mine = [name for name in wheel.namelist() if ".dist-info/" not in name]
    assert {name for name in blobs if name.endswith(".py")} <= set(mine) <= blobs.keys()
    hashed = subprocess.run(
        ["git", "cat-file", "--batch"], cwd=ROOT, input="".join(f"{blobs[name]}\n" for name in mine).encode(),
        capture_output=True, check=True,
    ).stdout  # fmt: skip
    at = 0
    for name in mine:
        end = hashed.index(b"\n", at)
        size = int(hashed[at:end].split()[2])
        assert wheel.read(name) == hashed[end + 1 : end + 1 + size], name
        at = end + size + 2


def test_it_knows_the_rules_of_the_locks(wheel: zipfile.ZipFile) -> None:
    said = re.search(r"^RULES = (\d+)$", wheel.read("builder/model/lock.py").decode(), re.MULTILINE)
    assert said
    assert int(said[1]) == RULES, "rules were raised: run tools/own-wheel"
