"""``imgbuild security watch``: the job of each night, whatever happens to it, in repositories where people work."""

from __future__ import annotations

import random
import shutil
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from builder import validate
from builder.tools import branches
from tests.integration.test_security_update import day0, tracker
from tests.kit import repositories
from tests.kit.distribution import APP, Site
from tests.kit.project import mounts_with, project, running
from tests.kit.repositories import Repository

pytestmark = [pytest.mark.integration, pytest.mark.sampled(6)]
__all__ = ["day0"]

NAME = "imgbuild/security-updates"
LOCKS = ["layers/middle/lock.yaml", "repos/app/lock.yaml"]


@pytest.fixture
def site(day0: Site) -> Site:
    """What is built is committed, and a fix has come; what a runner does not commit is not."""
    (day0.folder / ".gitignore").write_text("/out*/\n/tracker.json\n/*.md\n")
    repositories.made(day0.folder)
    day0.env |= repositories.SOMEBODY
    return day0


@pytest.fixture
def repository(site: Site) -> Repository:
    """Where the site is kept."""
    return Repository(site.folder)


def night(site: Site, *words: str, code: int = 0, cache: Path | None = None, cwd: Path | None = None) -> Any:
    """What a night says."""
    done = site.run("security", "watch", "--commit", "--json", *words, cache=cache, cwd=cwd)
    assert done.code == code, done.errors + done.output
    assert not list(((cache or site.cache) / "imgbuild/worktrees").iterdir())
    return done.json


def states(told: Any) -> list[str]:
    return [one["state"] for one in told["branches"]]


def fix(site: Site, name: str, version: str, *flaws: tuple[str, str, str]) -> None:
    """A fix is published, and the feed says so."""
    site.repo.add(name, version, files={f"usr/share/{name}": f"{name} {version}\n"})
    site.repo.publish()
    (site.folder / "tracker.json").write_text(tracker(*flaws))


def test_a_night(site: Site, repository: Repository, tmp_path: Path) -> None:
    # Somebody is in the middle of something.
    (site.folder / "repos/app/component.yaml").write_text("no: definition\n")
    (site.folder / "layers/middle/lock.yaml").write_text("half")
    site.write({"repos/new/component.yaml": APP, "staged": "x\n"})
    repository.git("add", "staged")
    before = repository.state()

    told = night(site, "--report", str(tmp_path / "report.md"))
    (branch,) = told["branches"]
    assert (branch["state"], branch["branch"], branch["base"]) == ("made", NAME, "main")
    assert [(one["image"], one["before"], one["after"]) for one in told["images"]] == [("app/app", "1-r2", "1-r3")]
    assert repository.git("diff", "--name-only", "main", NAME).split() == LOCKS
    assert repository.git("rev-parse", f"{NAME}~1") == repository.git("rev-parse", "main")
    text = repository.git("log", "-1", "--format=%B", NAME)
    assert text.splitlines()[0] == "Security update: lib"
    assert "| CVE-2026-1 | high | lib | 1 | 1.1 |" in text
    assert (tmp_path / "report.md").read_text().splitlines()[2:] == text.splitlines()[2:-2]
    assert repository.state() == before
    assert not validate.image(site.image())

    # The branch gives the same images elsewhere, and there is nothing to do on it.
    clone = repositories.cloned(repository, tmp_path / "clone")
    clone.git("switch", "--quiet", NAME)
    again = site.run("build", "--all", "--locked", "--json", cwd=clone.folder, cache=site.empty_cache())
    assert again.code == 0, again.errors
    digests = {one["image"]: one["digest"] for one in again.json["images"]}
    assert digests["app"] == site.image().digest
    assert site.run("lock", "--all", "--check", cwd=clone.folder).code == 0


def test_three_nights(site: Site, repository: Repository) -> None:
    first = night(site)["branches"][0]["commit"]
    assert states(night(site)) == ["unchanged"]
    assert repository.branches()[NAME] == first
    # Work goes on beside it, and a further fix comes.
    site.write({"README": "x\n"})
    repository.commit("work goes on")
    fix(site, "other", "2.1", ("lib", "CVE-2026-1", "1.1"), ("other", "CVE-2026-2", "2.1"))
    third = night(site)
    assert (states(third), third["sources"]) == (["rewritten"], ["lib", "other"])
    assert [(one["before"], one["after"]) for one in third["images"]] == [("1-r2", "1-r3")]
    assert repository.git("rev-list", "--count", f"main..{NAME}") == "1"
    lock = repository.show(NAME, "layers/middle/lock.yaml")
    assert ('"lib", "1.1"' in lock, '"other", "2.1"' in lock) == (True, True)
    assert not validate.image(site.image())

    repository.git("merge", "--quiet", NAME)
    merged = night(site)
    assert (states(merged), merged["sources"], NAME in repository.branches()) == (["merged"], [], False)
    assert states(night(site)) == ["none"]
    fix(site, "lib", "1.2", ("lib", "CVE-2026-3", "1.2"))
    assert [(one["before"], one["after"]) for one in night(site)["images"]] == [("1-r3", "1-r4")]


def test_on_a_new_runner(site: Site, repository: Repository, tmp_path: Path) -> None:
    night(site, "--to", "oci:out-first")
    # No store; the layout of the release before has the layers that a fix leaves alone.
    clone = repositories.cloned(repository, tmp_path / "clone")
    shutil.copytree(site.folder / "out", clone.folder / "out")
    shutil.copy(site.folder / "tracker.json", clone.folder)
    told = night(site, cwd=clone.folder, cache=site.empty_cache())
    assert (states(told), clone.branches()[NAME]) == (["unchanged"], repository.branches()[NAME])
    assert site.image(out=str(clone.folder / "out")).digest == site.image(out="out-first").digest


def test_two_at_once(site: Site, repository: Repository) -> None:
    words = ("security", "watch", "--commit", "--json")
    with running(*words, cache=site.cache, cwd=site.folder, env=site.env) as first:
        first.until(lambda: any((site.cache / "imgbuild/worktrees").glob("*")))
        second = site.run(*words)
        assert (second.code, "is at work" in second.json["busy"]) == (0, True), second.errors
        done = first.end()
    assert (done.code, states(done.json)) == (0, ["made"])
    # Runners that share nothing but the repository.
    repository.git("branch", "-D", NAME)
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda n: site.run(*words, "--to", f"oci:out-{n}", cache=site.another_cache()), range(2)))
    assert NAME in repository.branches()
    assert {one.code for one in both} <= {0, 1}
    assert 0 in {one.code for one in both}
    assert all("cannot be moved" in one.output for one in both if one.code)
    assert repository.git("worktree", "list").count("\n") == 0


def killed(site: Site, repository: Repository, moments: int, *words: str) -> None:
    """Kill nights at moments by chance; the next one gives what one gives that nobody kills."""
    command = ("security", "watch", "--json", *words)
    began = time.monotonic()
    with running(*command, cache=site.another_cache(), cwd=site.folder, env=site.env) as run:
        assert run.end().code == 0
    whole = time.monotonic() - began
    committed = "--commit" in words

    def result() -> tuple[list[str], str]:
        texts = [repository.show(NAME, x) if committed else (site.folder / x).read_text().strip() for x in LOCKS]
        return texts, site.image().digest

    def begin() -> None:
        shutil.rmtree(site.folder / "out")
        repository.git("checkout", "--quiet", "--", ".")
        if NAME in repository.branches():
            repository.git("branch", "--quiet", "-D", NAME)

    expected = result()
    chance = random.Random(6)
    for _ in range(moments):
        begin()
        cache = site.another_cache()
        before = repository.state()
        with running(*command, cache=cache, cwd=site.folder, env=site.env) as run:
            time.sleep(chance.random() * whole)
            run.signal(signal.SIGKILL)
            run.end()
            assert run.left_over() == {}
        if committed:
            assert repository.state()[:4] == before[:4]
            assert repository.branches().get(NAME, "") in (
                "",
                repository.git("rev-parse", "--verify", "main^{commit}"),
            ) or (result()[0] == expected[0])
        again = site.run(*command, cache=cache)
        assert again.code == 0, again.errors + again.output
        assert result() == expected
        assert not validate.image(site.image())
        assert mounts_with(str(cache)) == []
        assert repository.git("worktree", "list").count("\n") == 0
        assert not list((cache / "imgbuild/worktrees").glob("*"))


def test_killed_at_any_point(site: Site, repository: Repository) -> None:
    killed(site, repository, 3, "--commit")


@pytest.mark.full
def test_killed_at_many_points(site: Site, repository: Repository) -> None:
    killed(site, repository, 40, "--commit")


@pytest.mark.full
def test_killed_where_the_locks_are_left_in_the_working_copy(site: Site, repository: Repository) -> None:
    killed(site, repository, 20)


def test_checkouts_of_their_own(site: Site, tmp_path: Path) -> None:
    # One in the workspace, one beside it, one as a submodule; all from one report.
    shutil.rmtree(site.folder / ".git")
    places = {"app": site.folder / "repos/app", "second": site.folder.parent / "components/second"}
    places["second"].parent.mkdir()
    (site.folder / "repos/second").rename(places["second"])
    site.edit("imgbuild.yaml", "workspace: site\n", "workspace: site\nrepos: [repos, ../components]\n")
    site.write({".gitignore": "/out*/\n/tracker.json\n/*.md\n/repos/app/\n"})
    own = {name: repositories.made(place) for name, place in places.items()}
    layers = repositories.made(tmp_path / "layers", {"README": "x\n"})
    shutil.copytree(site.folder / "layers/middle", layers.folder / "middle")
    layers.commit("middle")
    shutil.rmtree(site.folder / "layers/middle")
    outer = repositories.made(site.folder)
    outer.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(layers.folder), "shared")
    site.edit("imgbuild.yaml", "feeds:", "layers: [layers, shared]\nfeeds:")
    outer.commit("layers by a submodule")
    before = [one.state() for one in own.values()]

    told = night(site)
    found = {one["repository"]: one["state"] for one in told["branches"]}
    inner = Repository(site.folder / "shared")
    assert found == {
        str(site.folder): "none", str(inner.folder): "made", str(places["app"]): "made", str(places["second"]): "none",
    }  # fmt: skip
    assert inner.git("diff", "--name-only", "HEAD", NAME) == "middle/lock.yaml"
    assert own["app"].git("diff", "--name-only", "main", NAME) == "lock.yaml"
    texts = {one.git("log", "-1", "--format=%B", NAME) for one in (inner, own["app"])}
    assert (len(texts), "CVE-2026-1" in texts.pop()) == (1, True)
    assert [one.state() for one in own.values()] == before
    assert outer.git("status", "--porcelain") == ""
    assert states(night(site)).count("unchanged") == 2


def test_what_is_pinned_is_only_reported(site: Site, repository: Repository, tmp_path: Path) -> None:
    upstream = repositories.made(tmp_path / "upstream", {"imgbuild.yaml": "dsl: 1\nworkspace: upstream\n"})
    shutil.copytree(site.folder / "layers", upstream.folder / "layers")
    commit = upstream.commit("layers")
    uses = f"uses:\n- {{url: ../../upstream, ref: main, commit: {commit}}}\n"
    shutil.rmtree(site.folder / "layers")
    site.edit("imgbuild.yaml", "feeds:", f"layers: []\n{uses}feeds:")
    repository.commit("layers of others")
    assert (site.folder / "../../upstream").resolve() == upstream.folder
    # Nothing of it is in the store.
    told = night(site, cache=site.empty_cache())
    assert (told["sources"], states(told)) == ([], ["none"])
    assert [(one["definition"], one["package"], one["fixed"]) for one in told["pinned"]] == [("middle", "lib", "1.1")]
    # What is ours moves all the same.
    fix(site, "app", "1.1", ("lib", "CVE-2026-1", "1.1"), ("app", "CVE-2026-2", "1.1"))
    told = night(site)
    assert (told["sources"], states(told), len(told["pinned"])) == (["app"], ["made"], 1)
    assert repository.git("diff", "--name-only", "main", NAME).split() == [
        "repos/app/lock.yaml",
        "repos/second/lock.yaml",
    ]


def test_what_does_not_build_makes_no_branch(site: Site, repository: Repository) -> None:
    # What stands on the fix does not bear it: its own script looks.
    site.repo.add(
        "app", "2", postinst="#!/bin/sh\ngrep -q '^lib 1$' /usr/lib/lib.so\n", files={"usr/bin/app": "#!/bin/sh\n"}
    )
    site.repo.publish()
    site.works("lock", "app", "--update")
    repository.commit("app 2")
    told = night(site, code=1)
    assert (told["branches"], list(repository.branches())) == ([], ["main"])
    assert [one.startswith("app: ") for one in told["faults"]] == [True]


def test_a_fix_that_cannot_be_configured_keeps_no_other(site: Site, repository: Repository) -> None:
    site.repo.add("lib", "1.2", postinst="#!/bin/sh\necho broken fix\nexit 1\n")
    fix(site, "other", "2.1", ("lib", "CVE-2026-1", "1.2"), ("other", "CVE-2026-2", "2.1"))
    told = night(site, code=1)
    assert (states(told), list(told["failed"])) == (["made"], ["lib"])
    assert '"other", "2.1"' in repository.show(NAME, "layers/middle/lock.yaml")


def test_a_fix_that_cannot_be_had_keeps_no_other(site: Site, repository: Repository) -> None:
    site.repo.add("lib", "1.2", depends="nowhere")
    fix(site, "other", "2.1", ("lib", "CVE-2026-1", "1.2"), ("other", "CVE-2026-2", "2.1"))
    told = night(site, code=1)
    assert (states(told), list(told["failed"])) == (["made"], ["lib"])
    assert "Not possible now" in repository.git("log", "-1", "--format=%B", NAME)


def test_what_cannot_be_read_keeps_no_other(site: Site, repository: Repository) -> None:
    site.write({"repos/second/component.yaml": "dsl: 1\ncomponent: second\nimages: 7\n"})
    repository.commit("a mistake")
    told = night(site, code=1)
    assert states(told) == ["made"]
    assert [one.startswith(f"{site.folder}/repos/second/component.yaml:") for one in told["broken"]]


def test_in_the_working_copy(site: Site, repository: Repository) -> None:
    head = repository.git("rev-parse", "HEAD")
    told = site.works("security", "watch", "--json").json
    assert (told["branches"], told["sources"], repository.branches()) == ([], ["lib"], {"main": head})
    changed = repository.git("status", "--porcelain").split("\n")
    assert [line.split()[-1] for line in changed] == LOCKS
    assert site.works("security", "watch", "--json").json["sources"] == []
    # It needs no git, and images that are not built yet are.
    repository.git("checkout", "--quiet", "--", ".")
    shutil.rmtree(site.folder / ".git")
    site.works("lock", "--all", "--regroup")
    shutil.rmtree(site.folder / "out")
    assert site.works("security", "watch", "--json").json["sources"] == ["lib"]
    assert not validate.image(site.image())


def test_what_stands_in_the_way_is_told(site: Site, repository: Repository, tmp_path: Path) -> None:
    def fails(code: int, message: str, *words: str) -> None:
        done = site.run("security", "watch", *words)
        assert (done.code, message in done.errors) == (code, True), done.errors
        assert "imgbuild/worktrees" not in done.errors

    fails(2, "say --commit", "--branch", "x")
    fails(2, "has no commit nowhere", "--commit", "--base", "nowhere")
    fails(2, "is not NAME <MAIL>", "--commit", "--author", "me")
    repository.git("branch", "next")
    fails(2, "next cannot stand on itself", "--commit", "--branch", "next", "--base", "next")
    site.edit("repos/app/component.yaml", "apt: [app]", "apt: [app, adduser]")
    repository.commit("not locked")
    fails(1, "run `imgbuild lock app`", "--commit")
    site.write({"imgbuild.yaml": "dsl: 2\n"})
    repository.commit("a mistake")
    fails(2, f"{site.folder}/imgbuild.yaml:1:", "--commit")
    repository.git("switch", "--quiet", "--create", NAME)
    fails(1, f"{NAME} is checked out in {site.folder}", "--commit")
    alone = tmp_path / "alone"
    project(alone, {"component.yaml": APP})
    done = site.run("security", "watch", "--commit", cwd=alone)
    assert (done.code, "lies in no git repository" in done.errors) == (2, True), done.errors
    assert branches.top(alone) is None
