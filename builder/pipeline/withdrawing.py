"""A release with a bad fix → locks in which what it moved is as it was before, and every image's next revision."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from builder.errors import FetchError, Unsatisfiable, UsageError
from builder.formats import lockfile
from builder.model.decision import Hold, Withdrawal
from builder.model.digest import Digest
from builder.model.lock import Artifact, Lock, LockedPackage, LockedWheel, LockFile, Revision
from builder.pipeline import decisions, locking, packages, selection, updating
from builder.pipeline.building import Built
from builder.pipeline.edges import Edges
from builder.pipeline.locking import LockChange
from builder.pipeline.selection import Selection
from builder.resolve import locking as resolving
from builder.security import holds
from builder.tools import git
from builder.transports import naming
from dsl import versions
from dsl.catalog import Catalog, Definition
from dsl.errors import DefinitionError

T = TypeVar("T", LockedPackage, LockedWheel)
_NAMED = 10
"""How many releases are named to who names another one."""


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """What withdrawing did, or would do.

    Attributes:
        release: what was withdrawn: ``nova-api:31.0.0-r4``.
        before: the release whose packages come back.
        changes: of locks.
        left: what that release moved and does not go back, and why.
        holds: what keeps an update from doing it again.
        withdrawals: what publishing has to know; none in a trial.
    """

    release: str
    before: str
    changes: tuple[LockChange, ...] = ()
    left: tuple[str, ...] = ()
    holds: tuple[Hold, ...] = ()
    withdrawals: tuple[Withdrawal, ...] = ()
    images: tuple[updating.Image, ...] = ()
    built: tuple[Built, ...] = ()

    @property
    def moved(self) -> tuple[tuple[str, str, str, str], ...]:
        """Definition, package, and the versions before and now; empty where there is none."""
        found = []
        for change in self.changes:
            told = change.difference
            found += [(change.definition, old.title, old.version, new.version) for old, new in told.changed]
            found += [(change.definition, one.title, "", one.version) for one in told.added]
            found += [(change.definition, one.title, one.version, "") for one in told.removed]
        return tuple(found)

    def data(self) -> dict[str, Any]:
        """For machines."""
        return {
            "release": self.release,
            "before": self.before,
            "moved": [dict(zip(("definition", "package", "old", "new"), row, strict=True)) for row in self.moved],
            "left": list(self.left),
            "holds": [asdict(one) for one in self.holds],
            "withdrawn": [asdict(one) for one in self.withdrawals],
            "images": [one.data() for one in self.images],
        }


@dataclass(frozen=True, slots=True)
class _Way:
    """What goes back.

    Attributes:
        rows: for the sha256 of each package that was moved, the one it was before.
        lost: what was there before and is not any more, by the key of the definition that had it.
        locks: those of the release before.
    """

    rows: Mapping[str, Artifact]
    lost: Mapping[str, tuple[LockedPackage, ...]]
    locks: tuple[Lock, ...]


def withdraw(
    catalog: Catalog, reference: str, because: str, destination: str, edges: Edges, *, until: str = "",
    dry_run: bool = False,
) -> Withdrawn:  # fmt: skip
    """Bring back what a release moved, in whichever locks hold it, and build what that changes.

    Locks, holds and withdrawals are written together or not at all. What was moved again since then stays.

    Args:
        reference: an image and its tag, with a revision.
        until: the last day of the hold on the versions that are withdrawn; for good if none is given.
        dry_run: write nothing and build nothing.

    Raises:
        UsageError: there is no such release in the history of its locks, or none before it.
        FetchError: a package of the release before cannot be had any more.
        Unsatisfiable: what else is locked needs what was moved.
        StaleLock: locks do not fit as they are.
    """
    why, author, now = decisions.reason(because), decisions.author(catalog), decisions.now()
    day = decisions.last_day(until) if until else ""
    image, version, number = _meant(catalog, reference)
    release = f"{image.name}:{versions.tag(version, number)}"
    architecture = packages.architecture(catalog)
    ways, before, stays = _ways(catalog, image, version, number)
    starts = {one: _start(catalog, way, one) for one, way in ways.items()}
    left = tuple(dict.fromkeys((*stays, *(why for _, whys in starts.values() for why in whys))))
    told = Withdrawn(release, f"{image.name}:{versions.tag(before.version, before.revision)}", left=left)
    start = {one: begins for one, (begins, _) in starts.items()}
    if not any(start.values()):
        return told
    for one, begins in start.items():
        coming = {old.sha256 for old in ways[one].rows.values()}
        wanted = [p for _, lock in begins.values() for p in lock.held if p.sha256 in coming]
        mine = [definition for definition, _ in begins.values()]
        _fetch(packages.at(catalog, one), mine, wanted, ways[one].locks, release, edges)
    chosen = _selection(catalog, {key: row for begins in start.values() for key, row in begins.items()})
    had = updating.as_it_is(catalog, chosen.images, edges)
    gone = {
        (package.source_package, package.source_version)
        for one, way in ways.items()
        for lock in locking.read(chosen.definitions, one).values()
        for package in lock.packages
        if package.sha256 in way.rows
    }
    made = tuple(
        Hold(name, bad_version, f"{why} (withdrawn with {release})", day, author, now)
        for name, bad_version in sorted(gone)
    )
    already = {(one.package, one.version) for one in made}
    others = tuple(x for x in decisions.all_holds(catalog) if (x.package, x.version) not in already)
    withdrawals: list[Withdrawal] = []

    def beside(files: Mapping[Path, LockFile]) -> Mapping[Path, str]:
        _require((lock for file in files.values() for lock in file.locks), ways)
        known = locking.revisions(catalog, chosen.images)
        for one in chosen.images:
            file = files.get(one.lock_path, LockFile())
            new = file.revision(one.name, architecture)
            if new and one.key in known and known[one.key] != new:
                withdrawals.append(_withdrawal(known[one.key], new, why, author, now))
        path = catalog.root / decisions.WITHDRAWN
        return {
            path: holds.withdrawn_text((*holds.read_withdrawn(path), *withdrawals)),
            catalog.root / decisions.HOLDS: holds.text((*others, *made)),
        }

    changes = locking.lock(
        catalog, chosen, edges, write=not dry_run, beside=beside,
        holds=(*(x for x in others if not x.over(now[:10])), *made),
        start={one: {key: lock for key, (_, lock) in begins.items()} for one, begins in start.items()},
        ready=updating.preparing(catalog, chosen.images, had, destination, edges),
    )  # fmt: skip
    _require((change.after for change in changes), ways)
    changes = tuple(one for one in changes if one.difference.changed or one.difference.added or one.difference.removed)
    told = replace(told, changes=changes, holds=made, withdrawals=tuple(withdrawals))
    if dry_run:
        return told
    images, built = updating.released(catalog, chosen.images, had, destination, edges)
    return replace(told, images=images, built=built)


def _meant(catalog: Catalog, reference: str) -> tuple[Definition, str, int]:
    name, tag = naming.split(reference)
    version, number = versions.parse_tag(tag) or ("", 0)
    if not number:
        raise UsageError(f"{reference} names no release", "say it with its revision: nova-api:31.0.0-r4")
    images = catalog.find(name)
    exact = [image for image in images if image.name == name.rpartition("/")[2]] or list(images)
    if len(exact) != 1:
        raise UsageError(f"{name} has several images", f"there are: {', '.join(image.name for image in exact)}")
    if exact[0].foreign:
        raise UsageError(f"{name} comes from elsewhere", "its locks are never written here: use another commit of it")
    return exact[0], version, number


def _past(path: Path) -> Iterator[LockFile]:
    """A lock file as it is, and as it was committed, the newest first."""
    yield lockfile.read(path)
    changes = git.history(path.parent, [path.name]) or ()
    for _, text in git.texts(path.parent, [change.blob for change in reversed(changes) if change.blob]):
        try:
            yield lockfile.parse(text, path)
        except DefinitionError:
            # One that nobody could build from.
            continue


def _files(image: Definition, version: str, number: int, architecture: str) -> tuple[LockFile, LockFile, Revision]:
    """The lock file of a release, that of the one before, and which that is."""
    bad: LockFile | None = None
    known: dict[str, None] = {}
    for file in _past(image.lock_path):
        mine = file.revision(image.name, architecture)
        if mine is None:
            continue
        known[versions.tag(mine.version, mine.revision)] = None
        if (mine.version, mine.revision) == (version, number):
            # The first one: with what building has told.
            bad = bad or file
        elif bad:
            return bad, file, mine
    what = f"{image.name}:{versions.tag(version, number)}"
    if bad:
        hint = _hint(image.lock_path, "it is the first one: there is nothing that could come back")
        raise UsageError(f"no commit of {image.lock_path} has a release before {what}: there is no way back", hint)
    names = list(known)
    there = f"its releases are {', '.join(names[:_NAMED])}{' and older ones' if len(names) > _NAMED else ''}"
    hint = _hint(image.lock_path, there if names else "it has no release yet: `imgbuild lock` makes one")
    raise UsageError(f"no commit of {image.lock_path} has {what}", hint)


def _hint(path: Path, whole: str) -> str:
    """What to do about a lock that is not in the history of a file.

    Args:
        whole: what is said if the history is whole.
    """
    shallow = git.shallow(path.parent)
    if shallow is None:
        return f"{path.parent} is in no git repository, so nobody knows what was before"
    return "in a shallow clone the commits are missing: `git fetch --unshallow`" if shallow else whole


def _ways(
    catalog: Catalog, image: Definition, version: str, number: int
) -> tuple[dict[str, _Way], Revision, tuple[str, ...]]:
    """What goes back for each architecture, the release before, and what cannot go back: an architecture may have joined the
    releases later than the others."""
    own, *others = packages.architectures(catalog)
    bad, good, before = _files(image, version, number, own)
    found, left = {own: _way(image, bad, good, own)}, []
    for one in others:
        try:
            bad, good, _ = _files(image, version, number, one)
            found[one] = _way(image, bad, good, one)
        except UsageError as error:
            left.append(f"for {one} nothing does: {error.message}")
    return found, before, tuple(left)


def _way(image: Definition, bad: LockFile, good: LockFile, architecture: str) -> _Way:
    rows: dict[str, Artifact] = {}
    lost: dict[str, tuple[LockedPackage, ...]] = {}
    locks: list[Lock] = []
    part: Definition | None = image
    now, was = bad.get(image.name, architecture), good.get(image.name, architecture)
    while part is not None:
        if now is None or was is None:
            raise UsageError(
                f"the lock of {part.name} that the release was made of is in no commit of {part.lock_path}",
                _hint(part.lock_path, "it was released without being committed: revert what it changed by hand"),
            )
        locks.append(was)
        told = resolving.difference(was.held, now.held)
        rows |= {new.sha256: old for old, new in told.changed}
        lost[part.key] = tuple(one for one in told.removed if isinstance(one, LockedPackage))
        below = part.extends
        if below is None or now.stands_on == was.stands_on or not now.stands_on or not was.stands_on:
            break
        now, was = (_with_digest(below, one.stands_on, architecture) for one in (now, was))
        part = below
    return _Way(rows, lost, tuple(locks))


def _with_digest(definition: Definition, digest: Digest | None, architecture: str) -> Lock | None:
    for path in (definition.lock_path, definition.upstream_lock_path):
        for file in _past(path) if path else ():
            lock = file.get(definition.name, architecture)
            if lock and lock.digest() == digest:
                return lock
    return None


def _start(
    catalog: Catalog, way: _Way, architecture: str
) -> tuple[dict[str, tuple[Definition, Lock]], tuple[str, ...]]:
    """The locks of the workspace with what was moved as it was, by their definitions' keys; and what stays."""
    found: dict[str, tuple[Definition, Lock]] = {}
    left: list[str] = []
    there: set[str] = set()
    wanted = selection.select(catalog, ()).definitions
    locks = locking.read(wanted, architecture)
    for definition in wanted:
        lock = locks.get(definition.key)
        mine = [p for p in lock.held if p.sha256 in way.rows] if lock else []
        if lock is None or not mine:
            continue
        there |= {package.sha256 for package in mine}
        if definition.foreign:
            names = ", ".join(f"{package.title} {package.version}" for package in mine)
            left.append(f"{definition.name} comes from elsewhere, and keeps {names}")
            continue
        names_ = {p.name for part in definition.chain() if part.key in locks for p in locks[part.key].packages}
        again = (p for p in way.lost.get(definition.key, ()) if p.name not in names_)
        back = replace(
            lock,
            packages=tuple(sorted((*(_row(p, way) for p in lock.packages), *again))),
            wheels=tuple(sorted(_row(wheel, way) for wheel in lock.wheels)),
            built=tuple(
                sorted({*lock.built, *(row for old in way.locks if old.name == lock.name for row in old.built)})
            ),
        )
        found[definition.key] = (definition, back)
    for sha256, old in way.rows.items():
        if sha256 not in there:
            left.append(f"{old.title} was {old.version}: no lock has what took its place any more")
    return found, tuple(left)


def _row(package: T, way: _Way) -> T:
    old = way.rows.get(package.sha256)
    # It is there for the reason it is there for now.
    return replace(old, why=package.why) if isinstance(old, type(package)) else package


def _fetch(
    catalog: Catalog, definitions: Iterable[Definition], wanted: Iterable[Artifact], locks: Iterable[Lock],
    release: str, edges: Edges,
) -> None:  # fmt: skip
    try:
        packages.fetch(catalog, definitions, tuple(wanted), edges, locks)
    except FetchError as error:
        raise FetchError(
            f"{release} cannot be withdrawn: {error.message}", error.url, error.status,
            "name a `snapshot` of the source, or `stores` of the workspace, that still have it; nothing was written",
            error.gone,
        ) from None  # fmt: skip


def _selection(catalog: Catalog, start: Mapping[str, tuple[Definition, Lock]]) -> Selection:
    every = [image for component in catalog.components for image in component.images]
    standing = tuple(image for image in every if any(part.key in start for part in image.chain()))
    return Selection(
        frozenset(start), selection.definitions((*(one for one, _ in start.values()), *standing)), standing
    )


def _require(locks: Iterable[Lock], ways: Mapping[str, _Way]) -> None:
    for lock in locks:
        rows = ways[lock.architecture].rows if lock.architecture in ways else {}
        for package in lock.held:
            if old := rows.get(package.sha256):
                raise Unsatisfiable(
                    f"{package.title} cannot go back to {old.version} in {lock.name}: what else is locked needs "
                    f"{package.version}",
                    (lock.name,),
                    f"`imgbuild why {package.name} {lock.name}` tells why it is there",
                )


def _withdrawal(old: Revision, new: Revision, because: str, author: str, now: str) -> Withdrawal:
    common = set(versions.floating_tags(new.version))
    move = tuple(tag for tag in versions.floating_tags(old.version) if tag in common)
    return Withdrawal(
        old.image,
        versions.tag(old.version, old.revision),
        versions.tag(new.version, new.revision),
        move,
        because,
        author,
        now,
    )


def markdown(found: Withdrawn) -> str:
    """The report for a merge request."""
    lines = [f"# Withdrawn: {found.release}"]
    if not found.changes and found.left:
        lines += ["", "No lock has what it moved any more: there is nothing to bring back."]
    elif not found.changes:
        lines += [
            "",
            f"It moved no package: what differs from {found.before} is in the definitions, where git reverts it.",
        ]
    if found.moved:
        lines += [
            "",
            f"What it moved is as in {found.before}:",
            "",
            "| definition | package | was | is |",
            "|---|---|---|---|",
        ]
        lines += ["| " + " | ".join(row) + " |" for row in found.moved]
    if found.left:
        lines += ["", "What does not go back:", "", *(f"- {one}" for one in found.left)]
    if found.holds:
        lines += ["", "Held by decision:", "", *(f"- {one.told}" for one in found.holds)]
    if found.images:
        lines += ["", "| image | release | new layers | kept |", "|---|---|---|--:|"]
        for one in found.images:
            names = "; ".join(layer.name for layer in one.layers)
            lines.append(f"| {one.name} | {one.before} → {one.after} | {names} | {one.kept} |")
    if found.withdrawals:
        lines += ["", "Tags to move when it is published:", ""]
        lines += [f"- {one.image}: {', '.join(one.move) or 'none'} to {one.successor}" for one in found.withdrawals]
    return "\n".join(lines) + "\n"
