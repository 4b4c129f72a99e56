"""Git repositories as somebody keeps them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

SOMEBODY = {
    "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1",
    **{f"GIT_{who}_{what}": told for who in ("AUTHOR", "COMMITTER") for what, told in (("NAME", "T"), ("EMAIL", "t@localhost"))},
}  # fmt: skip
"""Who commits, whatever the machine's own configuration says."""


@dataclass(frozen=True, slots=True)
class Repository:
    """A working copy."""

    folder: Path

    def git(self, *words: str) -> str:
        """Run git here; it must end well."""
        env = {**os.environ, **SOMEBODY}
        done = subprocess.run(["git", "-C", self.folder, *words], env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def commit(self, text: str, files: Mapping[str, str] | None = None) -> str:
        """Commit all that lies here, and some files: the commit."""
        for name, said in (files or {}).items():
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_text(said)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", text)
        return self.git("rev-parse", "HEAD")

    def show(self, commit: str, name: str) -> str:
        """A file of a commit."""
        return self.git("show", f"{commit}:{name}")

    def branches(self) -> dict[str, str]:
        """All branches and their commits."""
        listed = self.git("for-each-ref", "--format=%(refname:short) %(objectname)", "refs/heads")
        return dict(line.split() for line in listed.splitlines())

    def state(self) -> tuple[object, ...]:
        """All that somebody who works here would miss: what is checked out, changed, staged, and each file."""
        index = Path(self.git("rev-parse", "--absolute-git-dir"), "index").read_bytes()
        files = {
            str(path.relative_to(self.folder)): path.read_bytes()
            for path in sorted(self.folder.rglob("*"))
            if path.is_file() and not {".git", "out"} & set(path.relative_to(self.folder).parts)
        }
        return (
            self.git("symbolic-ref", "HEAD"),
            self.git("rev-parse", "HEAD"),
            index,
            files,
            self.git("worktree", "list"),
        )


def made(folder: Path, files: Mapping[str, str] | None = None) -> Repository:
    """A repository in a folder, with what lies there committed on ``main``."""
    folder.mkdir(parents=True, exist_ok=True)
    found = Repository(folder)
    found.git("init", "--quiet", "--initial-branch=main")
    found.commit("first", files or {})
    return found


def cloned(upstream: Repository, folder: Path) -> Repository:
    """A fresh clone."""
    upstream.git("clone", "--quiet", str(upstream.folder), str(folder))
    return Repository(folder)
