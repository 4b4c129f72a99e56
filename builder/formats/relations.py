"""Whether packages go together as they are (Debian Policy, chapter 7): where they do, there is nothing to solve."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

_OPERATORS: Mapping[str, Callable[[int], bool]] = {
    "<<": lambda order: order < 0, "<=": lambda order: order <= 0, "<": lambda order: order <= 0,
    "=": lambda order: order == 0,
    ">=": lambda order: order >= 0, ">": lambda order: order >= 0, ">>": lambda order: order > 0,
}  # fmt: skip
"""Policy 7.1; a single ``<`` has meant ``<=`` since before there were others."""


@dataclass(frozen=True, slots=True)
class Atom:
    """One name in a relation, and the versions of it that are meant; no operator if all are."""

    name: str
    operator: str = ""
    version: str = ""

    def takes(self, version: str) -> bool:
        """Whether it means this version; an operator of which nothing is known means none."""
        return not self.operator or (
            self.operator in _OPERATORS and _OPERATORS[self.operator](_compared(version, self.version))
        )


Alternatives = tuple[Atom, ...]


@dataclass(frozen=True, slots=True)
class Related:
    """A package by what it needs, gives and cannot stand.

    Attributes:
        needs: each is met by one of its alternatives.
        against: Conflicts and Breaks.
        gives: what it provides, with a version or none.
    """

    name: str
    version: str
    needs: tuple[Alternatives, ...]
    against: tuple[Atom, ...]
    gives: tuple[Atom, ...]

    @classmethod
    def of(cls, fields: Mapping[str, str]) -> Related:
        """From control fields."""
        needs = (*parsed(fields.get("Pre-Depends", "")), *parsed(fields.get("Depends", "")))
        against = (*parsed(fields.get("Conflicts", "")), *parsed(fields.get("Breaks", "")))
        gives = parsed(fields.get("Provides", ""))
        return cls(
            fields["Package"], fields["Version"], needs, tuple(atom for one in against for atom in one),
            tuple(atom for one in gives for atom in one),
        )  # fmt: skip


@cache
def parsed(relation: str) -> tuple[Alternatives, ...]:
    """What a field of relations says; what cannot be read is a name that nothing has."""
    from debian.deb822 import PkgRelation

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = PkgRelation.parse_relations(relation) if relation.strip() else []
    return tuple(tuple(_atom(one) for one in alternatives) for alternatives in found)


def _atom(found: Mapping[str, Any]) -> Atom:
    operator, version = found.get("version") or ("", "")
    return Atom(found["name"], operator, version)


@cache
def _compared(one: str, other: str) -> int:
    from debian.debian_support import version_compare

    return int(version_compare(one, other))


def hold(packages: Iterable[Related], wishes: Iterable[str] = ()) -> bool:
    """Whether everything that packages and wishes need is among the packages, and nothing that one of them cannot stand.

    Args:
        packages: those of one architecture, each name once.
        wishes: relations.
    """
    here = {package.name: package for package in packages}
    given: dict[str, list[tuple[str, Atom]]] = {}
    for package in here.values():
        for atom in package.gives:
            given.setdefault(atom.name, []).append((package.name, atom))

    def met(atom: Atom, but: str = "") -> bool:
        own = here.get(atom.name)
        if own and own.name != but and atom.takes(own.version):
            return True
        # Policy 7.5: a relation with a version is met by what is provided with one alone.
        return any(
            giver != but and (not atom.operator or (bool(one.version) and atom.takes(one.version)))
            for giver, one in given.get(atom.name, ())
        )

    wanted = {one for wish in wishes for one in parsed(wish)}
    wanted.update(one for package in here.values() for one in package.needs)
    return all(any(met(atom) for atom in one) for one in wanted) and not any(
        met(atom, package.name) for package in here.values() for atom in package.against
    )
