"""Packages → stable groups by source package, within a budget.

An advisory names a source package, so a source is never split. Those that are often patched or large stand alone, and
families, which other definitions bring as well, so that images that know nothing of each other share their layers; the
others share bins by name. A grouping is locked: a package that joins finds its place, and none ever moves.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from builder.model.lock import Grouping, LockedEnvironment, LockedPackage

TABLE = Path(__file__).with_name("hot_sources.yaml")
FAMILIES = Path(__file__).with_name("families.yaml")
BUDGETS = {"layer": 24, "shared": 24, "image": 18}
"""Package layers by kind of definition. docker takes 125 layers: four definitions of 24, an image's 18, a state and
a files layer for each of the five and the records make 125."""
WHEEL_BUDGET = 8
"""Layers of one environment's wheels in a definition: what the above leaves."""
BIN_BYTES = 3_000_000
"""How much of packages shares a bin, roughly, where the budget allows: what a fix of something rare sends."""
LARGE_BYTES = 3_000_000
"""A source of this size stands alone even if it is seldom patched, for the sake of those that would share its bin."""
SHARED_WEIGHT = 16
"""What a byte that other definitions bring, too, weighs against a byte that a fix sends in vain: it is unpacked, compressed,
kept and sent as often as there are such definitions. Found by ``bench.replay_updates``."""
WORTH = 600_000
"""What a layer has to save to be one, by that measure."""


@dataclass(frozen=True, slots=True)
class Group:
    """Packages that share a layer."""

    name: str
    hot: bool
    packages: tuple[LockedPackage, ...]


@dataclass(frozen=True, slots=True)
class Family:
    """Sources that several definitions bring with the same packages.

    Attributes:
        shares: bytes that each of these saves by having them in a layer of their own.
    """

    shares: int
    sources: tuple[str, ...]


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
    sizes: Counter[str] = Counter()
    sources: dict[str, set[str]] = {}
    for package in packages:
        name = unit(package.source_package)
        sizes[name] += package.size
        sources.setdefault(name, set()).add(package.source_package)
    worth = {name: _worth(name, size, sources[name]) for name, size in sizes.items()}
    best = sorted((name for name in sizes if worth[name] >= WORTH), key=lambda name: (-worth[name], name))
    alone = best[: budget - budget // 12]
    rest = sum(size for name, size in sizes.items() if name not in alone)
    bins = max(1, min(budget - len(alone), round(rest / BIN_BYTES)))
    return Grouping(bins, tuple(sorted(alone)))


def groups(packages: tuple[LockedPackage, ...], chosen: Grouping) -> tuple[Group, ...]:
    """The groups of a definition's packages, sorted by name."""
    found: dict[str, list[LockedPackage]] = {}
    alone = frozenset(chosen.alone)
    hot = alone & _places().keys()
    for package in packages:
        source = package.source_package
        name = unit(source) if unit(source) in alone else f"bin-{_bin(source, max(chosen.bins, 1)):02}"
        found.setdefault(name, []).append(package)
    return tuple(Group(name, name in hot, tuple(sorted(found[name]))) for name in sorted(found))


def wheels(
    sizes: Mapping[str, int], before: Mapping[str, str], old: LockedEnvironment | None
) -> tuple[int, dict[str, str]]:
    """How many layers wheels share that do not stand alone, and the layer of each.

    One layer for all would send a large wheel with each fix of a small one; a layer each would soon be more than
    engines take. So it is as with packages: what is large stands alone, others share bins by name.

    Args:
        sizes: of each wheel, by name.
        before: the locked layers of some: they stay.
        old: what is locked of their environment.
    """
    large = [name for name in sorted(sizes, key=lambda name: (-sizes[name], name)) if sizes[name] >= LARGE_BYTES]
    known = {before[name] for name in before if name in sizes and before[name] == name}
    fresh = [name for name in large if name not in before]
    alone = {*known, *fresh[: max(0, WHEEL_BUDGET - WHEEL_BUDGET // 3 - len(known))]}
    rest = sum(size for name, size in sizes.items() if name not in alone)
    bins = old.bins if old else max(1, min(WHEEL_BUDGET - len(alone), round(rest / BIN_BYTES)))
    return bins, {
        name: name if name in alone else before.get(name) or f"bin-{_bin(name, bins):02}" for name in sorted(sizes)
    }


def unit(source: str) -> str:
    """What a source stands alone with: the name of its family, or its own."""
    return _units().get(source, source)


def hot_rank(name: str) -> tuple[int, str]:
    """The place of a hot group among others: higher is nearer to the top of the image.

    The order is the table's: by updates per byte. A layer's fix makes what lies above it be unpacked again, so
    what changes often and is small goes over what changes as often and is large.
    """
    return -_places().get(name, 10_000), name


@cache
def hot_sources() -> dict[str, int]:
    """How often the sources that stand alone were updated, in the table's order: the top of an image first."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    found: dict[str, int] = yaml.load(TABLE.read_text(), loader)["sources"]
    return found


@cache
def families() -> dict[str, Family]:
    """The families by their names, as groups have them: one of a single source has that one's."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    table: dict[str, Any] = yaml.load(FAMILIES.read_text(), loader)["families"]
    return {
        name if entry["sources"] == [name] else f"family-{name}": Family(
            entry["shares"] * 1000, tuple(entry["sources"])
        )
        for name, entry in table.items()
    }


def _worth(name: str, size: int, sources: set[str]) -> int:
    """Bytes that a layer of its own saves: of other definitions, and of the fixes of this unit and of those beside it."""
    family = families().get(name)
    shares = min(size, family.shares) if family else 0
    updates = sum(hot_sources().get(source, 0) for source in sources)
    return SHARED_WEIGHT * shares + updates * BIN_BYTES + (size if size >= LARGE_BYTES else 0)


@cache
def _places() -> dict[str, int]:
    """Of hot sources and their families: a family's bytes are many, so its lowest place counts."""
    places = {name: place for place, name in enumerate(hot_sources())}
    for name, family in families().items():
        if known := [places[source] for source in family.sources if source in places]:
            places[name] = max(known)
    return places


@cache
def _units() -> dict[str, str]:
    return {source: name for name, family in families().items() for source in family.sources}


def clear() -> None:
    """Forget the tables: they are read again from ``TABLE`` and ``FAMILIES``."""
    for known in (hot_sources, families, _places, _units):
        known.cache_clear()


def _bin(source: str, bins: int) -> int:
    return int.from_bytes(hashlib.sha256(source.encode()).digest()[:8], "big") % bins
