"""Ordinary users of this machine, made for a test and gone after it."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from builder.tools.process import run
from tests.kit.project import ROOT, Run

_ENTER = """
mount --bind "$1" "$4/.imgbuild" && mount --bind "$2" "$4/.env" || exit 99
user=$3
shift 4
exec setpriv --reuid "$user" --regid "$user" --init-groups -- "$@"
"""
"""The checkout and its environment may lie where only root may go: they are shown in the user's home."""


class User:
    """Somebody with a home, who runs programs.

    Attributes:
        ids: the user's number, and those of the subordinate ids.
    """

    def __init__(self, name: str, home: Path, ids: frozenset[int]) -> None:
        self.name, self.home, self.ids = name, home, ids

    def words(self, *argv: str) -> list[str]:
        """The command that runs a command as this user."""
        enter = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _ENTER, "sh"]
        return [*enter, str(ROOT), sys.prefix, self.name, str(self.home), *argv]

    def start(self, *argv: str, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Start a command as this user, as the head of a process group."""
        environment = {
            "PATH": os.environ["PATH"], "HOME": str(self.home), "USER": self.name, "LOGNAME": self.name,
            "PYTHONPATH": str(self.home / ".imgbuild"), "PYTHONDONTWRITEBYTECODE": "1",
        } | {name: value for name, value in os.environ.items() if _says_where(name)} | dict(env or {})  # fmt: skip
        words = ["env", "-C", str(cwd or self.home), *argv]
        return subprocess.Popen(
            self.words(*words), env=environment, text=True, process_group=0,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def run(self, *argv: str, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> Run:
        """Run a command as this user."""
        with self.start(*argv, cwd=cwd, env=env) as child:
            output, errors = child.communicate()
        assert child.returncode != 99, errors
        return Run(child.returncode, output, errors)

    @property
    def python(self) -> str:
        """The interpreter, as this user sees it."""
        return str(self.home / ".env/bin/python")

    @property
    def imgbuild(self) -> tuple[str, ...]:
        """The command line of imgbuild, as this user sees it."""
        return (self.python, "-P", "-m", "builder.cli.main")

    def gives(self, path: Path) -> Path:
        """A copy of a file or folder in this user's home, belonging to the user."""
        copy = self.home / path.name
        shutil.rmtree(copy, ignore_errors=True)
        run(["cp", "-r", "--no-preserve=ownership", path, copy])
        run(["chown", "-R", f"{self.name}:", copy])
        return copy

    def left_over(self, seconds: float = 5) -> dict[int, str]:
        """What still runs as this user after a moment in which the kernel and Python's helpers end."""
        deadline = time.monotonic() + seconds
        while (found := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return found

    def processes(self) -> dict[int, str]:
        """What runs as this user or as one of the subordinate ids."""
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with suppress(OSError):
                    status = dict(
                        line.split(":\t", 1) for line in (entry / "status").read_text().splitlines() if ":\t" in line
                    )
                    if int(status["Uid"].split()[0]) in self.ids and not status["State"].startswith("Z"):
                        found[int(entry.name)] = status["Name"]
        return found


def _says_where(name: str) -> bool:
    """Whether a variable names this site's mirrors or proxies."""
    return name.startswith("PIP_") or name == "IMGBUILD_MIRROR" or name.lower().endswith("_proxy")


@contextmanager
def user(*, subordinate: Iterable[tuple[int, int]] = ((0, 65536),), by_number: bool = False) -> Iterator[User]:
    """A new user.

    Args:
        subordinate: the subordinate ids: where each range begins, counted from a place that is free, and how long it is.
        by_number: they are given to the user's number instead of the name.
    """
    assert shutil.which("useradd"), "every Debian has useradd"
    name = f"t{secrets.token_hex(4)}"
    with alone():
        run(["useradd", "--create-home", "-K", "SUB_UID_COUNT=0", "-K", "SUB_GID_COUNT=0", name])
        home = Path(run(["getent", "passwd", name]).text.split(":")[5])
        number = int(run(["id", "-u", name]).text)
        # Above what useradd gives to anybody (SUB_UID_MAX).
        base = 700_000_000 + number * 200_000
        ranges = [(base + first, count) for first, count in subordinate]
        for file in ("subuid", "subgid"):
            with Path("/etc", file).open("a") as text:
                text.writelines(f"{number if by_number else name}:{first}:{count}\n" for first, count in ranges)
    try:
        for folder in (".imgbuild", ".env"):
            (home / folder).mkdir()
        ids = {number, *(one for first, count in ranges for one in range(first, first + count))}
        made = User(name, home, frozenset(ids))
        try:
            yield made
        finally:
            for pid in made.processes():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
    finally:
        with alone():
            for file in ("subuid", "subgid"):
                path = Path("/etc", file)
                lines = path.read_text().splitlines(keepends=True)
                path.write_text("".join(line for line in lines if not line.startswith((f"{name}:", f"{number}:"))))
            run(["userdel", "--force", "--remove", name])


@contextmanager
def alone() -> Iterator[None]:
    """Of several runs of tests, one at a time changes the users of the machine."""
    with Path("/run/lock/imgbuild-tests-users").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
