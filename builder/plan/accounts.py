"""Names of users and groups → the numbers that a chain's locks give them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

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
