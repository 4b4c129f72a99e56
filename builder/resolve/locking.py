"""A definition on top of locks → its lock; and what is asked of locks. Pure, but for asking apt."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from builder.errors import PackageHeld, ResolveError, Unsatisfiable
from builder.formats import deb, relations
from builder.model.decision import Hold
from builder.model.lock import RULES, Artifact, Grouping, Lock, LockedAnswer, LockedGroup, LockedPackage, LockedUser
from builder.resolve.apt_policy import Pin
from builder.resolve.facts import Facts, fingerprint

if TYPE_CHECKING:
    from builder.resolve.apt import AptRoot

NO_GROUPING = Grouping(0, ())
COMPILER_WISH = "python3-minimal"
CLOCK_WISH = "libfaketime"


@dataclass(frozen=True, slots=True)
class LockDiff:
    """What differs between two sets of packages and wheels."""

    added: tuple[Artifact, ...]
    removed: tuple[Artifact, ...]
    changed: tuple[tuple[Artifact, Artifact], ...]


def difference(old: tuple[Artifact, ...], new: tuple[Artifact, ...]) -> LockDiff:
    """Added, removed, and those with other bytes."""
    before, after = {p.title: p for p in old}, {p.title: p for p in new}
    return LockDiff(
        tuple(after[name] for name in sorted(after.keys() - before.keys())),
        tuple(before[name] for name in sorted(before.keys() - after.keys())),
        tuple(
            (before[name], after[name])
            for name in sorted(before.keys() & after.keys())
            if before[name].sha256 != after[name].sha256
        ),
    )


def resolve(
    facts: Facts,
    below: tuple[Lock, ...],
    old: Lock | None,
    apt: AptRoot,
    *,
    update: bool = False,
    only: frozenset[str] = frozenset(),
    holds: tuple[Hold, ...] = (),
    available: Callable[[LockedPackage], bool] = lambda package: True,
    obtain: Callable[[tuple[LockedPackage, ...]], None] = lambda packages: None,
) -> tuple[LockedPackage, ...]:
    """The packages that a definition adds to the locks below.

    Args:
        old: what is locked is kept as it is where it is still needed.
        update: move to the newest versions instead.
        only: source packages that move, and with them what their newest versions need; all else is kept.
        holds: what does not move, whatever else is asked for.
        available: whether a locked package can still be had; those that cannot move.
        obtain: fetches locked packages of which apt knows nothing any more, and which stay.

    Raises:
        Unsatisfiable: there is no answer that leaves what lies below alone.
        PackageHeld: there is none that leaves alone what is held.
    """
    whole = frozenset(hold.package for hold in holds if not hold.version)
    if update and old and any(p.source_package in whole for p in old.packages):
        # What is held stays as it is installed, and all else moves.
        update, only = False, frozenset(p.source_package for p in old.packages)
    only -= whole
    beneath = tuple(package for lock in below for package in lock.packages)
    names = {package.name for package in beneath}
    locked = tuple(p for p in old.packages if p.name not in names) if old and not update else ()
    kept = _standing(locked, frozenset(p.name for p in locked if not available(p) or apt.replaced(p)), apt)
    pins = _pins((hold for hold in holds if not hold.version or hold.package in only), (*beneath, *kept), apt)
    newer = _newer(kept, only, facts, apt, pins) if only else {}
    if old and (found := _moved(facts, old, beneath, kept, newer, apt)) is not None:
        return _needed(facts, beneath, found, apt)
    wishes = (*facts.wishes, *(f"{name} (>= {version})" for name, version in newer.items()))
    if unknown := tuple(p for p in (*beneath, *kept) if p.name not in newer and not apt.knows(p)):
        obtain(unknown)
    added = _solve(replace(facts, wishes=wishes), (*beneath, *kept), holds, pins, newer, apt)
    if newer:
        # They are there for the reason they were there for, not since they are to move.
        why = {p.name: p.why for p in kept}
        added = tuple(replace(p, why=why.get(p.name, p.why)) for p in added)
    moved = {p.name for p in added} & names
    if moved:
        name = sorted(moved)[0]
        owner = next(lock.name for lock in below if any(p.name == name for p in lock.packages))
        raise Unsatisfiable(
            f"{' → '.join(facts.chain)}: this needs another version of {name}, which {owner} has locked",
            facts.chain,
            f"run `imgbuild lock --update {owner}`",
        )
    replaced = {p.name for p in added}
    together = tuple(sorted((*(p for p in kept if p.name not in replaced), *added)))
    return _needed(facts, beneath, together, apt) if kept else together


def _moved(
    facts: Facts, old: Lock, beneath: tuple[LockedPackage, ...], kept: tuple[LockedPackage, ...], newer: Mapping[str, str],
    apt: AptRoot,
) -> tuple[LockedPackage, ...] | None:  # fmt: skip
    """What apt would come to, where there is nothing for it to decide; else None.

    That is where a definition asks for what it asked for, and its packages go together with what lies below as they are,
    but for those that move. Essential packages and what is recommended may come anew, so there it is asked.
    """
    if facts.essential or fingerprint(facts) != old.fingerprint or (newer and facts.recommends):
        return None
    had = {p.name: p for p in kept}
    moves = apt.exactly(newer)
    if moves is None:
        return None
    new = {p.name: replace(p, why=had[p.name].why) for p in moves}
    found = tuple(sorted({**had, **new}.values()))
    related = [apt.related(package) for package in (*beneath, *found)]
    holds = all(related) and relations.hold((one for one in related if one), facts.wishes)
    return found if holds else None


def _solve(
    asking: Facts, there: tuple[LockedPackage, ...], holds: tuple[Hold, ...], pins: tuple[Pin, ...],
    newer: Mapping[str, str], apt: AptRoot,
) -> tuple[LockedPackage, ...]:  # fmt: skip
    try:
        while True:
            added = apt.solve(asking, there, pins, newer)
            # What nobody named comes along seldom, and looking through the indexes for it takes its time.
            came = {(p.source_package, p.source_version) for p in added}
            more = _pins((hold for hold in holds if (hold.package, hold.version) in came), there, apt)
            if set(more) <= set(pins):
                return added
            pins = (*pins, *more)
    except Unsatisfiable as error:
        raise (_held(asking, there, holds, newer, apt) if pins else None) or error from None


def _pins(holds: Iterable[Hold], there: tuple[LockedPackage, ...], apt: AptRoot) -> tuple[Pin, ...]:
    """What tells apt of holds: packages of a source that is held as they are, and versions that none is to move to."""
    holds = tuple(holds)
    whole = frozenset(hold.package for hold in holds if not hold.version)
    fixed = {Pin(p.name, p.version, never=False) for p in there if p.source_package in whole}
    # One that is there already is no reason for going back.
    had = {(p.name, p.version) for p in there}
    banned = {one for hold in holds if hold.version for one in apt.built_from(hold.package, hold.version)}
    return tuple(sorted(fixed | {Pin(name, version, never=True) for name, version in banned - had}))


def _held(
    asking: Facts, there: tuple[LockedPackage, ...], holds: tuple[Hold, ...], newer: Mapping[str, str], apt: AptRoot
) -> PackageHeld | None:
    """Why there is no answer, if it is that something is held."""
    try:
        free = apt.solve(asking, there, newer=newer)
    except Unsatisfiable:
        return None
    had = {p.name for p in there}
    for package in free:
        for hold in holds:
            moves = package.name in had if not hold.version else hold.version == package.source_version
            if hold.package == package.source_package and moves:
                return PackageHeld(
                    f"{' → '.join(asking.chain)}: this needs {package.name} {package.version}, but {hold.told}",
                    asking.chain,
                    f"`imgbuild security hold {hold.package}{'=' if hold.version else ''}{hold.version} --undo` ends it",
                )
    return None


def _newer(
    kept: tuple[LockedPackage, ...], only: frozenset[str], facts: Facts, apt: AptRoot, pins: tuple[Pin, ...]
) -> dict[str, str]:
    """The newest version of each package of some sources that has a newer one than is locked."""
    from debian.debian_support import version_compare

    locked = {p.name: p.version for p in kept if p.source_package in only}
    newest = apt.newest(locked, facts.wishes, pins)
    return {
        name: newest[name][0]
        for name in locked
        if name in newest and version_compare(newest[name][0], locked[name]) > 0
    }


def _standing(locked: tuple[LockedPackage, ...], gone: frozenset[str], apt: AptRoot) -> tuple[LockedPackage, ...]:
    # apt refuses an installed package whose dependency is not there: what needs a package that is gone is solved anew.
    while gone:
        kept = tuple(p for p in locked if p.name not in gone)
        keys = ("Pre-Depends", "Depends")
        broken = frozenset(
            p.name
            for p in kept
            if (stanza := apt.stanza(p)) is None
            or gone & {n for key in keys for n in deb.relation_names(stanza.get(key, ""))}
        )
        if not broken:
            return kept
        gone |= broken
    return locked


def _needed(
    facts: Facts, beneath: tuple[LockedPackage, ...], together: tuple[LockedPackage, ...], apt: AptRoot
) -> tuple[LockedPackage, ...]:
    # A wish that was taken away leaves packages that nothing asks for: what the wishes reach stays.
    stanzas = {p.name: apt.stanza(p) or {} for p in together}
    provided: dict[str, list[str]] = {}
    for name, fields in stanzas.items():
        for virtual in deb.relation_names(fields.get("Provides", "")):
            provided.setdefault(virtual, []).append(name)
    reached: set[str] = set()
    wishes = [name for wish in facts.wishes for name in deb.relation_names(wish)]
    queue = [
        *wishes,
        *(name for name, fields in stanzas.items() if facts.essential and fields.get("Essential") == "yes"),
    ]
    keys = ("Pre-Depends", "Depends", *(("Recommends",) if facts.recommends else ()))
    while queue:
        wanted = queue.pop()
        for name in [wanted] if wanted in stanzas else provided.get(wanted, ()):
            if name not in reached:
                reached.add(name)
                queue += [n for key in keys for n in deb.relation_names(stanzas[name].get(key, ""))]
    return tuple(p for p in together if p.name in reached)


def compiler(
    facts: Facts, old: Lock | None, apt: AptRoot, only: frozenset[str] = frozenset()
) -> tuple[LockedPackage, ...]:
    """The packages whose interpreter compiles byte code; they move only with a new minor version.

    Args:
        only: source packages that move, if not all do.
    """
    # What it depends on says which minor version it is.
    says = next((p.source_package for p in old.compiler if p.name == COMPILER_WISH), None) if old else None
    if old and only and says and says not in only:
        return old.compiler
    wanted = replace(facts, wishes=(COMPILER_WISH,), essential=False, recommends=False)
    try:
        found = apt.solve(wanted, ())
    except Unsatisfiable:
        return ()
    if old and _minor(old.compiler) == _minor(found) and old.compiler:
        return old.compiler
    return found


def clock(facts: Facts, old: Lock | None, apt: AptRoot) -> tuple[LockedPackage, ...]:
    """The package whose library shows scripts the time of the rules; once locked, it stays."""
    if old and old.clock:
        return old.clock
    wanted = replace(facts, wishes=(CLOCK_WISH,), essential=False, recommends=False)
    try:
        return tuple(package for package in apt.solve(wanted, ()) if package.name == CLOCK_WISH)
    except Unsatisfiable:
        return ()


def _minor(packages: tuple[LockedPackage, ...]) -> str:
    names = [p.name for p in packages if re.fullmatch(r"python3\.\d+-minimal", p.name)]
    return names[0] if names else ""


def lock(
    facts: Facts,
    below: tuple[Lock, ...],
    packages: tuple[LockedPackage, ...],
    apt: AptRoot,
    *,
    users: tuple[LockedUser, ...] = (),
    groups: tuple[LockedGroup, ...] = (),
    grouping: Grouping = NO_GROUPING,
    answers: tuple[LockedAnswer, ...] = (),
    compiler: tuple[LockedPackage, ...] = (),
    clock: tuple[LockedPackage, ...] = (),
) -> Lock:
    """The lock of what was found."""
    return Lock(
        name=facts.definition, architecture=facts.architecture, rules=RULES, fingerprint=fingerprint(facts),
        stands_on=below[-1].digest() if below else None, sources=apt.dates(), packages=packages,
        users=users, groups=groups, grouping=grouping, answers=answers, compiler=compiler, clock=clock,
    )  # fmt: skip


def why(locks: tuple[Lock, ...], package: str) -> tuple[tuple[str, Artifact], ...]:
    """The chain from a package to what was asked for: (definition, package), the package first.

    Args:
        package: its name; a wheel's is found where no package of Debian has it, and its environment may stand before
            it: ``web/flask``.

    Raises:
        ResolveError: no lock has it.
    """
    by_name = {p.name: (lock.name, p) for lock in locks for p in lock.packages}
    wheels = {w.title: (lock.name, w) for lock in locks for w in lock.wheels}
    first: tuple[str, Artifact] | None = by_name.get(package) or wheels.get(package)
    first = first or next((one for one in wheels.values() if one[1].name == package), None)
    if first is None:
        raise ResolveError(f"{package} is not in {locks[-1].name}")
    found = [first]
    while len(found) < len(by_name) + len(wheels):
        last = found[-1][1]
        above: tuple[str, Artifact] | None = (
            by_name.get(last.why) if isinstance(last, LockedPackage) else wheels.get(f"{last.environment}/{last.why}")
        )
        if above is None:
            break
        found.append(above)
    return tuple(found)
