"""What a run that was ended has left: locks that have moved, and images of them that nobody has built yet."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from builder import transports
from builder.formats import lockfile, oci
from builder.model.digest import CacheKey, Digest
from builder.model.lock import BuiltLayer, Lock, LockedPackage, LockFile
from builder.model.plan import ImagePlan
from builder.pipeline import building, locking, packages, rebuilding, selection
from builder.pipeline.edges import Edges
from builder.pipeline.locking import LockChange, Locks
from builder.plan import planner
from builder.resolve import locking as resolving
from builder.tools import git, machine
from builder.transports import naming, oci_layout
from dsl.catalog import Catalog, Definition
from dsl.errors import ImgbuildError


@dataclass(frozen=True, slots=True)
class Begun:
    """Images whose locks say more than what was built of them.

    Attributes:
        plans: how each was before, by its key.
        locks: those of before, by the keys of their definitions.
        digests: of the layers that each had, by its key, as far as they are known.
        changes: of the locks since then.
    """

    images: tuple[Definition, ...] = ()
    plans: Mapping[str, ImagePlan] = field(default_factory=dict)
    locks: Locks = field(default_factory=dict)
    digests: Mapping[str, frozenset[Digest]] = field(default_factory=dict)
    changes: tuple[LockChange, ...] = ()

    @property
    def layers(self) -> dict[CacheKey, BuiltLayer]:
        """What the layers of before turned out to be, by the locks."""
        return {row.cache_key: row for lock in self.locks.values() for row in lock.built}

    @property
    def sources(self) -> frozenset[str]:
        """The source packages that have moved."""
        pairs = (pair for change in self.changes for pair in change.difference.changed)
        return frozenset(old.source_package for old, _ in pairs if isinstance(old, LockedPackage))

    def since(self, changes: tuple[LockChange, ...]) -> tuple[LockChange, ...]:
        """Changes of locks, counted from where these began."""
        parts = selection.definitions(self.images)
        before = {part.title: self.locks[part.key] for part in parts if part.key in self.locks}
        later = tuple(
            replace(one, difference=_difference(before[one.definition], one.after)) if one.definition in before else one
            for one in changes
        )
        names = {one.definition for one in changes}
        return (*(one for one in self.changes if one.definition not in names), *later)


@dataclass(frozen=True, slots=True)
class _Past:
    """An image as it was."""

    plan: ImagePlan
    locks: Locks
    digests: frozenset[Digest]


def begun(catalog: Catalog, destination: str, edges: Edges) -> Begun:
    """What is locked and not built yet, of images of which there is a release before.

    That is the one that is committed or, if that is the same, or there is no git, the newest one in the layout.

    Args:
        destination: where images are written.
    """
    images = {image.key: image for component in catalog.components for image in component.images if not image.foreign}
    plans = {key: plan for component in catalog.components for key, plan in _plans(catalog, component.images, edges)}
    committed = _Committed(catalog, edges)
    found: dict[str, _Past] = {}
    for image in unbuilt(catalog, [images[key] for key in plans], plans, edges):
        plan = plans[image.key]
        past = committed.before(image, plan) or _written(catalog, image, plan, destination, edges)
        if past:
            found[image.key] = past
    if not found:
        return Begun()
    locks: dict[str, Lock] = {}
    for past in found.values():
        locks = {**past.locks, **locks}
    left = tuple(images[key] for key in found)
    now = locking.read(selection.definitions(left), packages.architecture(catalog))
    changes = tuple(
        LockChange(part.title, part.lock_path, now[part.key], _difference(locks[part.key], now[part.key]))
        for part in selection.definitions(left)
        if not part.foreign and now[part.key].digest() != locks[part.key].digest()
    )
    return Begun(
        left, {key: past.plan for key, past in found.items()}, locks,
        {key: past.digests for key, past in found.items()}, changes,
    )  # fmt: skip


def unbuilt(
    catalog: Catalog, images: Iterable[Definition], plans: Mapping[str, ImagePlan], edges: Edges
) -> tuple[Definition, ...]:
    """Images with layers of which no lock says what they turned out to be; for another architecture than the workspace's own
    if that can be configured here.

    Args:
        plans: of the images for the workspace's own, by their keys.
    """
    wanted = tuple(images)
    left: set[str] = set()
    for meant in packages.each(catalog):
        architecture = packages.architecture(meant)
        if packages.is_own(meant):
            mine = plans
        elif machine.runs(architecture):
            mine = dict(row for one in _by_component(wanted) for row in _plans(meant, one, edges))
        else:
            continue
        locks = locking.read(selection.definitions(wanted), architecture)
        known = {row.cache_key for lock in locks.values() for row in lock.built}
        left |= {one.key for one in wanted if one.key in mine and not _known(one, mine[one.key], known)}
    return tuple(image for image in wanted if image.key in left)


def _known(image: Definition, plan: ImagePlan, known: Collection[CacheKey]) -> bool:
    # Locks from elsewhere are never written.
    own = {part.name for part in image.chain() if not part.foreign}
    return all(one.cache_key in known for one in plan.layers if one.definition in own)


def _by_component(images: Iterable[Definition]) -> Iterable[tuple[Definition, ...]]:
    found: dict[str | None, list[Definition]] = {}
    for image in images:
        found.setdefault(image.component, []).append(image)
    return map(tuple, found.values())


def _plans(catalog: Catalog, images: tuple[Definition, ...], edges: Edges) -> Iterable[tuple[str, ImagePlan]]:
    # Where locks do not fit nothing can be told, and something else is to be done first.
    try:
        return building.plans(catalog, (image for image in images if not image.foreign), edges).items()
    except ImgbuildError:
        return ()


def _difference(old: Lock, new: Lock) -> resolving.LockDiff:
    return resolving.difference(old.held, new.held)


class _Committed:
    """Images by the lock files that are committed."""

    def __init__(self, catalog: Catalog, edges: Edges) -> None:
        self._catalog, self._edges = catalog, edges
        self._files: dict[Path, LockFile] = {}

    def before(self, image: Definition, now: ImagePlan) -> _Past | None:
        """How an image is by what is committed; None if it is the same there, or that is not known."""
        architecture = packages.architecture(self._catalog)
        revision = self._file(image.lock_path).revision(image.name, architecture)
        if revision is None or (revision.version, revision.revision) == (now.version, now.revision):
            return None
        locks = locking.read(image.chain(), architecture)
        for part in (part for part in image.chain() if not part.foreign):
            upstream = lockfile.read(part.upstream_lock_path) if part.upstream_lock_path else LockFile()
            lock = self._file(part.lock_path).get(part.name, architecture) or upstream.get(part.name, architecture)
            locks |= {part.key: lock} if lock else {}
        if locking.stale(self._catalog, image.chain(), locks, architecture):
            return None
        try:
            draft = locking.drafts(self._catalog, (image,), locks, self._edges)[image.key]
        except ImgbuildError:
            return None
        known = {row.cache_key: row.digest for lock in locks.values() for row in lock.built}
        digests = frozenset(known[one.cache_key] for one in draft.layers if one.cache_key in known)
        return _Past(planner.at_revision(draft, revision.revision), locks, digests)

    def _file(self, path: Path) -> LockFile:
        if path not in self._files:
            try:
                self._files[path] = lockfile.parse(git.at_head(path) or "", path)
            except ImgbuildError:
                self._files[path] = LockFile()
        return self._files[path]


def _written(catalog: Catalog, image: Definition, now: ImagePlan, destination: str, edges: Edges) -> _Past | None:
    """How an image was in the newest release of a layout; None if that is the same, or there is none."""
    way = transports.parse_target(destination)
    if way.kind != "oci":
        return None
    try:
        layout = oci_layout.at(Path(way.path))
        reference = f"{now.image}:{now.tag}"
        same = [
            one for one in naming.matching(now.image, layout.names()) if naming.stream(one) == naming.stream(reference)
        ]
        if not same or reference in same:
            return None
        architecture = packages.architecture(catalog)
        every = layout.read(same[-1]).every()
        stored = next((x for x in every if oci.platform(x.config).get("architecture") == architecture), None)
        if stored is None:
            return None
        old = transports.parsed(stored)
        definition, locks, plan = rebuilding.planned(catalog, stored, old, edges)
    except ImgbuildError:
        return None
    if definition.key != image.key or not plan.revision:
        return None
    return _Past(plan, locks, frozenset(layer.digest for layer in old.layers))
