"""Packages → stable groups by source package, within a budget.

An advisory names a source package, so a source is never split. Those that are often patched stand alone, the
others share bins by name. A grouping is locked: a package that joins finds its place, and none ever moves.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from builder.model.lock import Grouping, LockedPackage

TABLE = Path(__file__).with_name("hot_sources.yaml")
BUDGETS = {"layer": 22, "shared": 22, "image": 8}
"""Package layers by kind of definition: a chain of four and its states stay below docker's 125 layers."""
BIN_BYTES = 12_000_000
"""How much of packages shares a bin, roughly."""


@dataclass(frozen=True, slots=True)
class Group:
    """Packages that share a layer."""

    name: str
    hot: bool
    packages: tuple[LockedPackage, ...]


def grouping(packages: tuple[LockedPackage, ...], old: Grouping | None, kind: str) -> Grouping:
    """Which sources of a definition stand alone, and how many bins the others share.

    Args:
        old: what is locked: it stays.
        kind: of the definition, for its budget.
    """
    if old is not None and (old.bins or old.alone):
        return old
    if not packages:
        return Grouping(0, ())
    budget = BUDGETS[kind]
    ranks = hot_sources()
    present = {package.source_package for package in packages}
    alone = sorted((ranks[name], name) for name in present if name in ranks)[: budget - budget // 3]
    chosen = tuple(sorted(name for _, name in alone))
    rest = sum(p.size for p in packages if p.source_package not in chosen)
    bins = max(1, min(budget - len(chosen), round(rest / BIN_BYTES)))
    return Grouping(bins, chosen)


def groups(packages: tuple[LockedPackage, ...], chosen: Grouping) -> tuple[Group, ...]:
    """The groups of a definition's packages, sorted by name."""
    found: dict[tuple[str, bool], list[LockedPackage]] = {}
    alone = frozenset(chosen.alone)
    for package in packages:
        source = package.source_package
        key = (source, True) if source in alone else (f"bin-{_bin(source, max(chosen.bins, 1)):02}", False)
        found.setdefault(key, []).append(package)
    return tuple(Group(name, hot, tuple(sorted(found[name, hot]))) for name, hot in sorted(found))


def hot_rank(name: str) -> tuple[int, str]:
    """The place of a hot group among others: the most often patched come last, on top."""
    return -hot_sources().get(name, 10_000), name


@cache
def hot_sources() -> dict[str, int]:
    """Ranks of the sources that stand alone, 0 for the most often patched."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return {name: rank for rank, name in enumerate(yaml.load(TABLE.read_text(), loader)["sources"])}


def _bin(source: str, bins: int) -> int:
    return int.from_bytes(hashlib.sha256(source.encode()).digest()[:8], "big") % bins
