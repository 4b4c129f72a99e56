"""Names of users and groups → the numbers that a chain's locks give them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from builder.model.lock import Lock, LockedGroup, LockedUser
from dsl import model
from dsl.errors import ImgbuildError


class UnknownAccount(ImgbuildError):
    """A name that no definition of the chain gives a number."""

    code = "unknown-user"
    exit_code = 2


@dataclass(frozen=True, slots=True)
class Numbers:
    """Numbers by name."""

    users: Mapping[str, LockedUser] = field(default_factory=dict)
    groups: Mapping[str, int] = field(default_factory=dict)

    def of(self, owner: str, group: str | None) -> tuple[int, int]:
        """The numbers of an owner and a group, by default the group of the owner.

        Raises:
            UnknownAccount: a name has no number.
        """
        return self.uid(owner), self.gid(group) if group else self.primary_gid(owner)

    def uid(self, name: str) -> int:
        """The number of a user."""
        if name == "root":
            return 0
        if name not in self.users:
            raise UnknownAccount(f"no user {name!r} is known here", "give it a number under `users:`")
        return self.users[name].uid

    def primary_gid(self, name: str) -> int:
        """The number of a user's primary group."""
        self.uid(name)
        return 0 if name == "root" else self.users[name].gid

    def gid(self, name: str) -> int:
        """The number of a group."""
        if name == "root":
            return 0
        if name not in self.groups:
            raise UnknownAccount(f"no group {name!r} is known here", "give it a number under `groups:`")
        return self.groups[name]


def numbers(locks: tuple[Lock, ...]) -> Numbers:
    """What the locks of a chain say, the upper ones last."""
    return Numbers(
        {user.name: user for lock in locks for user in lock.users},
        {group.name: group.gid for lock in locks for group in lock.groups},
    )


def declared(definition: model.Definition, below: Numbers) -> tuple[tuple[LockedUser, ...], tuple[LockedGroup, ...]]:
    """The users and groups that a definition itself gives numbers."""
    groups = {name: group.gid for name, group in definition.groups.items()}
    for name, user in definition.users.items():
        if user.group is None:
            groups.setdefault(name, user.gid if user.gid is not None else user.uid)
    known = Numbers(below.users, {**below.groups, **groups})
    users = [
        LockedUser(name, user.uid, known.gid(user.group or name), user.home, user.shell, user.summary)
        for name, user in definition.users.items()
    ]
    return tuple(sorted(users)), tuple(sorted(LockedGroup(name, gid) for name, gid in groups.items()))


_DYNAMIC = range(100, 1000)
"""Numbers that scripts allocate (Debian policy 9.2.2)."""


def learnt(
    users: Iterable[LockedUser],
    groups: Iterable[LockedGroup],
    fixed: Lock,
    below: Sequence[Lock],
    above: Sequence[Lock],
) -> tuple[tuple[LockedUser, ...], tuple[LockedGroup, ...]]:
    """The users and groups that configuring a definition made, with the numbers that they keep.

    Args:
        users, groups: all that were there afterwards.
        fixed: has those whose numbers are settled.
        above: the locks of what stands on the definition: a number that is locked there is taken, and a name that is
            locked there brings its number along.
    """
    gids = {group.name: group.gid for lock in above for group in lock.groups} | {g.name: g.gid for g in fixed.groups}
    uids = {user.name: user.uid for lock in above for user in lock.users} | {u.name: u.uid for u in fixed.users}
    old_groups = {group.name for lock in below for group in lock.groups}
    old_users = {user.name for lock in below for user in lock.users}
    groups = tuple(groups)
    taken = {group.gid for lock in (*below, *above, fixed) for group in lock.groups}
    numbers: dict[str, int] = {}
    for group in sorted(groups):
        if group.name not in old_groups:
            numbers[group.name] = gids[group.name] if group.name in gids else _free(group.gid, taken)
            taken.add(numbers[group.name])
    names = {group.gid: group.name for group in groups}
    settled = {user.name: user for user in fixed.users}
    taken = {user.uid for lock in (*below, *above, fixed) for user in lock.users}
    found = dict(settled)
    for user in sorted(users):
        if user.name not in old_users and user.name not in settled:
            uid = uids[user.name] if user.name in uids else _free(user.uid, taken)
            taken.add(uid)
            found[user.name] = replace(user, uid=uid, gid=numbers.get(names.get(user.gid, ""), user.gid))
    return tuple(sorted(found.values())), tuple(sorted(LockedGroup(name, gid) for name, gid in numbers.items()))


def _free(wanted: int, taken: set[int]) -> int:
    # A script that gives a number of its own, outside of the range, means it.
    if wanted not in taken or wanted not in _DYNAMIC:
        return wanted
    return next((number for number in _DYNAMIC if number not in taken), wanted)
