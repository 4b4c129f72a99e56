"""A branch of one commit, with real git: what is ours is rewritten, what is somebody else's is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from builder.errors import BranchError, UsageError
from builder.tools import branches
from builder.tools.branches import Branch
from tests.kit import repositories
from tests.kit.repositories import Repository

NAME = "imgbuild/security-updates"


@pytest.fixture(autouse=True)
def somebody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Git knows who is at work."""
    for name, told in repositories.SOMEBODY.items():
        monkeypatch.setenv(name, told)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """A repository with a lock."""
    return repositories.made(tmp_path / "a site", {"lock.yaml": "r1\n", "README": "x\n"})


def night(repository: Repository, lock: str, base: str = "", author: str = "") -> Branch:
    """What becomes of the branch if the lock says this."""
    branches.require(repository.folder, NAME, author)
    checkout = branches.lay(repository.folder, repository.folder.parent / "copy", base)
    try:
        (checkout.at / "lock.yaml").write_text(lock)
        (checkout.at / "other").write_text("not asked for\n")
        return branches.put(
            checkout, NAME, [checkout.at / "lock.yaml", checkout.at / "none.yaml"], f"Fix {lock}", author
        )
    finally:
        branches.remove(checkout)


def test_one_commit_on_the_base(repository: Repository) -> None:
    (repository.folder / "lock.yaml").write_text("in work\n")
    (repository.folder / "README").write_text("staged\n")
    repository.git("add", "README")
    before = repository.state()
    found = night(repository, "r2\n", author="Images Bot <bot@acme.example>")
    assert (found.state, found.base, repository.branches()[NAME]) == ("made", "main", found.commit)
    assert repository.git("diff", "--name-only", "main", NAME) == "lock.yaml"
    assert repository.show(NAME, "lock.yaml") == "r2"
    told = repository.git("log", "-1", "--format=%an <%ae> %cn %P%n%B", NAME).splitlines()
    assert told[0] == f"Images Bot <bot@acme.example> Images Bot {repository.branches()['main']}"
    assert told[1:] == ["Fix r2", "", branches.MADE_BY]
    assert repository.state() == before
    assert not (repository.folder.parent / "copy").exists()


def test_it_is_rewritten_from_the_base(repository: Repository) -> None:
    first = night(repository, "r2\n")
    assert night(repository, "r2\n") == Branch(repository.folder, NAME, "main", "unchanged", first.commit)
    more = night(repository, "r2 and more\n")
    assert (more.state, repository.show(NAME, "lock.yaml")) == ("rewritten", "r2 and more")
    repository.commit("work goes on", {"README": "y\n"})
    moved = night(repository, "r2 and more\n")
    assert (moved.state, repository.git("rev-list", "--count", f"main..{NAME}")) == ("rewritten", "1")
    older = night(repository, "r3\n", base="main~1")
    assert (older.base, repository.git("rev-parse", f"{NAME}~1")) == ("main~1", repository.git("rev-parse", "main~1"))


def ahead(repository: Repository) -> None:
    repository.git("merge", "--quiet", "--ff-only", NAME)


def merge(repository: Repository) -> None:
    repository.commit("work goes on", {"README": "y\n"})
    repository.git("merge", "--quiet", "--no-ff", "--no-edit", NAME)


def squash(repository: Repository) -> None:
    repository.git("merge", "--quiet", "--squash", NAME)
    repository.git("commit", "--quiet", "--message", "squashed")
    repository.commit("work goes on", {"README": "y\n"})


def rebase(repository: Repository) -> None:
    repository.commit("work goes on", {"README": "y\n"})
    repository.git("cherry-pick", NAME)


@pytest.mark.parametrize("way", [ahead, merge, squash, rebase])
def test_what_was_merged_goes_away(way: Callable[[Repository], None], repository: Repository) -> None:
    night(repository, "r2\n")
    way(repository)
    found = night(repository, "r2\n")
    assert (found.state, found.commit, NAME in repository.branches()) == ("merged", "", False)
    assert night(repository, "r2\n").state == "none"
    # What comes next stands on what was merged.
    assert night(repository, "r3\n").state == "made"


def test_what_says_something_else_is_left(repository: Repository) -> None:
    first = night(repository, "r2\n")
    repository.commit("another way", {"lock.yaml": "r2 by hand\n"})
    found = night(repository, "r2 by hand\n")
    assert (found.state, found.commit, repository.branches()[NAME]) == ("left", first.commit, first.commit)
    assert "says something else" in found.told


def test_commits_of_others_are_not_lost(repository: Repository) -> None:
    night(repository, "r2\n")
    repository.git("switch", "--quiet", NAME)
    # Forges merge the base into it, at a button.
    repository.git("switch", "--quiet", "main")
    repository.commit("work goes on", {"README": "y\n"})
    repository.git("switch", "--quiet", NAME)
    repository.git("merge", "--quiet", "--no-edit", "main")
    repository.git("switch", "--quiet", "main")
    assert night(repository, "r3\n").state == "rewritten"
    repository.git("switch", "--quiet", NAME)
    theirs = repository.commit("a hand's work", {"note": "x\n"})
    repository.git("switch", "--quiet", "main")
    found = night(repository, "r4\n")
    assert (found.state, found.commit, repository.branches()[NAME]) == ("failed", "", theirs)
    assert "commits of others" in found.told
    # Nor is any other branch taken for it.
    repository.git("branch", "-D", NAME)
    repository.git("branch", NAME, "main")
    repository.git("switch", "--quiet", NAME)
    repository.commit("a feature", {"feature": "x\n"})
    repository.git("switch", "--quiet", "main")
    assert night(repository, "r5\n").state == "failed"


def test_a_fresh_clone_keeps_the_commit_that_was_pushed(repository: Repository, tmp_path: Path) -> None:
    first = night(repository, "r2\n")
    clone = repositories.cloned(repository, tmp_path / "clone")
    found = night(clone, "r2\n")
    assert (found.state, found.commit, clone.branches()[NAME]) == ("unchanged", first.commit, first.commit)
    assert night(clone, "r3\n").state == "rewritten"
    clone.git("push", "--quiet", "--force-with-lease", "origin", NAME)
    assert repository.show(NAME, "lock.yaml") == "r3"
    # Somebody pushes to it: the lease does not hold, and the next night knows.
    repository.git("switch", "--quiet", NAME)
    repository.commit("a hand's work", {"note": "x\n"})
    repository.git("switch", "--quiet", "main")
    assert night(clone, "r4\n").state == "rewritten"
    with pytest.raises(AssertionError, match="stale info"):
        clone.git("push", "--quiet", "--force-with-lease", "origin", NAME)
    clone.git("fetch", "--quiet")
    assert night(clone, "r4\n").state == "failed"
    # Merged there and gone here.
    repository.git("merge", "--quiet", NAME)
    clone.git("pull", "--quiet", "--ff-only")
    clone.git("branch", "-D", NAME)
    found = night(clone, "r3\n")
    assert (found.state, found.told) == ("merged", f"origin/{NAME} can be deleted")


def test_a_shallow_clone(repository: Repository, tmp_path: Path) -> None:
    repository.commit("work goes on", {"README": "y\n"})
    clone = Repository(tmp_path / "clone")
    repository.git("clone", "--quiet", "--depth=1", repository.folder.as_uri(), str(clone.folder))
    assert night(clone, "r2\n").state == "made"
    clone.git("push", "--quiet", "--force-with-lease", "origin", NAME)
    assert repository.show(NAME, "lock.yaml") == "r2"


def test_what_git_refuses_is_told(repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="no name of a branch"):
        branches.require(repository.folder, "no..name", "")
    with pytest.raises(UsageError, match="is not NAME <MAIL>"):
        branches.require(repository.folder, NAME, "nobody")
    with pytest.raises(UsageError, match="has no commit gone"):
        branches.lay(repository.folder, tmp_path / "copy", "gone")
    night(repository, "r2\n")
    repository.git("worktree", "add", "--quiet", str(tmp_path / "review"), NAME)
    with pytest.raises(BranchError, match=r"is checked out in .*review"):
        branches.require(repository.folder, NAME, "")
    for name in repositories.SOMEBODY:
        if name.startswith(("GIT_AUTHOR", "GIT_COMMITTER")):
            monkeypatch.delenv(name)
    with pytest.raises(BranchError, match="does not know who commits"):
        branches.require(repository.folder, "another", "")
    branches.require(repository.folder, "another", "Images <images@acme.example>")


def test_hooks_and_variables_of_others_do_not_matter(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    for hook in ("pre-commit", "post-checkout", "commit-msg", "reference-transaction"):
        file = repository.folder / ".git/hooks" / hook
        file.write_text("#!/bin/sh\nexit 1\n")
        file.chmod(0o755)
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("GIT_INDEX_FILE", "/nowhere/index")
    assert night(repository, "r2\n").state == "made"


def test_a_copy_that_was_left_over_is_no_hindrance(repository: Repository) -> None:
    copy = repository.folder.parent / "copy"
    branches.lay(repository.folder, copy)
    for file in sorted(copy.rglob("*"), reverse=True):
        file.unlink()
    copy.rmdir()
    assert night(repository, "r2\n").state == "made"
    assert repository.git("worktree", "list").count("\n") == 0


def test_where_there_is_no_repository(tmp_path: Path) -> None:
    assert branches.top(tmp_path) is None
    assert branches.top(tmp_path / "nowhere") is None
    repositories.Repository(tmp_path).git("init", "--quiet")
    with pytest.raises(UsageError, match="has no commit yet"):
        branches.lay(tmp_path, tmp_path.with_name("copy"))
