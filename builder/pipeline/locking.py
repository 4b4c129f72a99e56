"""Definitions → locks: solve, learn the numbers of users, give revisions; bottom-up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from builder.errors import UsageError
from builder.formats import lockfile
from builder.model.digest import Digest
from builder.model.lock import RULES, Lock, LockedGroup, LockedPackage, LockedUser, LockFile
from builder.pipeline import making, packages
from builder.pipeline.edges import Edges
from builder.plan import accounts, groups, planner
from builder.plan.planner import Locked
from builder.resolve import locking
from builder.resolve.facts import fingerprint
from builder.resolve.locking import LockDiff
from builder.tools import files as files_
from dsl import versions
from dsl.catalog import Catalog, CatalogComponent, Definition


@dataclass(frozen=True, slots=True)
class LockChange:
    """What locking did to one definition's lock."""

    definition: str
    path: Path
    after: Lock
    difference: LockDiff


def images(catalog: Catalog, targets: Iterable[str]) -> tuple[Definition, ...]:
    """The image definitions that some targets mean; all of them if there is no target."""
    names = tuple(targets) or tuple(component.name for component in catalog.components)
    found: dict[str, Definition] = {}
    for name in names:
        for definition in catalog.find(name):
            found.setdefault(f"{definition.component}/{definition.name}", definition)
    return tuple(found.values())


def definitions(images: Iterable[Definition]) -> tuple[Definition, ...]:
    """Every definition of some images' chains once, those below before those above."""
    found = {definition.name: definition for image in images for definition in image.chain()}
    return tuple(sorted(found.values(), key=lambda definition: len(definition.chain())))


def read(images: tuple[Definition, ...], architecture: str) -> dict[str, Lock]:
    """The locks of all definitions of some images' chains, as they lie in their files, by definition."""
    found: dict[str, Lock] = {}
    files: dict[Path, LockFile] = {}
    for definition in definitions(images):
        if definition.lock_path not in files:
            files[definition.lock_path] = lockfile.read(definition.lock_path)
        lock = files[definition.lock_path].get(definition.name, architecture)
        if lock:
            found[definition.name] = lock
    return found


def chain(definition: Definition, locks: Mapping[str, Lock]) -> tuple[Locked, ...]:
    """A definition's chain with its locks, bottom first."""
    return tuple(Locked(part, locks[part.name]) for part in definition.chain())


def stale(
    catalog: Catalog, images: tuple[Definition, ...], locks: Mapping[str, Lock], architecture: str
) -> dict[str, str]:
    """Definitions whose lock cannot be used, and why; needs no network."""
    reasons: dict[str, str] = {}
    digests: dict[str, Digest] = {}
    for definition in definitions(images):
        lock, below = locks.get(definition.name), definition.extends
        if lock is None:
            reasons[definition.name] = f"there is no lock for {architecture}"
        elif lock.rules != RULES:
            reasons[definition.name] = f"it was made by rules {lock.rules}, these are {RULES}"
        elif lock.fingerprint != fingerprint(packages.facts(catalog, definition, architecture)):
            reasons[definition.name] = "the definition has changed"
        elif below and (below.name in reasons or lock.stands_on != digests[below.name]):
            reasons[definition.name] = f"the lock of {below.name} below it has changed"
        else:
            digests[definition.name] = locking.lock_digest(lock)
    return reasons


def check(catalog: Catalog, targets: Iterable[str]) -> dict[str, str]:
    """Locks of some targets that do not fit their definitions, and why."""
    wanted, architecture = images(catalog, targets), packages.architecture(catalog)
    return stale(catalog, wanted, read(wanted, architecture), architecture)


def version(component: CatalogComponent, locked: tuple[Locked, ...]) -> str:
    """The version of the product: literal, or that of the package that carries it.

    Raises:
        UsageError: the package is not in the lock of the chain.
    """
    rule = component.model.version
    if isinstance(rule, str):
        return rule
    name = rule.from_.removeprefix("apt/")
    found = next((p.version for x in reversed(locked) for p in x.lock.packages if p.name == name), None)
    if found is None:
        where = locked[-1].definition.name
        raise UsageError(f"the version of {component.name} is that of {name}, which {where} does not have")
    return versions.product_version(found)


def lock(
    catalog: Catalog, targets: Iterable[str], edges: Edges, *, update: bool = False, regroup: bool = False
) -> tuple[LockChange, ...]:
    """Lock the chains of some targets, bottom-up, and write the lock files.

    Args:
        update: move to the newest versions; else what is locked is kept.
        regroup: group packages into layers anew.
    """
    return lock_images(catalog, images(catalog, targets), edges, update=update, regroup=regroup)


def lock_images(
    catalog: Catalog, wanted: tuple[Definition, ...], edges: Edges, *, update: bool = False, regroup: bool = False
) -> tuple[LockChange, ...]:
    """The same for image definitions."""
    architecture = packages.architecture(catalog)
    old = read(wanted, architecture)
    locks: dict[str, Lock] = {}
    changes = []
    updated: set[str] = set()
    for definition in definitions(wanted):
        facts = packages.facts(catalog, definition, architecture)
        apt = packages.apt_root(catalog, definition, edges)
        if apt.name not in updated:
            edges.reporter.step("reading package indexes")
            apt.update()
            updated.add(apt.name)
        edges.reporter.step(f"locking {definition.name}")
        before = old.get(definition.name)
        below = tuple(locks[part.name] for part in definition.chain()[:-1])
        found = locking.resolve(facts, below, before, apt, update=update)
        grouping = groups.grouping(found, before.grouping if before and not regroup else None, definition.kind)
        users, group_numbers = accounts.declared(definition.model, accounts.numbers(below))
        users, group_numbers = _with_learnt(users, group_numbers, before)
        compiler = locking.compiler(facts, before, apt) if definition.extends is None else ()
        clock = locking.clock(facts, before, apt) if definition.extends is None else ()
        made = locking.lock(facts, below, found, users, group_numbers, grouping, compiler, clock, apt)
        if (
            before is None
            or before.packages != found
            or before.fingerprint != made.fingerprint
            or before.clock != clock
        ):
            made = _learn(catalog, definition, {**locks, definition.name: made}, edges)
        else:
            made = replace(made, users=before.users, groups=before.groups)
        locks[definition.name] = made
        difference = locking.difference(before.packages if before else (), found)
        changes.append(LockChange(definition.name, definition.lock_path, made, difference))
    _write(catalog, wanted, locks, edges)
    return tuple(changes)


def _with_learnt(
    users: tuple[LockedUser, ...], group_numbers: tuple[LockedGroup, ...], before: Lock | None
) -> tuple[tuple[LockedUser, ...], tuple[LockedGroup, ...]]:
    # What the definition says goes before what was learnt.
    if before is None:
        return users, group_numbers
    names, group_names = {u.name for u in users}, {g.name for g in group_numbers}
    users = (*users, *(u for u in before.users if u.name not in names))
    group_numbers = (*group_numbers, *(g for g in before.groups if g.name not in group_names))
    return tuple(sorted(users)), tuple(sorted(group_numbers))


def _learn(catalog: Catalog, definition: Definition, locks: Mapping[str, Lock], edges: Edges) -> Lock:
    """Configure once without holding scripts to numbers, and lock those that they allocate."""
    lock_ = locks[definition.name]
    contents = packages.contents([definition], edges.store)
    compression = catalog.workspace.defaults.compression
    plan = planner.state_layer(chain(definition, locks), contents, compression, learn=True)

    def fetch(wanted: tuple[LockedPackage, ...]) -> None:
        packages.fetch(catalog, [definition], wanted, edges)

    made = making.make((plan,), edges.store, fetch, edges.jobs, edges.reporter)
    making.require(made, (plan,))
    found = made.layers[plan.cache_key]
    below = [locks[part.name] for part in definition.chain()[:-1]]
    known_users = {user.name for one in below for user in one.users}
    known_groups = {group.name for one in below for group in one.groups}
    users = {u.name: u for u in found.users if u.name not in known_users}
    numbers = {g.name: g for g in found.groups if g.name not in known_groups}
    users |= {user.name: user for user in lock_.users if user.name in users or user.name in definition.model.users}
    return replace(lock_, users=tuple(sorted(users.values())), groups=tuple(sorted(numbers.values())))


def _write(catalog: Catalog, wanted: tuple[Definition, ...], locks: Mapping[str, Lock], edges: Edges) -> None:
    contents = packages.contents(wanted, edges.store)
    files: dict[Path, LockFile] = {}
    for definition in definitions(wanted):
        path = definition.lock_path
        file = files.get(path) or lockfile.read(path)
        lock_ = locks[definition.name]
        kept = tuple(x for x in file.locks if (x.name, x.architecture) != (lock_.name, lock_.architecture))
        files[path] = replace(file, locks=(*kept, lock_))
    for image in wanted:
        component = next(c for c in catalog.components if c.name == image.component)
        locked = chain(image, locks)
        plan = planner.image(component, locked, contents, catalog.workspace.defaults, version(component, locked), 1)
        file = files[image.lock_path]
        revision = planner.revise(file.revisions, plan)
        others = tuple(x for x in file.revisions if x.image != image.name)
        files[image.lock_path] = replace(file, revisions=(*others, revision))
    for path, file in files.items():
        text = lockfile.text(file)
        if not path.exists() or path.read_text() != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            files_.write(path, text.encode())


def dev(catalog: Catalog, wanted: tuple[Definition, ...], locks: Mapping[str, Lock], edges: Edges) -> dict[str, Lock]:
    """Locks in memory, in which packages that cannot be had any more have moved to the nearest newer ones."""
    architecture = packages.architecture(catalog)
    made: dict[str, Lock] = {}
    for definition in definitions(wanted):
        facts = packages.facts(catalog, definition, architecture)
        apt = packages.apt_root(catalog, definition, edges)
        apt.update()
        before = locks[definition.name]
        below = tuple(made[part.name] for part in definition.chain()[:-1])
        found = locking.resolve(facts, below, before, apt, available=apt.available)
        for old, new in locking.difference(before.packages, found).changed:
            edges.reporter.warn(f"{definition.name}: {old.name} {old.version} is gone, {new.version} takes its place")
        compiler = (
            before.compiler if all(apt.available(p) for p in before.compiler) else locking.compiler(facts, None, apt)
        )
        clock = before.clock if all(apt.available(p) for p in before.clock) else locking.clock(facts, None, apt)
        fresh = locking.lock(facts, below, found, before.users, before.groups, before.grouping, compiler, clock, apt)
        made[definition.name] = _learn(catalog, definition, {**made, definition.name: fresh}, edges)
    return made


def outdated(catalog: Catalog, targets: Iterable[str], edges: Edges) -> tuple[tuple[str, str, str, str], ...]:
    """Locked packages that have newer versions: (definition, package, locked, newest)."""
    wanted, architecture = images(catalog, targets), packages.architecture(catalog)
    locks = read(wanted, architecture)
    rows, updated = [], set()
    for definition in definitions(wanted):
        lock_ = locks.get(definition.name)
        if lock_ is None:
            continue
        apt = packages.apt_root(catalog, definition, edges)
        if apt.name not in updated:
            apt.update()
            updated.add(apt.name)
        newest = apt.newest(package.name for package in lock_.packages)
        for package in lock_.packages:
            version_ = newest.get(package.name, package.version)
            if version_ != package.version:
                rows.append((definition.name, package.name, package.version, version_))
    return tuple(rows)
