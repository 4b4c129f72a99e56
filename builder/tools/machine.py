"""What this machine is, and why it may refuse what making layers needs."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

from builder.errors import SandboxError

IDS = 65536
"""How many user and group ids making layers wants: those that a Debian system hands out."""
_FIRST_PIDS = 0xEFFFFFFC
"""The number of the pid namespace that a machine starts with (Linux, include/linux/proc_ns.h)."""
_SWITCHES = (
    ("user/max_user_namespaces", "0", "sysctl -w user.max_user_namespaces=15000"),
    ("kernel/unprivileged_userns_clone", "0", "sysctl -w kernel.unprivileged_userns_clone=1"),
    ("kernel/apparmor_restrict_unprivileged_userns", "1", "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"),
)
"""Settings of kernels that refuse user namespaces: name, the value that does, what allows them."""


KERNELS = {"amd64": "x86_64", "arm64": "aarch64"}
"""The kernel's names of machines, by Debian's."""
_INTERPRETERS = Path("/proc/sys/fs/binfmt_misc")
"""What the kernel runs other machines' programs by (Linux, admin-guide/binfmt-misc.rst)."""
_EMULATORS = Path("/usr/bin")
_OWN_INTERPRETERS = (6, 7)
"""The kernel from which on a user namespace may have interpreters of its own."""


def architecture() -> str:
    """Debian's name of this machine; the kernel's, if Debian has another."""
    here = platform.machine()
    return next((debians for debians, kernels in KERNELS.items() if kernels == here), here)


def runs(wanted: str) -> bool:
    """Whether programs made for an architecture run here."""
    try:
        require_programs_of(wanted)
    except SandboxError:
        return False
    return True


def emulator(wanted: str, interpreters: Path = _INTERPRETERS, emulators: Path = _EMULATORS) -> Path | None:
    """What runs programs made for an architecture in a namespace of ours; None if nothing is needed, or nothing is here.

    Args:
        wanted: Debian's name of it.
    """
    if wanted in ("all", architecture()) or _registered(wanted, interpreters):
        return None
    # It is linked statically: in the root where the programs run it has no libraries.
    found = emulators / f"qemu-{KERNELS.get(wanted, wanted)}-static"
    release = tuple(int(part) for part in re.findall(r"[0-9]+", platform.release())[:2])
    return found if release >= _OWN_INTERPRETERS and interpreters.is_dir() and found.is_file() else None


def _registered(wanted: str, interpreters: Path) -> bool:
    """Whether the kernel runs programs made for an architecture, whoever runs them."""
    try:
        said = (interpreters / f"qemu-{KERNELS.get(wanted, wanted)}").read_text().splitlines()
    except OSError:
        return False
    # F: the interpreter is open already, so it need not be in the root where the program runs.
    return "enabled" in said and any(line.startswith("flags:") and "F" in line for line in said)


def require_programs_of(wanted: str, interpreters: Path = _INTERPRETERS, emulators: Path = _EMULATORS) -> None:
    """See to it that programs made for an architecture run here: scripts call them, and byte code is made by one.

    Args:
        wanted: Debian's name of it.

    Raises:
        SandboxError: they do not.
    """
    if wanted in ("all", architecture()):
        return
    kernels = KERNELS.get(wanted, wanted)
    if not _registered(wanted, interpreters) and emulator(wanted, interpreters, emulators) is None:
        raise SandboxError(
            f"this machine ({platform.machine()}) runs no programs of {wanted}: such packages cannot be configured here",
            f"build on a machine of that kind, or install qemu: as root, apt-get install qemu-user-static; for a kernel "
            f"before 6.7 binfmt-support, too ({interpreters}/qemu-{kernels} is there then, with the flag F)",
        )


def is_root() -> bool:
    """Whether files can be given to any owner, by us or in a user namespace that we are root of."""
    return os.geteuid() == 0


def container() -> str:
    """The kind of container that we are in: ``docker``, ``podman``, ``kubernetes``, ``container``; empty outside."""
    # Machines that were made from a container's files have those files, too.
    if os.stat("/proc/self/ns/pid").st_ino == _FIRST_PIDS:
        return ""
    if Path("/run/.containerenv").exists():
        return "podman"
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        return "kubernetes"
    return "docker" if Path("/.dockerenv").exists() else "container"


def ids(name: str) -> tuple[tuple[int, int], ...]:
    """The ids below ``IDS`` that there are here, in pieces: the first of each and how many.

    Outside of all user namespaces it is one piece. In one, the kernel maps no range that lies in two pieces.

    Args:
        name: ``uid_map`` or ``gid_map``.
    """
    rows = [line.split() for line in Path("/proc/self", name).read_text().splitlines()]
    pieces = ((int(first), min(int(count), IDS - int(first))) for first, _, count in rows)
    return tuple((first, count) for first, count in pieces if count > 0)


def require_ids() -> None:
    """See to it that a user namespace within this one can have all ids.

    Raises:
        SandboxError: there are too few.
    """
    there = count_ids()
    if there < IDS:
        raise SandboxError(f"there are {there} user and group ids here, and {IDS} are needed", way_out())


def count_ids() -> int:
    """How many of the ids below ``IDS`` there are here, of users or of groups."""
    return min(sum(count for _, count in ids(name)) for name in ("uid_map", "gid_map"))


def way_out() -> str:
    """What to do where user namespaces or mounts are refused, by what this machine is set to."""
    for name, bad, command in _SWITCHES:
        try:
            value = Path("/proc/sys", name).read_text().strip()
        except OSError:
            continue
        # root is asked only by the first.
        if value == bad and (name.startswith("user/") or not is_root()):
            return f"the kernel is set to refuse them: as root, {command}; `imgbuild doctor` tells more"
    if container():
        return (
            f"this is a container ({container()}), which must be started with the right to make namespaces: "
            "docs/ci.md tells how; `imgbuild doctor` tells more"
        )
    return "run `imgbuild doctor`: it says what this machine lacks"
