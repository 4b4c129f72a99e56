"""Git repositories at a commit, kept in the store."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from builder.errors import FetchError
from builder.tools import process
from builder.tools.store import Store

_ENVIRONMENT = {"GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null"}


@dataclass(frozen=True, slots=True)
class Origin:
    """The commit that some files are at.

    Attributes:
        url: of the repository that it came from; empty if there is none.
        dirty: whether one of the files is other than in the commit, or not in it.
    """

    url: str
    commit: str
    dirty: bool


def origin(folder: Path, files: Sequence[Path]) -> Origin | None:
    """The commit that a folder is at; None if it is in no repository, or there is no git.

    Args:
        files: those of them that are in the folder are looked at.
    """
    mine = [os.path.relpath(file, folder) for file in files if file.is_relative_to(folder)]

    def git(*words: str, check: bool = True) -> str:
        return _run(folder, *words, check=check).text.strip()

    try:
        commit = git("rev-parse", "--verify", "HEAD")
        url = git("remote", "get-url", "origin", check=False)
        return Origin(url, commit, bool(mine) and bool(git("status", "--porcelain", "--", *mine)))
    except (process.ProgramFailed, FileNotFoundError, TimeoutError):
        return None


def at_head(file: Path) -> str | None:
    """A file's text in the commit that its folder is at, empty if it is not in there; None if there is no commit, or no git."""

    try:
        _run(file.parent, "rev-parse", "--verify", "HEAD")
        found = _run(file.parent, "show", f"HEAD:./{file.name}", check=False)
        return found.text if found.code == 0 else ""
    except (process.ProgramFailed, FileNotFoundError, TimeoutError):
        return None


def _run(folder: Path, *words: str, check: bool = True) -> process.Result:
    safe = ("-c", "safe.directory=*", "-c", "core.fsmonitor=false")
    return process.run(["git", "-C", folder, *safe, *words], env=_ENVIRONMENT, timeout=60, check=check)


def checkout(url: str, ref: str | None, commit: str, store: Store) -> Path:
    """The files of a commit, fetched if the store does not have them.

    Args:
        url: what ``git fetch`` takes.
        ref: the branch or tag where the commit is found; servers that refuse single commits need it.
        commit: 40 hexadecimal digits.

    Raises:
        FetchError: git is missing, or the commit cannot be had.
    """
    found = store.tree(f"git-{commit}")
    if found:
        return found
    with store.making_tree(f"git-{commit}") as folder:

        def git(*words: str) -> None:
            process.run(["git", "-C", folder, *words], env=_ENVIRONMENT, timeout=600)

        try:
            git("init", "--quiet")
            try:
                git("fetch", "--quiet", "--depth=1", url, commit)
            except process.ProgramFailed:
                git("fetch", "--quiet", url, ref or "HEAD")
            git("checkout", "--quiet", "--detach", commit)
        except process.ProgramFailed as failed:
            message = f"{url}: commit {commit[:12]} cannot be fetched: {failed.result.errors}"
            raise FetchError(message, url, hint="does `ref` name a branch or tag that has it?") from None
        except FileNotFoundError:
            raise FetchError(
                "git is not installed", url, hint="install git, or take the entry out of `uses:`"
            ) from None
    tree = store.tree(f"git-{commit}")
    assert tree, "it was just made"
    return tree
