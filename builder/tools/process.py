"""The one door to other programs."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PLAIN_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C.UTF-8",
    "TZ": "UTC",
}
"""What programs are given: nothing of the user's locale, time zone or configuration."""


@dataclass(frozen=True, slots=True)
class Result:
    """How a program ended."""

    argv: tuple[str, ...]
    code: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """Standard output as text."""
        return self.stdout.decode(errors="replace")

    @property
    def errors(self) -> str:
        """Standard error as text."""
        return self.stderr.decode(errors="replace").strip()

    @property
    def reason(self) -> str:
        """The last line of what it says is wrong."""
        return self.errors.splitlines()[-1] if self.errors else "it says nothing"


class ProgramFailed(Exception):
    """A program ended with another code than 0; callers turn it into an error of the tree."""

    def __init__(self, result: Result) -> None:
        super().__init__(f"{result.argv[0]} ended with {result.code}: {result.errors}")
        self.result = result


def run(
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: bytes = b"",
    timeout: float | None = None,
    check: bool = True,
) -> Result:
    """Run a program to its end and collect its output.

    The program gets a process group of its own, which is killed whole if we are interrupted or it takes too long.

    Args:
        env: added to ``PLAIN_ENVIRONMENT``.
        timeout: in seconds.
        check: whether an exit code other than 0 is an error.

    Raises:
        ProgramFailed: it ended with another code than 0.
        FileNotFoundError: there is no such program.
        TimeoutError: it took too long.
    """
    words = tuple(str(word) for word in argv)
    with subprocess.Popen(
        words,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**PLAIN_ENVIRONMENT, **(env or {})},
        cwd=cwd,
        start_new_session=True,
    ) as child:
        try:
            stdout, stderr = child.communicate(stdin, timeout)
        except subprocess.TimeoutExpired:
            _kill(child)
            raise TimeoutError(f"{words[0]} took longer than {timeout} seconds") from None
        except BaseException:
            _kill(child)
            raise
    result = Result(words, child.returncode, stdout, stderr)
    if check and result.code != 0:
        raise ProgramFailed(result)
    return result


def _kill(child: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


class Child:
    """A program that answers what it is asked, as long as it is asked.

    Args:
        room: bytes that may be on their way to it, as far as the system allows.

    Raises:
        FileNotFoundError: there is no such program.
    """

    def __init__(self, argv: Sequence[str], room: int = 0) -> None:
        self._argv = tuple(argv)
        self._process = subprocess.Popen(
            self._argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=PLAIN_ENVIRONMENT,
            start_new_session=True,
        )
        if room:
            assert self._process.stdin is not None
            # A user has so much for all pipes: past that it is as without.
            with contextlib.suppress(OSError):
                fcntl.fcntl(self._process.stdin, fcntl.F_SETPIPE_SZ, room)

    def write(self, data: bytes) -> None:
        """Send bytes."""
        assert self._process.stdin is not None
        self._process.stdin.write(data)
        self._process.stdin.flush()

    def read(self, size: int) -> bytes:
        """Exactly so many bytes.

        Raises:
            ProgramFailed: the program ended before.
        """
        assert self._process.stdout is not None
        data = self._process.stdout.read(size)
        if len(data) != size:
            raise ProgramFailed(Result(self._argv, self._process.wait(), data, b"it ended before it had answered"))
        return data

    def close(self) -> None:
        """End it."""
        _kill(self._process)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
