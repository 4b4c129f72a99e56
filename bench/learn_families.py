"""Learn from this repository's locks which source packages come together in definitions that do not know of each other.

``python -m bench.learn_families`` writes ``builder/plan/families.yaml``. A family is the sources that the same definitions
bring, with the same packages of each: in a layer of its own it is the same layer in all of them. What is patched often makes
families of its own, so that a fix does not send what is not. A source that is in several such sets is of the one in which it
saves most.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from builder.formats import lockfile
from builder.model.lock import LockedPackage
from builder.plan import groups

ROOT = Path(__file__).parent.parent
AT_LEAST = 500_000
"""Bytes that a family has to save."""
HEAD = """\
# Source packages that come together in definitions which do not know of each other: a layer of their own is the same in all of
# these. `shares` is what each of them saves by that, in kilobytes of packages. Made by `python -m bench.learn_families`;
# changing it changes layers, so it belongs to the rules.
families:
"""


class Member(NamedTuple):
    """A source in one set of its packages. ``size`` of these, in bytes."""

    source: str
    size: int


def families(definitions: Iterable[tuple[LockedPackage, ...]]) -> dict[str, groups.Family]:
    """Families by name, that of their largest source, sorted.

    Args:
        definitions: the packages of each.
    """
    users: dict[tuple[str, tuple[tuple[str, str], ...]], set[int]] = defaultdict(set)
    sizes: dict[tuple[str, str], int] = {}
    for number, packages in enumerate(definitions):
        brought: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for package in packages:
            brought[package.source_package].append((package.name, package.version))
            sizes[package.name, package.version] = package.size
        for source, those in brought.items():
            users[source, tuple(sorted(those))].add(number)
    together: dict[tuple[frozenset[int], bool], list[Member]] = defaultdict(list)
    for (source, known), users_of in users.items():
        if len(users_of) > 1:
            is_hot = source in groups.hot_sources()
            together[frozenset(users_of), is_hot].append(Member(source, sum(sizes[one] for one in known)))
    best: dict[str, tuple[int, int, str, int]] = {}
    for (by, _), members in sorted(together.items(), key=lambda item: sorted(item[1])):
        times = len(by)
        if (times - 1) * sum(member.size for member in members) >= AT_LEAST:
            name = max(members, key=lambda member: (member.size, member.source)).source
            for member in members:
                found = ((times - 1) * member.size, times, name, member.size)
                best[member.source] = max(best.get(member.source, found), found)
    chosen: dict[tuple[str, int], list[str]] = defaultdict(list)
    shares: dict[tuple[str, int], int] = defaultdict(int)
    for source, (_, times, name, size) in sorted(best.items()):
        chosen[name, times].append(source)
        shares[name, times] += size * (times - 1) // times
    named = {max(sources, key=lambda one: (best[one][3], one)): key for key, sources in chosen.items()}
    return {name: groups.Family(shares[named[name]], tuple(chosen[named[name]])) for name in sorted(named)}


def main() -> None:
    """Write the table."""
    paths = [*ROOT.glob("layers/*/lock.yaml"), *ROOT.glob("repos/*/lock.yaml")]
    locks = [lock for path in sorted(paths) for lock in lockfile.read(path).locks]
    found = families(lock.packages for lock in locks)
    lines = [
        f"  {name}: {{shares: {family.shares // 1000}, sources: [{', '.join(family.sources)}]}}\n"
        for name, family in found.items()
    ]
    groups.FAMILIES.write_text(HEAD + "".join(lines))
    print(f"{groups.FAMILIES.name}: {len(lines)} families")


if __name__ == "__main__":
    main()
