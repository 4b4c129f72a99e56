"""The topmost tree while configuring: tools that do nothing, and adduser's numbers; none of it gets into a layer."""

from __future__ import annotations

import os
import posixpath
from datetime import UTC, datetime
from pathlib import Path

from builder.make import accounts, numbered_tools
from builder.make.epoch import EPOCH, HOSTS
from builder.make.lowers import Lowers
from builder.model.plan import StateLayerPlan

POOLS = "var/lib/imgbuild-pools"
CLOCK = "var/lib/imgbuild-clock.so"
_CLOCK = "usr/lib/*/faketime/libfaketime.so.1"
_LIBC = "libc.so.6"
"""Before every other library, so that memory is its own: an allocator that asks for the time (jemalloc, of bind9) and a clock
that needs memory to begin would wait for each other."""
_FAKETIME = {
    "FAKETIME": datetime.fromtimestamp(EPOCH, UTC).strftime("%Y-%m-%d %H:%M:%S"),
    # Waiting goes by this clock: with it standing still, nothing would end.
    "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    "FAKETIME_DONT_RESET": "1",
    # Programs share no time that has passed: each would make a file for it, and wait for it, as it starts.
    "FAKETIME_DISABLE_SHM": "1",
    # Byte code and make know files by their times.
    "NO_FAKE_STAT": "1",
}
_NOTHING = "#!/bin/sh\nexit 0\n"
_PY_COMPILE = """# package layers bring the byte code
import enum


class PyCompileError(Exception):
    pass


class PycInvalidationMode(enum.Enum):
    TIMESTAMP = 1
    CHECKED_HASH = 2
    UNCHECKED_HASH = 3


def compile(file, cfile=None, dfile=None, doraise=False, optimize=-1, invalidation_mode=None, quiet=0):
    return cfile


def main():
    return 0
"""
_EXECUTABLES = {
    "usr/sbin/policy-rc.d": "#!/bin/sh\nexit 101\n",
    "usr/bin/py3compile": _NOTHING,
    "usr/bin/py3clean": _NOTHING,
}

_IDLE = (
    "usr/bin/deb-systemd-helper",
    "usr/bin/deb-systemd-invoke",
    "usr/bin/fc-cache",
    "usr/bin/systemd-hwdb",
    "usr/sbin/update-rc.d",
    "usr/sbin/invoke-rc.d",
)
"""Programs of which nothing is kept: ``left_behind`` says why. They take a fifth of the time of configuring."""


def make_tools(folder: Path, plan: StateLayerPlan, below: Lowers, clock: Path | None) -> dict[str, str]:
    """Make the tree.

    Args:
        folder: made here.
        below: to find what is replaced.
        clock: the unpacked package whose library shows programs another time.

    Returns:
        What scripts find in their environment because of it.
    """
    folder.mkdir(mode=0o755)
    for path, text in _EXECUTABLES.items():
        _write(folder, path, text, 0o755)
    for path in _IDLE:
        if below.find(path):
            _write(folder, path, _NOTHING, 0o755)
    _write(folder, "etc/hosts", HOSTS, 0o644)
    python = below.find("usr/lib/python3")
    for parent in {tree / "usr/lib" for tree in below.trees} if python else set():
        for library in parent.glob("python3.*"):
            _write(folder, f"usr/lib/{library.name}/py_compile.py", _PY_COMPILE, 0o644)
    # While numbers are learnt a new name may come before one that has its number: all take what is free.
    _write(folder, numbered_tools.NUMBERS, "" if plan.learn else numbered_tools.numbers(plan), 0o644)
    for path in numbered_tools.TOOLS:
        program, name = below.find(path), posixpath.basename(path)
        if program and program.is_symlink():
            # addgroup is adduser by another name.
            target = posixpath.normpath(posixpath.join("/", posixpath.dirname(path), os.readlink(program)))
            program = below.find(target.lstrip("/"))
        if program and program.is_file() and not program.is_symlink():
            _write(folder, f"{numbered_tools.FOLDER}/{name}", program.read_bytes(), 0o755)
            _write(folder, path, numbered_tools.script(name), 0o755)
    conf = below.text("etc/adduser.conf")
    if conf:
        uid_pool, gid_pool = f"{POOLS}/uid", f"{POOLS}/gid"
        _write(folder, uid_pool, "" if plan.learn else accounts.uid_pool(plan), 0o644)
        _write(folder, gid_pool, "" if plan.learn else accounts.gid_pool(plan), 0o644)
        _write(folder, "etc/adduser.conf", accounts.adduser_conf(conf, f"/{uid_pool}", f"/{gid_pool}"), 0o644)
    found = next(iter(sorted(clock.glob(_CLOCK))), None) if clock else None
    if found is None:
        return {}
    _write(folder, CLOCK, found.read_bytes(), 0o644)
    return {"LD_PRELOAD": f"/{CLOCK} {_LIBC}", **_FAKETIME}


def _write(folder: Path, path: str, content: str | bytes, mode: int) -> None:
    file = folder / path
    # The topmost tree's folders are those that are seen: theirs must be as everywhere.
    for parent in reversed(file.relative_to(folder).parents[:-1]):
        place = folder / parent
        if not place.exists():
            place.mkdir()
            place.chmod(0o755)
            os.chown(place, 0, 0)
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    file.chmod(mode)
