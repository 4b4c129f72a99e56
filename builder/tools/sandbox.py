"""Where foreign scripts run: namespaces of their own, an overlay as root, no network, nothing of the host writable.

The first process inside is ``sandbox_init``; when the block ends, or this process dies, every process and mount of the
sandbox is gone. User and group ids 0-65535 are mapped to themselves, as root too, so that it makes no difference who
builds. Who is not root first becomes it in a user namespace (`as_root`), with the help of newuidmap.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import pwd
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from builder.errors import SandboxError
from builder.tools import sandbox_init
from builder.tools.process import PLAIN_ENVIRONMENT

IDS = 65536
"""How many user and group ids a sandbox has."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command in a sandbox ended; its output and errors in one, as they came.

    Attributes:
        code: negative for a signal.
        over: whether it was ended because it took too long.
    """

    code: int
    output: bytes
    over: bool = False

    @property
    def text(self) -> str:
        """The output as text."""
        return self.output.decode(errors="replace")


class Sandbox:
    """A root that is being changed: trees below, and an upper folder that takes what changes."""

    def __init__(
        self, child: subprocess.Popen[bytes], folder: Path, env: Mapping[str, str], log: BinaryIO | None
    ) -> None:
        self._child = child
        self._folder = folder
        self._env = env
        self._log = log
        self._mounts = 0

    @property
    def root(self) -> Path:
        """The root as seen from outside; absolute links in it lead elsewhere from there."""
        return Path(f"/proc/{self._child.pid}/root{self._folder}/root")

    def mount(self, lowers: Sequence[Path], upper: Path) -> None:
        """Make these trees the root, in place of those before.

        Args:
            lowers: unpacked trees, the topmost first.
            upper: takes what changes; on one file system with the sandbox's folder.
        """
        links = self._folder / f"lowers-{self._mounts}"
        links.mkdir()
        self._mounts += 1
        names = []
        for number, lower in enumerate(lowers):
            names.append(format(number, "x"))
            (links / names[-1]).symlink_to(lower)
        work = self._folder / "work"
        work.mkdir(exist_ok=True)
        paths = {"links": str(links), "upper": str(upper), "work": str(work)}
        if any(":" in path or "," in path for path in paths.values()):
            raise SandboxError(f"the store's folder has a colon or a comma in its name: {upper}")
        self._ask({"do": "mount", "lowers": names, **paths})

    def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        seconds: int = 900,
    ) -> Outcome:
        """Run a command in the root to its end; whatever it leaves running is ended then.

        Args:
            env: added to the sandbox's environment.
        """
        answer = self._ask(
            {
                "do": "run",
                "argv": list(argv),
                "env": {**PLAIN_ENVIRONMENT, "HOME": "/root", **self._env, **(env or {})},
                "stdin": base64.b64encode(stdin).decode(),
                "seconds": seconds,
            }
        )
        outcome = Outcome(answer["code"], base64.b64decode(answer["output"]), answer["over"])
        if self._log:
            self._log.write(f"$ {shlex.join(argv)}\n".encode(errors="surrogateescape") + outcome.output)
        return outcome

    def start(self) -> None:
        """Wait for the namespaces and map the ids."""
        pid = self._answer()["pid"]
        try:
            for name in ("uid_map", "gid_map"):
                Path(f"/proc/{pid}/{name}").write_text(f"0 0 {IDS}\n")
        except OSError as error:
            raise SandboxError(f"user ids cannot be mapped: {error}", _hint()) from error
        self._send(b"\n")
        self._answer()

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        self._send(json.dumps(request).encode() + b"\n")
        return self._answer()

    def _send(self, line: bytes) -> None:
        assert self._child.stdin is not None
        try:
            self._child.stdin.write(line)
            self._child.stdin.flush()
        except BrokenPipeError:
            raise SandboxError("the sandbox has ended") from None

    def _answer(self) -> dict[str, Any]:
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line:
            raise SandboxError("the sandbox has ended")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise SandboxError(f"the sandbox refused: {answer['error']}", _hint())
        return answer


@contextlib.contextmanager
def opened(folder: Path, env: Mapping[str, str] | None = None, log: BinaryIO | None = None) -> Iterator[Sandbox]:
    """A sandbox that is gone when the block ends.

    Args:
        folder: an empty folder for its own use, on the file system of the trees.
        env: of all commands, added to ``PLAIN_ENVIRONMENT``.
        log: is told of all commands and what they say.

    Raises:
        SandboxError: this machine does not allow it.
    """
    root = folder / "root"
    root.mkdir()
    program = [sys.executable, "-I", "-S", sandbox_init.__file__, str(root)]
    with subprocess.Popen(
        program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=PLAIN_ENVIRONMENT, start_new_session=True
    ) as child:
        try:
            sandbox = Sandbox(child, folder, env or {}, log)
            sandbox.start()
            yield sandbox
        finally:
            child.kill()


def as_root(argv: Sequence[str]) -> int | None:
    """Run a program, such as this one again, as root of a user namespace of its own, if we are not root already.

    Files that it makes belong to the user and the user's subordinate ids (`/etc/subuid`).

    Args:
        argv: begins with the program's path.

    Returns:
        Its exit code; None if we are root.

    Raises:
        SandboxError: this machine does not allow it.
    """
    if os.geteuid() == 0:
        return None
    user = pwd.getpwuid(os.getuid()).pw_name
    asked, told = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        try:
            sandbox_init.enter_user_namespace(asked[0], told[1])
            os.execv(argv[0], list(argv))
        except OSError as error:
            os.write(2, f"imgbuild: {error}\n".encode())
        os._exit(127)
    os.close(told[1])
    if os.read(told[0], 1) != b".":
        os.waitpid(child, 0)
        raise SandboxError("this user may not make a user namespace", _hint())
    for tool, own, file in (("newuidmap", os.getuid(), "/etc/subuid"), ("newgidmap", os.getgid(), "/etc/subgid")):
        first = _first_subordinate(Path(file), user)
        mapping = ["0", str(own), "1", "1", str(first), str(IDS - 1)]
        try:
            done = subprocess.run([tool, str(child), *mapping], capture_output=True, check=False)
        except FileNotFoundError:
            raise SandboxError(f"there is no {tool}", "install the package uidmap") from None
        if done.returncode:
            raise SandboxError(f"{tool} failed: {done.stderr.decode(errors='replace').strip()}", _hint())
    os.write(asked[1], b".")
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _first_subordinate(file: Path, user: str) -> int:
    with contextlib.suppress(FileNotFoundError):
        for line in file.read_text().splitlines():
            name, first, count = (*line.split(":"), "", "")[:3]
            if name in (user, str(os.getuid())) and int(count) >= IDS - 1:
                return int(first)
    raise SandboxError(f"{file} gives {user} no {IDS - 1} ids", f"usermod --add-subuids 100000-165535 {user}")


def _hint() -> str:
    return "imgbuild needs user namespaces: run it as root, or allow them (sysctl user.max_user_namespaces)"
