"""A git branch of one commit, made anew each time beside whoever works in the repository.

A commit is checked out in a folder of its own, files are changed there, and a branch is set to what came of it. Neither the
working copy nor the index of the repository is read or written, and none of its hooks run.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from builder.errors import BranchError, UsageError
from builder.tools import process

MADE_BY = "Made-by: imgbuild security watch"
"""The last line of each commit: what does not end so is somebody else's."""
_OPTIONS = ("-c", "safe.directory=*", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null")
_HANDED_ON = re.compile(
    r"HOME|XDG_CONFIG_HOME|USER|LOGNAME|EMAIL|GNUPGHOME|SSH_AUTH_SOCK|GIT_(AUTHOR|COMMITTER|CONFIG)_?\w*"
)
"""What git finds its configuration and the author by; not GIT_DIR and its like, which hooks are given."""
_AUTHOR = re.compile(r"\s*([^<>\n]*[^<>\s])\s*<([^<>\s]+)>\s*")
FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Checkout:
    """A commit of a repository, checked out in a folder of its own.

    Attributes:
        top: the repository's own folder.
        at: the folder where the commit lies.
        base: what the commit was asked for by.
    """

    top: Path
    at: Path
    commit: str
    base: str


@dataclass(frozen=True, slots=True)
class Branch:
    """What became of a branch.

    Attributes:
        state: ``made``, ``rewritten``, ``unchanged`` (it says the same already), ``failed`` (``told`` says why); and if
            there is nothing to say: ``none``, ``merged`` (so it is removed) or ``left`` (it says something else than its base).
        commit: its own; empty if there is none.
        told: what a person should know beside that.
    """

    top: Path
    name: str
    base: str
    state: str
    commit: str = ""
    told: str = ""

    def data(self) -> dict[str, str]:
        """For machines."""
        return {
            "repository": str(self.top), "branch": self.name, "base": self.base, "state": self.state,
            "commit": self.commit, "told": self.told,
        }  # fmt: skip


def top(folder: Path) -> Path | None:
    """The working copy that a folder lies in, without symbolic links; None if it is in none.

    Raises:
        BranchError: git is not installed.
    """
    if not folder.is_dir():
        return None
    found = _git(folder, "rev-parse", "--show-toplevel", check=False)
    return Path(found.text.rstrip("\n")) if found.code == 0 and found.text.strip() else None


def require(top_: Path, name: str, author: str) -> None:
    """See that a branch can be made, before there is anything to put on it.

    Args:
        author: ``Name <mail>``; empty for whom git's configuration says.

    Raises:
        UsageError: the name or the author is none.
        BranchError: git does not know who is at work, or the branch is somebody's working copy.
    """
    if _git(top_, "check-ref-format", "--branch", name, check=False).code != 0:
        raise UsageError(f"{name!r} is no name of a branch")
    identity = _identity(author)
    if _git(top_, "var", "GIT_COMMITTER_IDENT", check=False, env=identity).code != 0:
        raise BranchError(
            "git does not know who commits",
            'say --author "NAME <MAIL>", or `git config --global user.name NAME` and `user.email MAIL`',
        )
    for folder, branch in _working_copies(top_):
        if branch == f"refs/heads/{name}":
            raise BranchError(
                f"{name} is checked out in {folder}: it would change under who works there",
                f"leave it: git -C {folder} switch MAIN; or make another branch: --branch NAME",
            )


def lay(top_: Path, at: Path, base: str = "") -> Checkout:
    """Check a commit out in a folder that is not there yet.

    Args:
        base: a branch or a commit; empty for what is checked out in the repository.

    Raises:
        UsageError: there is no such commit.
    """
    found = _git(top_, "rev-parse", "--verify", "--quiet", f"{base or 'HEAD'}^{{commit}}", check=False)
    if found.code != 0:
        raise UsageError(f"{top_} has no commit {base or 'yet'}", "name a branch that is there: --base NAME")
    commit = found.text.strip()
    at.parent.mkdir(parents=True, exist_ok=True)
    # --force: what a killed run had laid there may still be in git's list.
    _git(top_, "worktree", "add", "--quiet", "--force", "--detach", at, commit)
    named = base or _git(top_, "symbolic-ref", "--quiet", "--short", "HEAD", check=False).text.strip() or commit[:12]
    return Checkout(top_, at, commit, named)


def remove(checkout: Checkout) -> None:
    """Take the folder away, and what git remembers of it."""
    with contextlib.suppress(BranchError):
        _git(checkout.top, "worktree", "remove", "--force", checkout.at, check=False)
    shutil.rmtree(checkout.at, ignore_errors=True)


def put(checkout: Checkout, name: str, files: Iterable[Path], message: str, author: str = "") -> Branch:
    """Set a branch to one commit on top of the base, with some files as they are in the checkout now.

    A branch that says the same already keeps its commit, so that whoever has reviewed it need not do it again; one that a
    remote is known to have counts, too. If the files are as in the base, a branch that was merged is removed, and any other
    one left.

    Args:
        files: those that may have changed.
        message: without the line that tells who made it.
    """
    there = [str(file.relative_to(checkout.at)) for file in files if file.exists()]
    try:
        return _put(checkout, name, there, message, author)
    except BranchError as error:
        told = f"{error.message}; {error.hint}".removesuffix("; ")
        return Branch(checkout.top, name, checkout.base, FAILED, told=told)


def _put(checkout: Checkout, name: str, files: list[str], message: str, author: str) -> Branch:
    top_, ref = checkout.top, f"refs/heads/{name}"
    if files:
        _git(checkout.at, "add", "--", *files)
    tree = _git(checkout.at, "write-tree").text.strip()
    tips = dict(_tips(top_, name))
    old = tips.get(ref, "")
    if tree == _git(top_, "rev-parse", f"{checkout.commit}^{{tree}}").text.strip():
        return _without(Branch(top_, name, checkout.base, "none", old), checkout.commit, tips)
    text = f"{message.strip()}\n\n{MADE_BY}\n"
    for one, tip in tips.items():
        if not _merged(top_, checkout.commit, tip) and not _ours(top_, tip):
            raise BranchError(
                f"{one} has commits of others, which would be lost: {tip[:12]} is not of this command",
                "merge it, or delete it, or make another one: --branch NAME",
            )
    # The message does not count: what is told beside the change depends on what a runner has at hand.
    same = next((tip for tip in tips.values() if _says(top_, tip)[:2] == (checkout.commit, tree)), "")
    commit = same or _commit(checkout, text, author)
    if commit != old:
        _move(top_, ref, commit, old)
    state = "unchanged" if same else "rewritten" if tips else "made"
    return Branch(top_, name, checkout.base, state, commit)


def _without(branch: Branch, base: str, tips: dict[str, str]) -> Branch:
    """There is nothing to put on it."""
    ref, top_ = f"refs/heads/{branch.name}", branch.top
    if not tips:
        return branch
    merged = {one: _merged(top_, base, tip) for one, tip in tips.items()}
    elsewhere = " and ".join(one.removeprefix("refs/remotes/") for one in tips if one != ref)
    if not all(merged.values()):
        told = f"nothing is to be done on {branch.base}, but {' and '.join(tips)} says something else: look at it, and delete it"
        return Branch(top_, branch.name, branch.base, "left", branch.commit, told)
    if ref in tips:
        _git(top_, "update-ref", "-d", ref, tips[ref])
    return Branch(top_, branch.name, branch.base, "merged", told=f"{elsewhere} can be deleted" if elsewhere else "")


def _commit(checkout: Checkout, text: str, author: str) -> str:
    words = ("commit", "--quiet", "--no-verify", "--cleanup=verbatim", "--file=-")
    _git(checkout.at, *words, stdin=text.encode(), env=_identity(author))
    return _git(checkout.at, "rev-parse", "HEAD").text.strip()


def _move(top_: Path, ref: str, commit: str, old: str) -> None:
    moved = _git(top_, "update-ref", "-m", MADE_BY, ref, commit, old, check=False)
    if moved.code != 0:
        raise BranchError(
            f"{ref} of {top_} cannot be moved: {moved.errors}", "somebody else may be at work: run it again"
        )


def _tips(top_: Path, name: str) -> Iterator[tuple[str, str]]:
    """The branch here, and as each remote is known to have it."""
    listed = _git(top_, "for-each-ref", "--format=%(refname) %(objectname)", f"refs/heads/{name}", "refs/remotes")
    for line in listed.text.splitlines():
        ref, _, commit = line.partition(" ")
        if ref == f"refs/heads/{name}" or ref.removeprefix("refs/remotes/").partition("/")[2] == name:
            yield ref, commit


def _says(top_: Path, commit: str) -> tuple[str, str, str]:
    """Parents, tree and message of a commit."""
    parents, tree, text = _git(top_, "log", "-1", "--format=%P%n%T%n%B", commit).text.split("\n", 2)
    return parents, tree, text.strip()


def _ours(top_: Path, commit: str) -> bool:
    """Whether this command made a commit; merges into it, as forges make them to keep a branch up to date, aside."""
    while True:
        parents, _, text = _says(top_, commit)
        if len(parents.split()) < 2:
            return text.endswith(MADE_BY)
        commit = parents.split()[0]


def _merged(top_: Path, base: str, tip: str) -> bool:
    """Whether a branch is in its base: its commits, or what they changed."""
    if _git(top_, "merge-base", "--is-ancestor", tip, base, check=False).code == 0:
        return True
    changed = _git(top_, "diff", "--name-only", "-z", f"{base}...{tip}", check=False)
    if changed.code != 0:
        return False  # a shallow clone does not know where they parted
    names = [name for name in changed.text.split("\0") if name]
    return not names or _git(top_, "diff", "--quiet", base, tip, "--", *names, check=False).code == 0


def _working_copies(top_: Path) -> Iterator[tuple[str, str]]:
    """The folder and the branch of each working copy of a repository."""
    for told in _git(top_, "worktree", "list", "--porcelain").text.split("\n\n"):
        fields = dict(line.partition(" ")[::2] for line in told.splitlines())
        yield fields.get("worktree", ""), fields.get("branch", "")


def _identity(author: str) -> dict[str, str]:
    if not author:
        return {}
    found = _AUTHOR.fullmatch(author)
    if not found:
        raise UsageError(f"--author: {author!r} is not NAME <MAIL>", 'say --author "Images <images@acme.example>"')
    return {f"GIT_{who}_{what}": found[n] for who in ("AUTHOR", "COMMITTER") for n, what in ((1, "NAME"), (2, "EMAIL"))}


def _git(
    folder: Path, *words: str | Path, check: bool = True, stdin: bytes = b"", env: dict[str, str] | None = None
) -> process.Result:
    mine = {name: value for name, value in os.environ.items() if _HANDED_ON.fullmatch(name)}
    argv = ["git", "-C", folder, *_OPTIONS, *words]
    try:
        return process.run(
            argv, env={**mine, "GIT_TERMINAL_PROMPT": "0", **(env or {})}, stdin=stdin, timeout=600, check=check
        )
    except FileNotFoundError:
        raise BranchError("git is not installed", "install git") from None
    except (process.ProgramFailed, TimeoutError) as error:
        said = error.result.errors if isinstance(error, process.ProgramFailed) else str(error)
        raise BranchError(f"{folder}: git {words[0]} failed: {said}") from None
