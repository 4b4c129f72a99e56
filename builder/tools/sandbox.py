"""Where foreign scripts run: namespaces of their own, an overlay as root, no network, nothing of the host writable.

The first process inside is ``sandbox_init``; when the block ends, or this process dies, every process and mount of the
sandbox is gone. User and group ids 0-65535 are mapped to themselves, as root too, so that it makes no difference who
builds. Who is not root works here as root of a user namespace already (``rootless``).
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from builder.errors import SandboxError, UsageError
from builder.tools import machine, sandbox_init
from builder.tools.process import PLAIN_ENVIRONMENT

PATIENCE = "IMGBUILD_SCRIPT_TIMEOUT"
_PATIENCE = 900


def patience() -> int:
    """After how many seconds a command is ended.

    Raises:
        UsageError: who runs us wants something that is no number.
    """
    wanted = os.environ.get(PATIENCE) or str(_PATIENCE)
    if not wanted.isdecimal() or not 0 < int(wanted) < 1 << 31:
        raise UsageError(f"{PATIENCE}={wanted}: that is no number of seconds", f"without it, it is {_PATIENCE}")
    return int(wanted)


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
        self._names: dict[Path, str] = {}

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
        self._mounts += 1
        links = {}
        for lower in lowers:
            if lower not in self._names:
                self._names[lower] = format(len(self._names), "x")
                links[self._names[lower]] = str(lower)
        # An overlay that writes nothing to the disk when asked to leaves a mark in it that no other may find.
        work = self._folder / f"work-{self._mounts}"
        work.mkdir()
        paths = {"upper": str(upper), "work": str(work)}
        if any(":" in path or "," in path for path in paths.values()):
            raise SandboxError(f"the store's folder has a colon or a comma in its name: {upper}")
        self._ask({"do": "mount", "lowers": [self._names[lower] for lower in lowers], "links": links, **paths})

    def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        seconds: int | None = None,
    ) -> Outcome:
        """Run a command in the root to its end; whatever it leaves running is ended then.

        Args:
            env: added to the sandbox's environment.
            seconds: after which it is ended; `patience` if it is not said.
        """
        answer = self._ask(
            {
                "do": "run",
                "argv": list(argv),
                "env": {**PLAIN_ENVIRONMENT, "HOME": "/root", **self._env, **(env or {})},
                "stdin": base64.b64encode(stdin).decode(),
                "seconds": seconds or patience(),
            }
        )
        outcome = Outcome(answer["code"], base64.b64decode(answer["output"]), answer["over"])
        if self._log:
            # Where a script has filled the disk, what it said is told all the same.
            with contextlib.suppress(OSError):
                self._log.write(f"$ {shlex.join(argv)}\n".encode(errors="surrogateescape") + outcome.output)
        return outcome

    def start(self) -> None:
        """Wait for the namespaces and map the ids."""
        pid = self._answer()["pid"]
        machine.require_ids()
        try:
            for name in ("uid_map", "gid_map"):
                pieces = machine.ids(name)
                Path(f"/proc/{pid}/{name}").write_text("".join(f"{first} {first} {count}\n" for first, count in pieces))
        except OSError as error:
            raise SandboxError(f"ids cannot be mapped: {error.strerror or error}", machine.way_out()) from error
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
            raise SandboxError(f"the sandbox refused: {answer['error']}", machine.way_out())
        return answer


@contextlib.contextmanager
def opened(
    folder: Path, env: Mapping[str, str] | None = None, log: BinaryIO | None = None, architecture: str = "all"
) -> Iterator[Sandbox]:  # fmt: skip
    """A sandbox that is gone when the block ends.

    Args:
        folder: an empty folder for its own use, on the file system of the trees.
        env: of all commands, added to ``PLAIN_ENVIRONMENT``.
        log: is told of all commands and what they say.
        architecture: of the programs that are run, Debian's name of it.

    Raises:
        SandboxError: this machine does not allow it.
    """
    # Seen from outside, a link on the way would lead to what lies below the mounts.
    folder = folder.resolve()
    root = folder / "root"
    root.mkdir()
    program = [sys.executable, "-I", "-S", sandbox_init.__file__, str(root)]
    if emulator := machine.emulator(architecture):
        program += [str(emulator), machine.KERNELS[architecture]]
    with subprocess.Popen(
        program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=PLAIN_ENVIRONMENT, start_new_session=True
    ) as child:
        try:
            sandbox = Sandbox(child, folder, env or {}, log)
            sandbox.start()
            yield sandbox
        finally:
            child.kill()
