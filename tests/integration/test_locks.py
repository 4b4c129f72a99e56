"""Locks as people live with them."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from builder.formats import lockfile
from tests.kit.distribution import APP, Site

pytestmark = [pytest.mark.integration, pytest.mark.sampled(6)]
PROGRAM = {"usr/bin/app": "#!/bin/sh\n"}


def locked(site: Site, folder: str = "repos/app") -> dict[str, str]:
    """Packages and versions of a lock."""
    locks = lockfile.read(site.folder / folder / "lock.yaml").locks
    return {package.name: package.version for lock in locks for package in lock.packages}


def test_locking_twice_changes_nothing(site: Site) -> None:
    before = site.lock(), site.lock("layers/tiny")
    assert "unchanged" in site.works("lock", "app").output
    assert (site.lock(), site.lock("layers/tiny")) == before
    site.works("lock", "app", "--update")
    assert (site.lock(), site.lock("layers/tiny")) == before
    # A new index with another date, and another cache.
    site.repo.add("unrelated")
    site.repo.publish()
    site.works("lock", "app", cache=site.another_cache())
    assert (site.lock(), site.lock("layers/tiny")) == before


def test_check_tells_stale_locks_without_a_network(site: Site) -> None:
    site.mirror.rename(site.mirror.with_name("away"))
    assert site.works("lock", "app", "--check").output == "the locks fit\n"
    assert site.works("lock", "app", "--check", "--json").json == {"stale": {}}
    site.edit("repos/app/component.yaml", "[app]}\n    users", "[app, adduser]}\n    users")
    result = site.run("lock", "app", "--check")
    assert result.code == 3
    assert "app: the definition has changed" in result.errors
    assert site.run("lock", "app", "--check", "--json").json["stale"].keys() == {"app"}
    result = site.run("build", "app", "--locked")
    assert (result.code, "imgbuild lock app" in result.errors) == (1, True)


def test_a_change_below_is_told_for_all_above(site: Site) -> None:
    site.edit("layers/tiny/layer.yaml", "leave_out:", "packages: {apt: [debconf]}\nleave_out:")
    result = site.run("lock", "app", "--check", "--json")
    assert result.code == 3
    assert result.json["stale"].keys() == {"tiny", "app"}
    # A plain build locks what is missing, and keeps the rest.
    site.build()
    assert site.run("lock", "app", "--check").code == 0
    assert locked(site, "layers/tiny").keys() == {"tiny", "debconf", "perl-base"}


def test_update_moves_and_lock_keeps(site: Site) -> None:
    site.repo.add("app", "2", files=PROGRAM)
    site.repo.publish()
    site.works("lock", "app")
    assert locked(site) == {"app": "1"}
    assert "app 1 → 2" in site.works("lock", "app", "--update").output
    assert locked(site) == {"app": "2"}
    assert [(r.version, r.revision) for r in lockfile.read(site.folder / "repos/app/lock.yaml").revisions] == [("2", 1)]
    site.repo.add("app", "2-2", files={"usr/bin/app": "#!/bin/sh\n# mended\n"})
    site.repo.publish()
    site.works("lock", "app", "--update")
    assert [(r.version, r.revision) for r in lockfile.read(site.folder / "repos/app/lock.yaml").revisions] == [("2", 2)]


def test_a_wish_taken_away_drops_what_nothing_needs(site: Site) -> None:
    site.repo.add("big", depends="part, shared")
    site.repo.add("part")
    site.repo.add("shared")
    site.repo.add("app", "2", depends="shared", files=PROGRAM)
    site.repo.publish()
    site.edit("repos/app/component.yaml", "[app]}\n    users", "[app, big]}\n    users")
    site.works("lock", "app", "--update")
    assert locked(site).keys() == {"app", "big", "part", "shared"}
    site.edit("repos/app/component.yaml", "[app, big]", "[app]")
    site.works("lock", "app")
    assert locked(site).keys() == {"app", "shared"}


def test_regroup_groups_anew(site: Site) -> None:
    site.repo.add("one", source="openssl")
    site.repo.publish()
    site.edit("repos/app/component.yaml", "[app]}\n    users", "[app, one]}\n    users")
    site.works("lock", "app")
    kept = next(x.grouping for x in lockfile.read(site.folder / "repos/app/lock.yaml").locks)
    assert kept.alone == ()
    site.works("lock", "app", "--regroup")
    anew = next(x.grouping for x in lockfile.read(site.folder / "repos/app/lock.yaml").locks)
    assert anew.alone == ("openssl",)
    site.build()


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("definitions:\n", "<<<<<<< HEAD\ndefinitions:\n", "<<<<<<< HEAD", "merge"),
        ("definitions:\n", "definitions: [\n", "", "not YAML"),
        ('  fingerprint: "', '  fingerprints: "', "", "damaged"),
        ("lock: 1\n", "lock: 99\n", "", "damaged"),
    ],
)
def test_a_damaged_lock_is_told_at_its_place(site: Site, old: str, new: str, line: str, said: str) -> None:
    path = site.folder / "repos/app/lock.yaml"
    path.write_text(site.lock().replace(old, new, 1))
    result = site.run("build", "app")
    number = site.lock().splitlines().index(line) + 1 if line else 0
    assert result.code == 2
    assert f"{path}:{number or ''}" in result.errors
    assert said in result.errors
    assert "hint: " in result.errors
    for words in (("lock", "app", "--check"), ("plan", "app"), ("why", "app", "app"), ("outdated", "app")):
        again = site.run(*words)
        assert (again.code, "Traceback" in again.errors) == (2, False)


def test_two_builds_at_once_share_a_cache(site: Site) -> None:
    site.repo.add("app", "2", files=PROGRAM, postinst="#!/bin/sh\nsleep 0.3; echo made > /etc/app\n")
    site.repo.publish()
    site.lock_elsewhere()

    def build(number: int) -> dict[str, str]:
        return site.build(out=f"out-{number}")

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(build, range(2))
    assert first == second


def test_a_repo_by_git_stands_alone(site: Site, tmp_path: Path) -> None:
    def git(*words: str, folder: Path) -> str:
        identity = ("-c", "user.name=T", "-c", "user.email=t@localhost")
        result = subprocess.run(["git", "-C", folder, *identity, *words], capture_output=True, text=True, check=True)
        return result.stdout.strip()

    upstream = tmp_path / "upstream"
    upstream.mkdir()
    subprocess.run(["cp", "-a", site.folder / "layers", upstream], check=True)
    (upstream / "imgbuild.yaml").write_text("dsl: 1\nworkspace: upstream\n")
    git("init", "--quiet", folder=upstream)
    git("add", ".", folder=upstream)
    git("commit", "--quiet", "-m", "layers", folder=upstream)
    commit = git("rev-parse", "HEAD", folder=upstream)
    expected = site.build()

    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "component.yaml").write_text(APP)
    (alone / "lock.yaml").write_text(site.lock())
    uses = f"uses:\n- {{url: {upstream}, ref: master, commit: {commit}}}\n"
    (alone / "imgbuild.yaml").write_text(f"dsl: 1\nworkspace: alone\nrepos: [.]\n{uses}")
    result = site.run("build", "app", "--json", cwd=alone)
    assert result.code == 0, result.errors
    assert result.json["images"][0]["digest"] == expected["app"]

    # What is used is locked where it comes from: a change there is not ours to make.
    site.repo.add("app", "2", files=PROGRAM)
    site.repo.publish()
    tree = site.cache / "imgbuild/trees" / f"git-{commit}"
    before = {path: path.read_bytes() for path in tree.rglob("*.yaml")}
    result = site.run("lock", "app", "--update", cwd=alone)
    assert result.code == 0, result.errors
    assert {path: path.read_bytes() for path in tree.rglob("*.yaml")} == before
    assert '"app", "2"' in (alone / "lock.yaml").read_text()
    assert git("status", "--porcelain", folder=upstream) == ""
