"""What is a change of a layer definition's text, and what of it others may know already."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from builder.formats import lockfile
from builder.model.lock import Grouping, Lock, LockedPackage, LockFile
from builder.pipeline import checking, reviewing
from builder.tools import process
from dsl import loading
from dsl.catalog import Catalog
from tests.kit.project import project

LAYER = """\
dsl: 1
layer: base
version: 1.0.9
summary: what all stand on
distribution: {id: tiny, version: "1", codename: stable}
sources:
  tiny: {apt: http://localhost/tiny, suites: [stable], keyring: key.gpg}
packages: {apt: [one, two]}
files:
  /etc/motd: {from: motd}
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A workspace with a layer definition that is locked."""
    files = {
        "imgbuild.yaml": "dsl: 1\nworkspace: site\ndefaults: {architecture: amd64}\n",
        "layers/base/layer.yaml": LAYER,
        "layers/base/motd": "hello\n",
        "layers/base/key.gpg": "",
    }
    folder = project(tmp_path / "site", files)
    lock(folder)
    return folder


def catalog(site: Path) -> Catalog:
    return loading.load(loading.find(site))


def lock(site: Path, *packages: LockedPackage) -> None:
    """Lock the layer definition as it is."""
    base = next(one for one in catalog(site).layers if one.name == "base")
    before = lockfile.read(base.lock_path).get("base", "amd64")
    made = Lock("base", "amd64", 1, "f", None, (), packages, (), (), Grouping(0, ()))
    made = replace(made, text=reviewing.kept(base, before))
    base.lock_path.write_text(lockfile.text(LockFile((made,))))


def edit(site: Path, old: str, new: str, name: str = "layers/base/layer.yaml") -> None:
    path = site / name
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def problems(site: Path) -> list[str]:
    return [problem.code for problem in checking.check(catalog(site), ()).problems]


def commit(site: Path) -> None:
    who = ("-c", "user.name=T", "-c", "user.email=t@localhost")
    for words in (("init", "-q"), ("add", "."), (*who, "commit", "-qm", "x")):
        process.run(["git", "-C", site, *words])


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [
        ("[one, two]", "[one, two, three]", "layers/base/layer.yaml"),
        ("packages:", "leave_out: [docs]\npackages:", "layers/base/layer.yaml"),
        ("hello", "bye", "layers/base/motd"),
    ],
)
def test_a_changed_text_wants_another_version(site: Path, old: str, new: str, name: str) -> None:
    edit(site, old, new, name)
    (problem,) = checking.check(catalog(site), ("base",)).problems
    assert problem.code == "unraised-version"
    assert (problem.place.file.name, problem.place.line) == ("layer.yaml", 3)
    assert problem.message == "base has changed since it was given version 1.0.9"
    assert "1.0.10, or 1.1.0 for what is new, or 2.0.0" in problem.hint
    lock(site)
    assert problems(site) == ["unraised-version"], "locking anew does not hide it"
    edit(site, "1.0.9", "1.1.0")
    assert problems(site) == []
    lock(site)
    edit(site, "1.1.0", "1.1.0 # the same")
    assert problems(site) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [("what all stand on", "other words"), ("[one, two]", "[two, one]"), ("files:", "\n\nfiles:")],
)
def test_words_and_order_are_no_change(site: Path, old: str, new: str) -> None:
    edit(site, old, new)
    assert problems(site) == []


def test_a_lock_that_says_nothing_of_it_holds(site: Path) -> None:
    path = site / "layers/base/lock.yaml"
    path.write_text("".join(line for line in path.read_text().splitlines(keepends=True) if "  text:" not in line))
    edit(site, "[one, two]", "[one]")
    assert problems(site) == []


def test_what_nobody_has_seen_may_still_change(site: Path) -> None:
    commit(site)
    edit(site, "1.0.9", "1.1.0")
    lock(site)
    edit(site, "[one, two]", "[one]")
    assert problems(site) == [], "1.1.0 is in no commit"
    lock(site)
    commit(site)
    edit(site, "[one]", "[one, four]")
    assert problems(site) == ["unraised-version"]


def test_sudo_by_dependency_is_told(site: Path) -> None:
    def package(name: str, why: str) -> LockedPackage:
        return LockedPackage(name, "1", "amd64", name, "1", "tiny", "stable", "x", 1, "0" * 64, why)

    lock(site, package("one", "asked for"), package("sudo", "one"))
    (notice,) = checking.check(catalog(site), ()).notices
    assert notice.message == "base 1.0.9 holds sudo, which lets its users become root: one → sudo"
    assert notice.place.line == 8
    edit(site, "packages:", "allow: {sudo: rootwrap asks for it}\npackages:")
    assert checking.check(catalog(site), ()).notices == ()
    edit(site, "allow: {sudo: rootwrap asks for it}", 'statoverrides: {/usr/bin/sudo: {mode: "0755"}}')
    assert checking.check(catalog(site), ()).notices == ()
    edit(site, '"0755"', '"4755"')
    assert len(checking.check(catalog(site), ()).notices) == 1
