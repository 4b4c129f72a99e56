"""What needs files of many owners is done by root of a user namespace, for who is not root.

The namespace has the user as its root, and the user's subordinate ids (``/etc/subuid``, ``/etc/subgid``) as all others;
newuidmap, which may, maps them. Only what needs owners runs there: everything else, such as git, apt, keys and the
sockets of engines, is reached as the user that one is.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from builder.errors import SandboxError
from builder.report import Reporter
from builder.tools import machine, process
from builder.tools.machine import IDS

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

T = TypeVar("T")
_KINDS = (("newuidmap", "--add-subuids", "/etc/subuid"), ("newgidmap", "--add-subgids", "/etc/subgid"))


def call(function: Callable[..., T], *args: Any, reporter: Reporter | None = None) -> T:
    """Call a function where files can have any owner: here, if we are root, else in a process in a namespace.

    Args:
        function, args: must pickle, as what is given back.
        reporter: handed on as the last argument, if there is one.

    Raises:
        SandboxError: this machine does not allow it.
    """
    if machine.is_root():
        return function(*args) if reporter is None else function(*args, reporter)
    import multiprocessing

    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    child = spawn.Process(target=_serve, args=(theirs, function, args, reporter is not None))
    child.start()
    theirs.close()
    try:
        if refused := ours.recv():
            raise SandboxError(f"{user()} may not make a user namespace: {refused}", machine.way_out())
        assert child.pid
        _map_ids(child.pid)
        ours.send(None)
        while True:
            match ours.recv():
                case "told", str(name), tuple(given):
                    getattr(reporter, name)(*given)
                case "done", value:
                    done: T = value
                    return done
                case "raised", BaseException() as error:
                    raise error
    except EOFError:
        raise SandboxError("the process that makes layers has died", "was it killed, or is memory short?") from None
    except BaseException:
        # What it has started ends in good order, if it can.
        child.terminate()
        raise
    finally:
        ours.close()
        child.join(3)
        child.kill()
        child.join()


def require() -> None:
    """See to it that files can have all owners, before anything is begun that would fail.

    Raises:
        SandboxError: there are too few ids.
    """
    if machine.is_root():
        machine.require_ids()
    else:
        mappings()


def user() -> str:
    """Our name; our number, if we have none."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def mappings() -> dict[str, list[str]]:
    """What newuidmap and newgidmap are to be told: we are root, our subordinate ids are all others.

    Raises:
        SandboxError: there are too few.
    """
    told = {}
    lacking = []
    for (tool, option, file), own in zip(_KINDS, (os.getuid(), os.getgid()), strict=True):
        words = ["0", str(own), "1"]
        inside = 1
        for first, count in _ranges(tool, file):
            count = min(count, IDS - inside)
            if count > 0:
                words += [str(inside), str(first), str(count)]
                inside += count
        if inside < IDS:
            lacking.append((option, file, inside - 1))
        told[tool] = words
    if lacking:
        first = _free()
        options = " ".join(f"{option} {first}-{first + IDS - 1}" for option, _, _ in lacking)
        files = " and ".join(f"{file} ({there or 'none'} there)" for _, file, there in lacking)
        raise SandboxError(
            f"{user()} has too few subordinate ids: {IDS - 1} are needed in {files}",
            f"as root, usermod {options} {user()}; then try again",
        )
    return told


def _ranges(tool: str, file: str) -> list[tuple[int, int]]:
    """A user's subordinate ids, in the order in which they are listed: the first one and how many."""
    argv = ["getsubids", *(["-g"] if tool == "newgidmap" else []), user()]
    try:
        # It knows what the name service says, too; without any ids it fails.
        listed = process.run(argv, check=False).text
    except FileNotFoundError:
        raise SandboxError(f"{tool} is not installed", "as root, apt-get install uidmap") from None
    rows = [line.split() for line in listed.splitlines()]
    return [(int(row[2]), int(row[3])) for row in rows if len(row) == 4]


def _free() -> int:
    """The first id after all that are given to somebody."""
    ends = [100000]
    for _, _, file in _KINDS:
        with contextlib.suppress(OSError):
            for line in Path(file).read_text().splitlines():
                parts = line.split(":")
                if len(parts) == 3 and parts[1].isdigit() and parts[2].isdigit():
                    ends.append(int(parts[1]) + int(parts[2]))
    return max(ends)


def _map_ids(pid: int) -> None:
    for tool, words in mappings().items():
        try:
            done = process.run([tool, str(pid), *words], check=False)
        except FileNotFoundError:
            raise SandboxError(f"{tool} is not installed", "as root, apt-get install uidmap") from None
        if done.code:
            raise SandboxError(f"{tool} failed: {done.errors}", _why(tool))


def _why(tool: str) -> str:
    if "NoNewPrivs:\t1" in Path("/proc/self/status").read_text():
        return f"{tool} gains no rights here (no_new_privs): start imgbuild without, or as root"
    if machine.container():
        return f"in a container {tool} wants CAP_SYS_ADMIN; the container's root does without it: see docs/ci.md"
    path = shutil.which(tool)
    if path and not os.stat(path).st_mode & stat.S_ISUID and "security.capability" not in os.listxattr(path):
        return f"{path} has lost its rights: as root, apt-get install --reinstall uidmap"
    return machine.way_out()


class _Teller:
    """A reporter in the namespace: the one outside is told."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def _tell(self, name: str, *given: Any) -> None:
        self._connection.send(("told", name, given))

    def step(self, message: str) -> None:
        self._tell("step", message)

    def progress(self, task: str, done: int, total: int, unit: str = "") -> None:
        self._tell("progress", task, done, total, unit)

    def note(self, message: str) -> None:
        self._tell("note", message)

    def warn(self, message: str) -> None:
        self._tell("warn", message)

    def detail(self, message: str) -> None:
        self._tell("detail", message)


def _serve(connection: Connection, function: Callable[..., Any], args: tuple[Any, ...], reports: bool) -> None:
    from builder.tools import sandbox_init

    # Ctrl-C goes to the whole process group: the parent decides, and ends us in good order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        sandbox_init.enter_user_namespace(lambda: _mapped(connection))
    except OSError as error:
        connection.send(error.strerror or str(error))
        return
    sandbox_init.die_with_parent()
    more = (_Teller(connection),) if reports else ()
    try:
        connection.send(("done", function(*args, *more)))
    except Exception as error:
        connection.send(("raised", error))


def _mapped(connection: Connection) -> None:
    connection.send("")
    connection.recv()


def _terminate(_signal: int, _frame: object) -> None:
    raise SystemExit(128 + signal.SIGTERM)
