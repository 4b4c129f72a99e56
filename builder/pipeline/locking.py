"""Definitions → locks: solve, learn the numbers of users, give revisions; bottom-up."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from builder.errors import MakeError, StaleLock
from builder.formats import lockfile
from builder.model.decision import Hold
from builder.model.lock import RULES, Artifact, Lock, LockedGroup, LockedPackage, LockedUser, LockFile, Revision
from builder.model.plan import ImagePlan, LayerPlan, MadeLayer
from builder.pipeline import decisions, making, packages, reviewing, wheels
from builder.pipeline.edges import Edges
from builder.pipeline.making import Made
from builder.pipeline.selection import Selection, definitions
from builder.plan import accounts, groups, planner
from builder.plan.planner import Locked, Part
from builder.resolve import locking
from builder.resolve.facts import fingerprint
from builder.resolve.locking import LockDiff
from builder.tools import git
from dsl.catalog import Catalog, Definition
from dsl.errors import Problem

if TYPE_CHECKING:
    from builder.resolve.apt import AptRoot

_UNWRITTEN = "the lock cannot be written"
Locks = Mapping[str, Lock]
"""Locks by the key of their definition."""
Tried = tuple[Made, LayerPlan]
"""What came of making a state."""
Ready = Callable[[Catalog, Locks, Mapping[str, ImagePlan]], None]
"""Sees to it that images, whose plans it is given by their keys, can be built by new locks for the architecture that the catalog
means."""


@dataclass(frozen=True, slots=True)
class LockChange:
    """What locking did to one definition's lock."""

    definition: str
    path: Path
    after: Lock
    difference: LockDiff


def read(wanted: Iterable[Definition], architecture: str) -> dict[str, Lock]:
    """The locks of some definitions: their own, else upstream's, which holds as long as it fits."""
    found: dict[str, Lock] = {}
    files: dict[Path, LockFile] = {}
    for definition in wanted:
        for path in (definition.lock_path, definition.upstream_lock_path):
            if path is None:
                continue
            if path not in files:
                files[path] = lockfile.read(path)
            lock = files[path].get(definition.name, architecture)
            if lock:
                found[definition.key] = lock
                break
    return found


def every(catalog: Catalog, wanted: Iterable[Definition]) -> Iterator[tuple[str, Lock]]:
    """The locks of some definitions for all architectures, by the keys of these."""
    definitions_ = tuple(wanted)
    for architecture in packages.architectures(catalog):
        yield from read(definitions_, architecture).items()


def chain(definition: Definition, locks: Locks) -> tuple[Locked, ...]:
    """A definition's chain with its locks, bottom first."""
    return tuple(Locked(part, locks[part.key]) for part in definition.chain())


def stale(catalog: Catalog, wanted: Iterable[Definition], locks: Locks, architecture: str) -> dict[str, str]:
    """Definitions whose lock cannot be used, by key, and why; needs no network.

    Args:
        wanted: those below before those above.
    """
    reasons: dict[str, str] = {}
    for definition in wanted:
        below = definition.extends
        if below and below.key in reasons:
            reasons[definition.key] = f"the lock of {below.name} below it cannot be used"
            continue
        reason = _misfit(catalog, definition, locks.get(definition.key), locks, architecture)
        if reason:
            reasons[definition.key] = reason
    return reasons


def _misfit(catalog: Catalog, definition: Definition, lock: Lock | None, locks: Locks, architecture: str) -> str | None:
    if lock is None:
        return f"there is no lock for {architecture}"
    if lock.rules != RULES:
        return f"it was made by rules {lock.rules}, these are {RULES}"
    if lock.fingerprint != fingerprint(packages.facts(catalog, definition, architecture)):
        return "the definition has changed"
    below = definition.extends
    if below and lock.stands_on != locks[below.key].digest():
        return f"the lock of {below.name} below it has changed"
    return None


def revisions(catalog: Catalog, images: Iterable[Definition]) -> dict[str, Revision]:
    """The revisions that locks give to images, by key."""
    files: dict[Path, LockFile] = {}
    found: dict[str, Revision] = {}
    architecture = packages.architecture(catalog)
    for image in images:
        if image.lock_path not in files:
            files[image.lock_path] = lockfile.read(image.lock_path)
        known = files[image.lock_path].revision(image.name, architecture)
        if known:
            found[image.key] = known
    return found


def drafts(catalog: Catalog, images: Iterable[Definition], locks: Locks, edges: Edges) -> dict[str, ImagePlan]:
    """The plans of images, by key, without a revision."""
    wanted = tuple(images)
    contents = packages.contents(wanted, edges.store)
    chains = [(catalog.component_of(image), chain(image, locks)) for image in wanted]
    plans = planner.images(chains, contents, catalog.workspace.defaults)
    return {image.key: plan for image, plan in zip(wanted, plans, strict=True)}


def misrevised(plans: Mapping[str, ImagePlan], known: Mapping[str, Revision]) -> dict[str, str]:
    """Images whose content is not that of the revision in their lock, by key, and why."""
    reasons: dict[str, str] = {}
    for key, plan in plans.items():
        revision = known.get(key)
        if revision is None:
            reasons[key] = "it has no revision"
        elif (revision.version, revision.content_key) != (plan.version, plan.content_key):
            reasons[key] = f"what it holds or how it runs is not what r{revision.revision} is"
    return reasons


def check(catalog: Catalog, selection: Selection, edges: Edges, architectures: Iterable[str] = ()) -> dict[str, str]:
    """Names of definitions whose locks do not fit them, and why.

    Args:
        architectures: for which; none for all that the workspace's images are made for.
    """
    found: dict[str, str] = {}
    for architecture in tuple(architectures) or packages.architectures(catalog):
        meant = packages.at(catalog, architecture)
        found |= {title + packages.other(meant): why for title, why in _unfit(meant, selection, edges).items()}
    return found


def _unfit(catalog: Catalog, selection: Selection, edges: Edges) -> dict[str, str]:
    architecture = packages.architecture(catalog)
    locks = read(selection.definitions, architecture)
    reasons = stale(catalog, selection.definitions, locks, architecture)
    sound = [image for image in selection.images if not any(part.key in reasons for part in image.chain())]
    reasons |= misrevised(drafts(catalog, sound, locks, edges), revisions(catalog, sound))
    return {
        definition.title: reasons[definition.key] for definition in selection.definitions if definition.key in reasons
    }


def lock(
    catalog: Catalog, selection: Selection, edges: Edges, *, update: bool = False, regroup: bool = False,
    only: frozenset[str] = frozenset(), write: bool = True, holds: tuple[Hold, ...] | None = None,
    start: Mapping[str, Locks] | None = None,
    beside: Callable[[Mapping[Path, LockFile]], Mapping[Path, str]] | None = None, ready: Ready | None = None,
    architectures: Iterable[str] = (),
) -> tuple[LockChange, ...]:  # fmt: skip
    """Lock what is selected, bottom-up, and write the lock files.

    What is locked and fits is left alone; so locking a component never moves what it stands on.

    Args:
        architectures: for which; none for all that the workspace's images are made for.
        update: move the definitions that were asked for to the newest versions.
        regroup: group their packages into layers anew.
        only: source packages of theirs that move, and nothing else but what these need.
        write: whether lock files are written; without it this is a trial.
        holds: what does not move; those of the workspace if none are given.
        start: locks that some definitions begin with in place of their own, by key; by architecture.
        beside: the texts of other files that are written with the lock files, all of them or none.
        ready: is asked for each architecture before anything is written.

    Raises:
        StaleLock: a lock from elsewhere, which is never written, does not fit.
        Unsatisfiable: there is no answer that leaves what lies below alone.
    """
    holds = decisions.holds_in_force(catalog) if holds is None else holds
    rounds = []
    for architecture in tuple(architectures) or packages.architectures(catalog):
        rounds.append(
            _locked_for(
                packages.at(catalog, architecture), selection, edges, update=update, regroup=regroup, only=only,
                holds=holds, start=(start or {}).get(architecture, {}), layers=ready is not None,
            )
        )  # fmt: skip
    changes = tuple(change for one in rounds for change in one.changes)
    if not write:
        return changes
    _write(catalog, selection, rounds, edges, beside, ready)
    for problem in (
        *reviewing.unraised(selection.definitions),
        *dict.fromkeys(problem for one in rounds for problem in _new_sudo(selection, one.old, one.locks)),
    ):
        edges.reporter.warn(f"{problem.message}\n  hint: {problem.hint}")
    return changes


@dataclass(frozen=True, slots=True)
class _Round:
    """What locking for one architecture came to.

    Attributes:
        catalog: that means it.
        old, locks: before and after.
    """

    catalog: Catalog
    old: Locks
    locks: Locks
    changes: tuple[LockChange, ...]


def _locked_for(
    catalog: Catalog, selection: Selection, edges: Edges, *, update: bool, regroup: bool, only: frozenset[str],
    holds: tuple[Hold, ...], start: Locks, layers: bool,
) -> _Round:  # fmt: skip
    """Lock what is selected for the architecture that the catalog means.

    Args:
        layers: whether the layers of packages that have moved are made, too, since images are built next.
    """
    architecture = packages.architecture(catalog)
    old = read(selection.definitions, architecture)
    indexes, of = _Indexes(catalog, edges, old), packages.other(catalog)

    def moving(definition: Definition) -> bool:
        wanted = update or regroup or bool(only) or definition.key in start
        return wanted and definition.key in selection.asked

    def begins(definition: Definition) -> Lock | None:
        return start.get(definition.key, old.get(definition.key))

    def resolved(definition: Definition, below: Locks) -> Lock:
        """A definition's lock on top of others, without the numbers that are still to be learnt."""
        edges.reporter.step(f"locking {definition.title}{of}")
        moves = moving(definition)
        return _resolved(
            catalog, definition, begins(definition), below, indexes.of(definition), edges, update=update and moves,
            regroup=regroup and moves, only=only if moves else frozenset(), holds=holds,
            was=tuple(old[part.key] for part in definition.chain()[:-1] if part.key in old),
        )  # fmt: skip

    hoped = _hoped(catalog, selection.definitions, old, moving, resolved)
    tried = _configured_ahead(catalog, selection.definitions, old, hoped, edges, layers=layers)
    locks: dict[str, Lock] = {}
    changes = []
    for definition in selection.definitions:
        before = old.get(definition.key)
        reason = _misfit(catalog, definition, before, locks, architecture)
        if before is not None and reason is None and not moving(definition):
            made = before
        elif definition.foreign:
            raise StaleLock(
                f"the lock of {definition.name} cannot be used: {reason or 'it comes from elsewhere'}",
                "it comes from elsewhere and is never written: use another commit of it, or change it by an overlay",
            )
        else:
            as_hoped = all(locks[part.key] == hoped.get(part.key) for part in definition.chain()[:-1])
            ahead = hoped.get(definition.key) if as_hoped else None
            found = ahead or resolved(definition, locks)
            done = tried.get(definition.key) if ahead else None
            made = _learnt(catalog, definition, begins(definition), found, locks, edges, done)
            if update and moving(definition) and before:
                _tell_held(definition, made, holds, edges)
        if not definition.foreign:
            made = replace(made, text=reviewing.kept(definition, before))
        locks[definition.key] = made
        had: tuple[Artifact, ...] = (*before.packages, *before.wheels) if before else ()
        difference = locking.difference(had, (*made.packages, *made.wheels))
        changes.append(LockChange(definition.title + of, definition.lock_path, made, difference))
    return _Round(catalog, old, locks, tuple(changes))


def _tell_held(definition: Definition, made: Lock, holds: tuple[Hold, ...], edges: Edges) -> None:
    here = {package.source_package for package in made.packages}
    for hold in holds:
        if hold.package in here:
            edges.reporter.note(f"{definition.title}: {hold.told}")


def _new_sudo(selection: Selection, old: Locks, locks: Locks) -> tuple[Problem, ...]:
    # Of what was there before `check` tells.
    changed = (
        one for one in selection.definitions if one.key not in old or old[one.key].packages != locks[one.key].packages
    )
    return tuple(reviewing.sudo(changed, locks))


class _Indexes:
    """Private apts whose indexes are brought up to date once."""

    def __init__(self, catalog: Catalog, edges: Edges, locks: Locks) -> None:
        self._catalog, self._edges = catalog, edges
        self._seen = tuple(row for lock in locks.values() for row in lock.sources)
        self._updated: dict[str, AptRoot] = {}

    def of(self, definition: Definition) -> AptRoot:
        """The apt of a definition; definitions with the same sources have one."""
        apt = packages.apt_root(self._catalog, definition, self._edges)
        if apt.name not in self._updated:
            self._edges.reporter.step("reading package indexes")
            apt.update(self._seen)
            self._updated[apt.name] = apt
        return self._updated[apt.name]


def _hoped(
    catalog: Catalog, wanted: Iterable[Definition], old: Locks, moving: Callable[[Definition], bool],
    resolved: Callable[[Definition, Locks], Lock],
) -> dict[str, Lock]:  # fmt: skip
    """What locks come to be, if all numbers that were learnt still hold; those of definitions that were never locked, and
    of what stands on them, are not known ahead."""
    found: dict[str, Lock] = {}
    for definition in wanted:
        before = old.get(definition.key)
        if before is None or any(part.key not in found for part in definition.chain()[:-1]):
            continue
        fits = _misfit(catalog, definition, before, found, before.architecture) is None
        if definition.foreign:
            # One that does not fit is told when it is its turn.
            found |= {definition.key: before} if fits else {}
        else:
            made = before if fits and not moving(definition) else resolved(definition, found)
            found[definition.key] = replace(made, text=reviewing.kept(definition, before))
    return found


def _configured_ahead(
    catalog: Catalog, wanted: Iterable[Definition], old: Locks, hoped: Locks, edges: Edges, *, layers: bool
) -> dict[str, Tried]:
    """Configure several at once: what came of those that it was tried for, by the keys of their definitions.

    Args:
        layers: whether the layers of packages that have moved are made meanwhile, since images are built next: states wait
            for each other.
    """
    asked = tuple(x for x in wanted if x.key in hoped and not _same(old[x.key], hoped[x.key]))
    if not asked:
        return {}
    before = {package.sha256 for one in asked for package in old[one.key].packages}
    moved = frozenset(package.sha256 for one in asked for package in hoped[one.key].packages) - before
    made, plans = _states(catalog, asked, hoped, edges, with_layers_of=moved if layers else frozenset())
    done = made.layers.keys() | made.outcome.errors.keys()
    return {x.key: (made, plan) for x, plan in zip(asked, plans, strict=True) if plan.cache_key in done}


def _resolved(
    catalog: Catalog, definition: Definition, before: Lock | None, locks: Locks, apt: AptRoot, edges: Edges, *,
    update: bool = False, regroup: bool = False, only: frozenset[str] = frozenset(), holds: tuple[Hold, ...] = (),
    gone: frozenset[str] = frozenset(), was: tuple[Lock, ...] = (),
) -> Lock:  # fmt: skip
    """Resolve one definition on top of the locks below it; the numbers of its users and groups are those of before.

    Args:
        was: the locks below it as they were.
        gone: sha256 of locked packages that cannot be had any more.
    """
    facts = packages.facts(catalog, definition, packages.architecture(catalog))
    below = tuple(locks[part.key] for part in definition.chain()[:-1])
    known = (*below, *((before,) if before else ()))

    def obtain(wanted: tuple[LockedPackage, ...]) -> None:
        packages.fetch(catalog, (definition,), wanted, edges, known)

    found = locking.resolve(
        facts, below, before, apt, update=update, only=only, holds=holds, available=lambda p: p.sha256 not in gone,
        obtain=obtain,
    )  # fmt: skip
    grouping = groups.grouping(found, before.grouping if before and not regroup else None, definition.kind)
    users, group_numbers = accounts.declared(definition.model, accounts.numbers(below))
    users, group_numbers = _with_learnt(users, group_numbers, before)
    compiler: tuple[LockedPackage, ...] = ()
    clock: tuple[LockedPackage, ...] = ()
    if definition.extends is None:
        kept = before if before and not any(p.sha256 in gone for p in (*before.compiler, *before.clock)) else None
        compiler, clock = locking.compiler(facts, kept, apt, only), locking.clock(facts, kept, apt)
    made = locking.lock(
        facts, below, found, apt, users=users, groups=group_numbers, grouping=grouping,
        answers=planner.answers(definition.model), compiler=compiler, clock=clock,
    )  # fmt: skip
    if definition.model.environments:
        if before and not (update or regroup) and wheels.settled(definition, before, was, made, below):
            made = replace(made, environments=before.environments, wheels=before.wheels)
        else:
            environments, own = wheels.lock(
                catalog, definition, below, found, facts.architecture, before, edges, update=update, regroup=regroup
            )
            made = replace(made, environments=environments, wheels=own)
    if before is None:
        return made
    if _same(before, made):
        made = replace(made, users=before.users, groups=before.groups)
        # Newer dates of the indexes alone are no reason to write.
        return before if replace(made, sources=before.sources, built=before.built, text=before.text) == before else made
    # Layers that are the same still turn out to be what they were, and a report tells what is new by that.
    return replace(made, built=before.built)


def _same(before: Lock, made: Lock) -> bool:
    """Whether configuring is given what it was given before."""
    return (before.packages, before.fingerprint, before.clock, before.answers, before.rules) == (
        made.packages, made.fingerprint, made.clock, made.answers, made.rules,
    )  # fmt: skip


def _learnt(
    catalog: Catalog, definition: Definition, before: Lock | None, made: Lock, locks: Locks, edges: Edges,
    tried: Tried | None = None,
) -> Lock:  # fmt: skip
    """A resolved lock with the numbers that scripts allocate.

    Args:
        tried: what came of configuring by just these locks, if that was done.
    """
    if before is not None and _same(before, made):
        return made
    return _learn(catalog, definition, {**locks, definition.key: made}, edges, kept=before is not None, tried=tried)


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


def _learn(
    catalog: Catalog, definition: Definition, locks: Locks, edges: Edges, *, kept: bool, tried: Tried | None
) -> Lock:
    """Configure, and lock the numbers of users and groups that scripts allocate.

    Args:
        kept: whether the lock has the numbers of one before it. If they still hold, what is configured is the layer that
            a build wants, and nothing is done twice; else it is done once more without holding scripts to any.
    """
    lock_ = locks[definition.key]
    if kept:
        try:
            found = _state(*(tried or _tried(catalog, definition, locks, edges, learn=False)))
        except MakeError as error:
            edges.reporter.detail(f"{definition.title}: the numbers of before do not hold: {error.message}")
        else:
            if _of(lock_, definition, found) == lock_:
                return lock_
    found = _state(*_tried(catalog, definition, locks, edges, learn=True))
    below = [locks[part.key] for part in definition.chain()[:-1]]
    fixed = _of(lock_, definition, found)
    users, numbers = accounts.learnt(found.users, found.groups, fixed, below, _above(catalog, definition))
    return replace(lock_, users=users, groups=numbers)


def _tried(catalog: Catalog, definition: Definition, locks: Locks, edges: Edges, *, learn: bool) -> Tried:
    """Configure by locks that are not written yet."""
    made, (plan,) = _states(catalog, (definition,), locks, edges, learn=learn)
    return made, plan


def _state(made: Made, plan: LayerPlan) -> MadeLayer:
    """What a state turned out to be.

    Raises:
        ImgbuildError: it could not be made.
    """
    making.require(made, (plan,))
    return made.layers[plan.cache_key]


def _states(
    catalog: Catalog, wanted: tuple[Definition, ...], locks: Locks, edges: Edges, *, learn: bool = False,
    with_layers_of: frozenset[str] = frozenset(),
) -> tuple[Made, tuple[LayerPlan, ...]]:  # fmt: skip
    """The states of some definitions, those below before those above.

    Args:
        with_layers_of: sha256 of packages of theirs whose layers are made as well.
    """
    contents = packages.contents(wanted, edges.store)
    compression = catalog.workspace.defaults.compression
    known: dict[str, Part] = {}
    for definition in wanted:
        found = planner.parts(chain(definition, locks), contents, compression, known, learn=learn)
        known |= {part.locked.definition.key: part for part in found}
    plans = tuple(known[definition.key].state for definition in wanted)
    layers = (layer for definition in wanted for layer in known[definition.key].packages)
    more = (layer for layer in layers if any(package.sha256 in with_layers_of for package in layer.packages))

    def fetch(missing: tuple[Artifact, ...]) -> None:
        packages.fetch(catalog, wanted, missing, edges, locks.values())

    every: tuple[LayerPlan, ...] = (*more, *plans)
    return making.make(every, edges.store, fetch, edges.jobs, edges.reporter), plans


def _of(lock_: Lock, definition: Definition, found: MadeLayer) -> Lock:
    """A lock without the users and groups that there are none of any more."""
    users, numbers = {user.name for user in found.users}, {group.name for group in found.groups}
    return replace(
        lock_,
        users=tuple(user for user in lock_.users if user.name in users | definition.model.users.keys()),
        groups=tuple(group for group in lock_.groups if group.name in numbers),
    )


def _above(catalog: Catalog, definition: Definition) -> tuple[Lock, ...]:
    """The locks of what stands on a definition: their numbers are taken."""
    every = definitions(image for component in catalog.components for image in component.images)
    standing = [one for one in every if definition.key in {part.key for part in one.chain()[:-1]}]
    return tuple(read(standing, packages.architecture(catalog)).values())


def _write(
    catalog: Catalog, selection: Selection, rounds: Iterable[_Round], edges: Edges,
    beside: Callable[[Mapping[Path, LockFile]], Mapping[Path, str]] | None, ready: Ready | None,
) -> None:  # fmt: skip
    files: dict[Path, LockFile] = {}

    def file(path: Path) -> LockFile:
        if path not in files:
            files[path] = lockfile.read(path)
        return files[path]

    images = [image for image in selection.images if not image.foreign]
    plans: list[dict[str, ImagePlan]] = []
    for one in rounds:
        for definition in selection.definitions:
            lock_ = one.locks[definition.key]
            if lock_ != one.old.get(definition.key):
                path = definition.lock_path
                others = (x for x in file(path).locks if (x.name, x.architecture) != (lock_.name, lock_.architecture))
                files[path] = replace(files[path], locks=(*others, lock_))
        plans.append(drafts(one.catalog, images, one.locks, edges))
        if ready:
            ready(one.catalog, one.locks, plans[-1])
    for image in images:
        known = file(image.lock_path)
        rows = [
            planner.revise(known.revisions, plan, _used(image, plan, known)) for plan in (x[image.key] for x in plans)
        ]
        files[image.lock_path] = replace(known, revisions=planner.revised(known.revisions, rows))
    texts = {path: lockfile.text(changed) for path, changed in files.items()}
    decisions.write(catalog.root, {**texts, **(beside(files) if beside else {})}, _UNWRITTEN)


def _used(image: Definition, plan: ImagePlan, now: LockFile) -> int:
    """The highest revision that a version of an image ever had, by what was committed; 0 where it goes on."""
    if any(x.means(image.name, plan.architecture) and x.version == plan.version for x in now.revisions):
        return 0
    changes = git.history(image.lock_path.parent, [image.lock_path.name]) or ()
    image_, version, architecture = (
        re.escape(json.dumps(x)) for x in (image.name, plan.version, plan.architecture)
    )  # fmt: skip
    # The first architecture of a file is not said in it.
    end = f"(?:, {architecture})?" if plan.architecture == now.usual else f", {architecture}"
    row = re.compile(rf"^- \[{image_}, {version}, ([0-9]+), [^,]*{end}\]$", re.M)
    texts = git.texts(image.lock_path.parent, (change.blob for change in changes if change.blob))
    return max((int(number) for _, text in texts for number in row.findall(text)), default=0)


def write_file(path: Path, locks: LockFile) -> None:
    """Write a lock file if it says something new."""
    decisions.write(path.parent, {path: lockfile.text(locks)}, _UNWRITTEN)


def keep(definition: Definition, lock_: Lock) -> None:
    """Write the one lock of a lock file that holds no other."""
    write_file(definition.lock_path, LockFile((lock_,)))


def dev(
    catalog: Catalog, wanted: Iterable[Definition], locks: Locks, gone: frozenset[str], edges: Edges
) -> dict[str, Lock]:
    """Locks in memory, in which packages that cannot be had any more have moved to the nearest newer ones.

    Args:
        wanted: definitions, those below before those above.
        gone: sha256 of the packages.
    """
    indexes = _Indexes(catalog, edges, locks)
    architecture = packages.architecture(catalog)
    made: dict[str, Lock] = {}
    for definition in wanted:
        before = locks.get(definition.key)
        lost = before is not None and before.needs(gone)
        if before is not None and not lost and _misfit(catalog, definition, before, made, architecture) is None:
            made[definition.key] = before
            continue
        found = _resolved(catalog, definition, before, made, indexes.of(definition), edges, gone=gone)
        made[definition.key] = _learnt(catalog, definition, before, found, made, edges)
        for one, new in locking.difference(before.packages if before else (), made[definition.key].packages).changed:
            edges.reporter.warn(f"{definition.name}: {one.name} {one.version} is gone, {new.version} takes its place")
    return made


def artifacts(locks: Iterable[Lock]) -> tuple[Artifact, ...]:
    """All packages and wheels that building by some locks may take."""
    found: list[Artifact] = []
    for lock_ in locks:
        found += [*lock_.packages, *lock_.compiler, *lock_.clock, *lock_.wheels]
    return tuple(found)


def newest(catalog: Catalog, wanted: Iterable[Definition], edges: Edges) -> tuple[LockedPackage, ...]:
    """The packages that would be locked if everything moved to what indexes, which are as they were read, have now.

    Args:
        wanted: locked definitions, those below before those above.

    Raises:
        Unsatisfiable: there is no answer.
    """
    architecture = packages.architecture(catalog)
    wanted = tuple(wanted)
    locks = read(wanted, architecture)
    for definition in wanted:
        facts = packages.facts(catalog, definition, architecture)
        below = tuple(locks[part.key] for part in definition.chain()[:-1])
        apt = packages.apt_root(catalog, definition, edges)
        before = locks[definition.key]

        def obtain(missing: tuple[LockedPackage, ...], part: Definition = definition, lock_: Lock = before) -> None:
            packages.fetch(catalog, (part,), missing, edges, (lock_,))

        found = locking.resolve(facts, below, before, apt, update=True, obtain=obtain)
        locks[definition.key] = replace(before, packages=found)
    return tuple(package for lock_ in locks.values() for package in lock_.packages)


def outdated(
    catalog: Catalog, wanted: Iterable[Definition], edges: Edges
) -> tuple[tuple[str, str, str, str, str], ...]:
    """Locked packages that have newer versions: (definition, package, locked, newest, the suite it is in).

    What is so for another architecture alone is told as ``app for arm64``.
    """
    wanted = tuple(wanted)
    own, *others = packages.each(catalog)
    known = _outdated(own, wanted, edges)
    theirs = ((meant, row) for meant in others for row in _outdated(meant, wanted, edges) if row not in known)
    return (*known, *((row[0] + packages.other(meant), *row[1:]) for meant, row in theirs))


def _outdated(
    catalog: Catalog, wanted: tuple[Definition, ...], edges: Edges
) -> tuple[tuple[str, str, str, str, str], ...]:
    locks = read(wanted, packages.architecture(catalog))
    indexes = _Indexes(catalog, edges, locks)
    rows = []
    for definition in wanted:
        lock_ = locks.get(definition.key)
        if lock_ is None:
            continue
        names = (package.name for package in lock_.packages)
        newest = indexes.of(definition).newest(names, definition.model.packages.apt)
        for package in lock_.packages:
            version_, suite = newest.get(package.name, (package.version, package.suite))
            if version_ != package.version:
                rows.append((definition.title, package.name, package.version, version_, suite))
        below = tuple(locks[part.key] for part in definition.chain()[:-1] if part.key in locks)
        rows += [(definition.title, *row) for row in wheels.outdated(catalog, definition, below, lock_, edges)]
    return tuple(rows)
