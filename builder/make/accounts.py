"""Users and groups while configuring: every name gets the number that the lock gives it.

Scripts make their users by adduser, which takes numbers from the pools of its configuration, or by useradd, which is
told them; so they do all that they usually do, home folders too. Names that come by sysusers.d are there before any
script runs.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterable, Mapping, Sequence

from builder.errors import MakeError
from builder.make.dpkg_status import Unpacked
from builder.make.root import Root
from builder.model.lock import LockedGroup, LockedUser
from builder.model.plan import StateLayerPlan

SHADOWS = ("etc/shadow", "etc/gshadow")
FILES = ("etc/passwd", "etc/group", *SHADOWS)
NONE: Mapping[str, str] = {}
LAST_ID = 59999
"""adduser takes no number from its pool that is outside of its range."""


def users(passwd: str) -> tuple[LockedUser, ...]:
    """The lines of /etc/passwd, sorted."""
    found = []
    for line in passwd.splitlines():
        parts = line.split(":")
        if len(parts) == 7:
            name, _, uid, gid, comment, home, shell = parts
            found.append(LockedUser(name, int(uid), int(gid), home, shell, comment))
    return tuple(sorted(found))


def groups(group: str) -> tuple[LockedGroup, ...]:
    """The lines of /etc/group, sorted."""
    lines = [line.split(":") for line in group.splitlines()]
    return tuple(sorted(LockedGroup(parts[0], int(parts[2])) for parts in lines if len(parts) == 4))


def adduser_conf(conf: str, uid_pool: str, gid_pool: str) -> str:
    """adduser's configuration with pools, over what the package says."""
    limits = "".join(f"LAST_{kind}{which}ID={LAST_ID}\n" for kind in ("SYSTEM_", "") for which in "UG")
    return f'{conf}\n{limits}UID_POOL="{uid_pool}"\nGID_POOL="{gid_pool}"\n'


def uid_pool(plan: StateLayerPlan) -> str:
    """adduser's pool of user numbers."""
    return "".join(f"{user.name}:{user.uid}\n" for user in plan.users)


def gid_pool(plan: StateLayerPlan) -> str:
    """adduser's pool of group numbers."""
    return "".join(f"{group.name}:{group.gid}\n" for group in plan.groups)


_SYSUSERS = re.compile(r"\bsystemd-sysusers\b")
_ADDUSER = re.compile(r"\b(?:adduser|addgroup)\b")


def early_names(packages: Iterable[Unpacked]) -> Mapping[str, str]:
    """The names that must be there before scripts run: those that systemd-sysusers makes, which no tool of ours stands for.

    Returns:
        By name, the day on which the account expires (shadow(5)): 1 for those that are locked (``u!``), else empty.
    """
    names: dict[str, str] = {}
    for package in packages:
        scripts = [package.text(name) for name in ("preinst", "postinst")]
        by_sysusers, by_adduser = (any(map(found.search, scripts)) for found in (_SYSUSERS, _ADDUSER))
        for path in package.files:
            mode = package.mode(path) if path.startswith("usr/lib/sysusers.d/") and path.endswith(".conf") else None
            # dbus of Debian 12 brings the file, and its script calls adduser.
            if mode is not None and stat.S_ISREG(mode) and (by_sysusers or not by_adduser):
                names |= _sysusers((package.tree / path).read_text(errors="replace"))
        for text in scripts:
            if _SYSUSERS.search(text) and not _ADDUSER.search(text):
                names |= {name: names.get(name, "") for name in re.findall(r"[a-z_][a-z0-9_-]*", text)}
    return names


def _sysusers(text: str) -> dict[str, str]:
    names: dict[str, str] = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0].rstrip("!") in ("u", "g"):
            names[words[1]] = "1" if words[0] == "u!" else ""
    return names


def add(
    root: Root, users: Sequence[LockedUser], groups: Sequence[LockedGroup], day: int, sysusers: Mapping[str, str] = NONE
) -> None:
    """Add the users and groups that are not there yet.

    Args:
        root: with the four files in its ``etc``.
        day: since 1970, when the passwords were last changed.
        sysusers: those that are as systemd-sysusers makes them, and when each expires.
    """
    lines = {name: _lines(root, name) for name in FILES}
    known_groups = {line.split(":")[0] for line in lines["etc/group"]}
    for group in groups:
        if group.name not in known_groups:
            lines["etc/group"].append(f"{group.name}:x:{group.gid}:")
            lines["etc/gshadow"].append(f"{group.name}:{'!*' if group.name in sysusers else '!'}::")
    known_users = {line.split(":")[0] for line in lines["etc/passwd"]}
    for user in users:
        if user.name not in known_users:
            fields = (user.name, "x", str(user.uid), str(user.gid), user.comment, user.home, user.shell)
            lines["etc/passwd"].append(":".join(fields))
            password, expires = ("!*", sysusers[user.name]) if user.name in sysusers else ("!", "")
            lines["etc/shadow"].append(f"{user.name}:{password}:{day}:::::{expires}:")
    for name in FILES:
        if lines[name] != _lines(root, name):
            _rewrite(root, name, lines[name])


def join(root: Root, memberships: Sequence[tuple[str, str]]) -> None:
    """Make users members of groups."""
    for file, members_at in (("etc/group", 3), ("etc/gshadow", 3)):
        changed = False
        result = []
        for line in _lines(root, file):
            parts = line.split(":")
            members = [name for name in parts[members_at].split(",") if name]
            for user, group in memberships:
                if group == parts[0] and user not in members:
                    members.append(user)
                    changed = True
            result.append(":".join((*parts[:members_at], ",".join(members))))
        if changed:
            _rewrite(root, file, result)
    known = {line.split(":")[0] for line in _lines(root, "etc/group")}
    for user, group in memberships:
        if group not in known:
            raise MakeError(f"user {user} is to be in group {group}, which does not exist", "add it to `groups:`")


def fixed_days(shadow: str, day: int) -> str:
    """/etc/shadow with one day for all passwords' last change."""
    lines = []
    for line in shadow.splitlines():
        parts = line.split(":")
        if len(parts) > 2 and parts[2]:
            parts[2] = str(day)
        lines.append(":".join(parts))
    return "".join(f"{line}\n" for line in lines)


def check(
    plan: StateLayerPlan,
    before: tuple[tuple[LockedUser, ...], tuple[LockedGroup, ...]],
    after: tuple[tuple[LockedUser, ...], tuple[LockedGroup, ...]],
) -> None:
    """See that names have the numbers of the lock and that no new name is without one.

    Raises:
        MakeError: one has not, or is.
    """
    wanted: dict[tuple[str, str], int] = {("user", user.name): user.uid for user in plan.users}
    wanted |= {("group", group.name): group.gid for group in plan.groups}
    old = {("user", user.name) for user in before[0]} | {("group", group.name) for group in before[1]}
    found: dict[tuple[str, str], int] = {("user", user.name): user.uid for user in after[0]}
    found |= {("group", group.name): group.gid for group in after[1]}
    wrong = []
    for (kind, name), number in sorted(found.items()):
        if (kind, name) in wanted:
            if wanted[kind, name] != number:
                wrong.append(f"{kind} {name} got number {number}, the lock says {wanted[kind, name]}")
        elif (kind, name) not in old:
            wrong.append(f"{kind} {name} got number {number}, the lock has none for it")
    if wrong:
        raise MakeError(
            f"configuring {plan.definition}: {'; '.join(wrong)}", f"run `imgbuild lock` for {plan.definition}"
        )


def _lines(root: Root, path: str) -> list[str]:
    return root.read(path).splitlines()


def _rewrite(root: Root, path: str, lines: list[str]) -> None:
    text = "".join(f"{line}\n" for line in lines)
    if path in SHADOWS and not root.exists(path):
        # As systemd-sysusers makes it; the package passwd gives it to the group shadow.
        root.write(path, text.encode(errors="surrogateescape"), 0, 0, 0)
    else:
        root.rewrite(path, text)
