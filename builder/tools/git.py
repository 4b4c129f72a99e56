"""Git repositories at a commit, kept in the store."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from builder.errors import FetchError, UsageError
from builder.tools import process
from builder.tools.store import Store

_ENVIRONMENT = {"GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null"}
_AT_ONCE = 100


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


def head(folder: Path) -> str:
    """The commit that a folder is at; empty if there is none, or no git."""
    try:
        return _run(folder, "rev-parse", "--verify", "HEAD").text.strip()
    except (process.ProgramFailed, FileNotFoundError, TimeoutError):
        return ""


def shallow(folder: Path) -> bool | None:
    """Whether a repository lacks commits, as ``git clone --depth`` makes it; None if there is none, or no git."""
    try:
        return _run(folder, "rev-parse", "--is-shallow-repository").text.strip() == "true"
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


def identity(folder: Path) -> str:
    """Who would commit there, as ``name <address>``; empty if git does not know, or there is no git."""
    known = {
        name: value for name, value in os.environ.items() if name.startswith(("GIT_AUTHOR_", "HOME", "XDG_CONFIG"))
    }
    try:
        # Without it git makes an address up, of the names of user and machine.
        said = process.run(
            ["git", "-C", folder, "-c", "safe.directory=*", "-c", "user.useConfigOnly=true", "var", "GIT_AUTHOR_IDENT"],
            env=known, timeout=60,
        ).text  # fmt: skip
    except (process.ProgramFailed, FileNotFoundError, TimeoutError):
        return ""
    return said.rpartition(">")[0] + ">" if ">" in said else ""


@dataclass(frozen=True, slots=True)
class Change:
    """A commit that changed a file.

    Attributes:
        time: when it was committed, in seconds since 1970.
        file: from the top of the repository.
        blob: git's name of what the file holds since then; empty if it was removed.
    """

    commit: str
    time: int
    file: str
    blob: str


def history(folder: Path, patterns: Sequence[str], since: str = "") -> tuple[Change, ...] | None:
    """What was committed to some files, oldest first; None if the folder is in no repository, or there is no git.

    A merge is one commit, in which all that it brings is changed: what the branch that one is on has been.

    Args:
        patterns: pathspecs (gitglossary(7)), from the folder: ``lock.yaml``, ``:(top,glob)**/lock.yaml``.
        since: a commit after which it begins; from the first one if it is not known any more.
    """
    words = (
        "log",
        "--first-parent",
        "-m",
        "--reverse",
        "--raw",
        "--no-abbrev",
        "--no-renames",
        "-z",
        "--format=%H %ct",
    )
    try:
        _run(folder, "rev-parse", "--verify", "HEAD")
        known = since and _run(folder, "merge-base", "--is-ancestor", since, "HEAD", check=False).code == 0
        said = _run(folder, *words, *((f"{since}..HEAD",) if known else ()), "--", *patterns).text
    except (process.ProgramFailed, FileNotFoundError, TimeoutError):
        return None
    found: list[Change] = []
    commit, time = "", 0
    parts = iter(said.split("\0"))
    for part in parts:
        words_ = part.split()
        if part.lstrip("\n").startswith(":"):
            # :100644 100644 BLOB BLOB M, and the path by itself.
            gone = words_[4] == "D"
            found.append(Change(commit, time, next(parts), "" if gone else words_[3]))
        elif words_:
            commit, time = words_[0], int(words_[1])
    return tuple(found)


def changed(folder: Path, since: str) -> tuple[Path, ...]:
    """The files that are other than where this branch left another: in commits, not committed, or not known to git yet.

    Args:
        since: a branch, tag or commit: ``origin/main``.

    Raises:
        UsageError: the folder is in no repository, or there is no such commit.
    """
    try:
        top = Path(_run(folder, "rev-parse", "--show-toplevel").text.rstrip("\n"))
    except (process.ProgramFailed, FileNotFoundError):
        raise UsageError(f"{folder} is in no git repository, or there is no git") from None
    base = _run(folder, "merge-base", "--", since, "HEAD", check=False)
    if base.code:
        raise UsageError(
            f"git knows no commit that {since!r} and this one come from",
            "fetch it: a shallow clone lacks it (git fetch --unshallow, or fetch-depth: 0)",
        )
    names = _run(top, "diff", "--name-only", "--no-renames", "-z", base.text.strip()).stdout
    names += _run(top, "ls-files", "--others", "--exclude-standard", "-z").stdout
    return tuple(sorted({top / os.fsdecode(name) for name in names.split(b"\0") if name}))


def texts(folder: Path, blobs: Iterable[str]) -> Iterator[tuple[str, str]]:
    """What blobs hold, each with git's name of it; those that a shallow clone does not have are left out."""
    wanted = tuple(dict.fromkeys(blobs))
    # Years of locks do not fit into memory together.
    for first in range(0, len(wanted), _AT_ONCE):
        yield from _texts(folder, wanted[first : first + _AT_ONCE])


def _texts(folder: Path, blobs: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    said = _run(folder, "cat-file", "--batch", stdin="".join(f"{blob}\n" for blob in blobs).encode()).stdout
    at = 0
    while at < len(said):
        end = said.index(b"\n", at)
        # NAME TYPE SIZE, or NAME missing.
        words = said[at:end].split()
        at = end + 1
        if len(words) == 3:
            size = int(words[2])
            yield words[0].decode(), said[at : at + size].decode(errors="replace")
            at += size + 1


def text_at(file: Path, commit: str) -> str | None:
    """A file's text in a commit; None if it is not in there, or there is no such commit, or no git."""
    try:
        found = _run(file.parent, "show", f"{commit}:./{file.name}", check=False)
    except (process.ProgramFailed, FileNotFoundError, TimeoutError):
        return None
    return found.text if found.code == 0 else None


def _run(folder: Path, *words: str, check: bool = True, stdin: bytes = b"") -> process.Result:
    safe = ("-c", "safe.directory=*", "-c", "core.fsmonitor=false")
    return process.run(["git", "-C", folder, *safe, *words], env=_ENVIRONMENT, timeout=60, check=check, stdin=stdin)


def bundle(folder: Path, target: Path) -> None:
    """Write the commits that a folder's repository has checked out as a bundle (git-bundle(1)).

    Raises:
        UsageError: there is no commit, or no git.
    """
    try:
        branch = _run(folder, "symbolic-ref", "--quiet", "HEAD", check=False).text.split()
        _bundle(folder, target, "HEAD", *branch)
    except (process.ProgramFailed, FileNotFoundError) as error:
        raise UsageError(f"{folder}: its git repository cannot be bundled: {error}") from None


def _bundle(folder: Path, target: Path, *refs: str) -> None:
    # With one thread, the same commits are packed the same way.
    words = ("-c", "safe.directory=*", "-c", "pack.threads=1", "bundle", "create", "--quiet", str(target.absolute()))
    process.run(["git", "-C", folder, *words, *refs], env=_ENVIRONMENT, timeout=600)


def bundle_of(url: str, ref: str | None, commit: str, target: Path) -> None:
    """Write a bundle of a repository elsewhere, in which a commit is.

    Args:
        url, ref, commit: as of `checkout`.

    Raises:
        FetchError: git is missing, or the commit cannot be had.
    """
    bare = target.with_name(f"{target.name}.git")

    def git(*words: str) -> None:
        process.run(["git", *words], env=_ENVIRONMENT, timeout=600)

    try:
        git("init", "--quiet", "--bare", str(bare))
        git("-C", str(bare), "fetch", "--quiet", url, f"+{ref or 'HEAD'}:refs/heads/{ref or 'main'}")
        git("-C", str(bare), "cat-file", "-e", f"{commit}^{{commit}}")
        git("-C", str(bare), "symbolic-ref", "HEAD", f"refs/heads/{ref or 'main'}")
        _bundle(bare, target, "HEAD", f"refs/heads/{ref or 'main'}")
    except process.ProgramFailed as failed:
        message = f"{url}: commit {commit[:12]} cannot be fetched: {failed.result.errors}"
        raise FetchError(message, url, hint="does `ref` name a branch or tag that has it?") from None
    except FileNotFoundError:
        raise FetchError("git is not installed", url, hint="install git") from None


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
