"""Open advisories → new locks in which exactly what they speak of has moved, new images, and a report for a reviewer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from builder import file_differences, transports
from builder.errors import ConfigureError, FetchError, ImageError, Unsatisfiable, UsageError
from builder.model.advisory import State
from builder.model.digest import CacheKey, Digest
from builder.model.lock import BuiltLayer, LockedPackage
from builder.model.plan import ImagePlan, LayerPlan, PackageLayerPlan, kind
from builder.pipeline import building, decisions, finishing, locking, packages, securing, selection
from builder.pipeline.building import Built
from builder.pipeline.edges import Edges
from builder.pipeline.finishing import Begun
from builder.pipeline.locking import LockChange, Locks, Ready
from builder.pipeline.securing import Finding
from builder.pipeline.selection import Selection
from builder.security.feeds import Feed
from builder.tools.store import Store
from dsl.catalog import Catalog, Definition
from dsl.errors import ImgbuildError

_STATE = "state of "
_SHOWN = 8
"""How many files of a state a report names."""


@dataclass(frozen=True, slots=True, order=True)
class Layer:
    """A layer of a new release that the one before it does not have.

    Attributes:
        name: what it is: ``package openssl of debian-13``, ``records``.
        size: compressed, in bytes; None if it was not built.
        files: of a state: the paths in which it is another than before; none if the release before does not lie there.
    """

    name: str
    size: int | None
    files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Image:
    """A new release.

    Attributes:
        before, after: tags.
        kept: how many layers are the ones of the release before, byte for byte.
    """

    name: str
    before: str
    after: str
    layers: tuple[Layer, ...]
    kept: int

    def data(self) -> dict[str, Any]:
        """For machines."""
        return {
            "image": self.name, "before": self.before, "after": self.after, "kept": self.kept,
            "layers": [{"layer": layer.name, "bytes": layer.size, "files": list(layer.files)} for layer in self.layers],
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Update:
    """What an update did, or would do.

    Attributes:
        sources: the source packages that moved.
        failed: those that cannot, and why.
        closed: advisories that were open and are not any more.
        changes: of locks.
        held: those that a decision holds back, and which.
        begun: images that were locked before and not built: by a run that was ended, or by a person.
    """

    sources: tuple[str, ...]
    failed: Mapping[str, str]
    closed: tuple[Finding, ...]
    changes: tuple[LockChange, ...]
    images: tuple[Image, ...] = ()
    built: tuple[Built, ...] = ()
    held: Mapping[str, str] = field(default_factory=dict)
    begun: tuple[str, ...] = ()

    @property
    def moved(self) -> tuple[tuple[str, str, str, str], ...]:
        """Definition, package, old and new version."""
        return tuple(
            (change.definition, old.title, old.version, new.version)
            for change in self.changes
            for old, new in change.difference.changed
        )

    @property
    def pulled_in(self) -> tuple[tuple[str, str, str], ...]:
        """Definition, package and version of what came along."""
        return tuple((c.definition, one.title, one.version) for c in self.changes for one in c.difference.added)

    def data(self) -> dict[str, Any]:
        """For machines."""
        return {
            "sources": list(self.sources),
            "failed": dict(self.failed),
            "held": dict(self.held),
            "begun": list(self.begun),
            "closed": [one.data() for one in self.closed],
            "moved": [dict(zip(("definition", "package", "old", "new"), row, strict=True)) for row in self.moved],
            "added": [dict(zip(("definition", "package", "version"), row, strict=True)) for row in self.pulled_in],
            "images": [one.data() for one in self.images],
        }


def sources(
    catalog: Catalog, targets: Iterable[str], feeds: tuple[Feed, ...], only: Iterable[str], edges: Edges
) -> tuple[str, ...]:
    """The source packages to move: those that an advisory speaks of and a fix is there for, and what is newer in a
    security suite, whether or not an advisory is known.

    Args:
        only: advisories, CVEs or packages, if not all.

    Raises:
        UsageError: one of them touches nothing here.
    """
    wanted = tuple(targets)
    images = selection.images(catalog, wanted)
    definitions = tuple(one for one in selection.definitions(images) if not one.foreign)
    held = {p.name: p.source_package for _, lock in locking.every(catalog, definitions) for p in lock.packages}
    findings = securing.status(catalog, wanted, feeds).findings
    asked = tuple(only)
    if asked:
        found = set()
        for word in asked:
            told = {one.advisory.source for one in findings if word in (one.advisory.id, *one.advisory.aliases)}
            named = {word} & {*held.values()} or {held[word]} if word in {*held, *held.values()} else set()
            if not told | named:
                raise UsageError(f"{word} touches nothing here", "say an advisory, a CVE or a package that is locked")
            found |= told | named
        return tuple(sorted(found))
    open_ = {one.advisory.source for one in findings if one.state == State.FIXABLE} & {*held.values()}
    rows = locking.outdated(catalog, definitions, edges)
    return tuple(sorted(open_ | {held[row[1]] for row in rows if row[4].endswith("security") and row[1] in held}))


def update(
    catalog: Catalog, targets: Iterable[str], moving: tuple[str, ...], feeds: tuple[Feed, ...], destination: str,
    edges: Edges, *, dry_run: bool = False, reuse: str = "", finish: bool = True,
) -> Update:  # fmt: skip
    """Move source packages in whichever locks hold them, build what that changes, and say what came of it.

    What a run before has locked, and was ended before it had built it, is built and told as well.

    Args:
        moving: names of source packages.
        destination: where images are written.
        dry_run: write no lock and build nothing.
        reuse: a registry that has layers of releases; empty for the workspace's, if any.
        finish: whether what was begun before is finished.

    Raises:
        StaleLock: locks do not fit as they are: what an update does could not be told from that.
        FetchError: something that does not move cannot be had, and a layer must be made of it: nothing was written.
    """
    wanted = tuple(targets)
    holds = {hold.package: hold.told for hold in decisions.holds_in_force(catalog)}
    whole = {hold.package for hold in decisions.holds_in_force(catalog) if not hold.version}
    held = {name: holds[name] for name in moving if name in whole}
    moving = tuple(name for name in moving if name not in whole)
    chosen = _selection(catalog, wanted, moving)
    begun = finishing.begun(catalog, destination, edges) if finish else Begun()
    names = tuple(image.reference for image in begun.images)
    before = as_it_is(catalog, chosen.images, edges).and_of(begun)
    was_open = securing.status(catalog, wanted, feeds, other=begun.locks).open
    ready = None if dry_run else preparing(catalog, chosen.images, before, destination, edges, reuse=reuse)
    good, failed, changes = _locked(catalog, chosen, moving, edges, ready)
    changes = tuple(one for one in changes if one.difference.changed or one.difference.added or one.difference.removed)
    went = {old.source_package for x in changes for old, _ in x.difference.changed if isinstance(old, LockedPackage)}
    # Held back from the one version that there is.
    held |= {name: holds[name] for name in good if name in holds and name not in went}
    good = tuple(sorted({*good} - held.keys() | begun.sources))
    changes = begun.since(changes)
    if dry_run or not (changes or begun.images):
        would = tuple(one for one in was_open if one.state == State.FIXABLE and one.advisory.source in good)
        return Update(good, failed, would, changes, held=held, begun=names)
    every = tuple({image.key: image for image in (*chosen.images, *begun.images)}.values())
    images, built = released(catalog, every, before, destination, edges, reuse=reuse)
    still = {(one.advisory.id, one.definition, one.package) for one in securing.status(catalog, wanted, feeds).open}
    closed = tuple(one for one in was_open if (one.advisory.id, one.definition, one.package) not in still)
    return Update(good, failed, closed, changes, images, built, held, names)


@dataclass(frozen=True, slots=True)
class Before:
    """How images were before their locks changed.

    Attributes:
        plans: by their keys, for the workspace's own architecture: of that the report tells.
        layers: what theirs turned out to be, by the locks.
        digests: of the layers that an image had, by its key, where more of them are known.
        others: plans for other architectures, by these.
    """

    plans: Mapping[str, ImagePlan]
    layers: Mapping[CacheKey, BuiltLayer]
    digests: Mapping[str, frozenset[Digest]] = field(default_factory=dict)
    others: Mapping[str, Mapping[str, ImagePlan]] = field(default_factory=dict)

    def and_of(self, begun: Begun) -> Before:
        """With how those were that are to be finished: they count from there."""
        return replace(
            self, plans={**self.plans, **begun.plans}, layers={**self.layers, **begun.layers}, digests=begun.digests
        )

    def of(self, catalog: Catalog) -> Mapping[str, ImagePlan]:
        """The plans for the architecture that a catalog means."""
        return self.plans if packages.is_own(catalog) else self.others[packages.architecture(catalog)]


def as_it_is(catalog: Catalog, images: Iterable[Definition], edges: Edges) -> Before:
    """How images are by their locks.

    Raises:
        StaleLock: a lock does not fit.
    """
    wanted = tuple(images)
    own, *others = packages.each(catalog)
    return Before(
        building.plans(own, wanted, edges), _built(catalog, wanted),
        others={packages.architecture(one): building.plans(one, wanted, edges) for one in others},
    )  # fmt: skip


def preparing(
    catalog: Catalog, images: Iterable[Definition], before: Before, destination: str, edges: Edges, *, reuse: str = ""
) -> Ready:
    """What sees to it that those of some images that new locks change can be built, before these are written."""
    wanted = tuple(images)

    def ready(meant: Catalog, locks: Locks, plans: Mapping[str, ImagePlan]) -> None:
        had = before.of(meant)
        touched = [x for x in wanted if x.key in plans and plans[x.key].content_key != had[x.key].content_key]
        building.prepare(meant, touched, locks, plans, (destination,), edges, reuse=reuse, known=before.layers)

    return ready


def released(
    catalog: Catalog, images: Iterable[Definition], before: Before, destination: str, edges: Edges, *, reuse: str = ""
) -> tuple[tuple[Image, ...], tuple[Built, ...]]:
    """Build those of some images that new locks changed, and say what is new of them."""
    wanted = tuple(images)
    after = building.plans(catalog, wanted, edges)
    touched = tuple(image for image in wanted if _differ(before.plans[image.key], after[image.key]))
    names = [image.reference for image in touched]
    # These locks are to be built, no others: what cannot be had is an error.
    built = (
        building.build(
            catalog, names, (destination,), edges, locked=True, reuse=reuse, remember=True, known=before.layers
        )
        if names
        else ()
    )
    has = _built(catalog, touched)
    new = tuple(_image(image, before, after[image.key], has) for image in touched)
    return _with_files(new, destination, edges.store), built


def _differ(one: ImagePlan, other: ImagePlan) -> bool:
    return (one.tag, one.content_key) != (other.tag, other.content_key)


def _selection(catalog: Catalog, targets: tuple[str, ...], moving: Iterable[str]) -> Selection:
    """The definitions that hold the packages, and all that stands on them, whichever target asked."""
    names = frozenset(moving)
    images = selection.images(catalog, targets)
    definitions = selection.definitions(images)
    foreign = {one.key for one in definitions if one.foreign}
    locks = (row for row in locking.every(catalog, definitions) if row[0] not in foreign)
    asked = frozenset(key for key, lock in locks if names & {p.source_package for p in lock.packages})
    every = [image for component in catalog.components for image in component.images]
    standing = tuple(image for image in every if any(part.key in asked for part in image.chain()))
    found = selection.definitions(standing)
    return Selection(asked, found, standing)


def _locked(
    catalog: Catalog, chosen: Selection, moving: tuple[str, ...], edges: Edges,
    ready: Ready | None,
) -> tuple[tuple[str, ...], dict[str, str], tuple[LockChange, ...]]:  # fmt: skip
    """Move sources together; one that cannot move does not keep the others from it.

    Args:
        ready: sees to it that images can be built by new locks before these are written; None for a trial.

    Returns:
        those that moved, those that cannot and why, and what that did to locks.
    """
    if not moving:
        return (), {}, ()
    locked = frozenset(x.sha256 for _, lock in locking.every(catalog, chosen.definitions) for x in lock.artifacts())
    write = ready is not None
    try:
        # Nothing is written before everything is resolved.
        return moving, {}, locking.lock(catalog, chosen, edges, only=frozenset(moving), write=write, ready=ready)
    except ImgbuildError as error:
        if not _of_a_fix(error, locked):
            raise
        if len(moving) == 1:
            return (), {moving[0]: error.message}, ()
    good: tuple[str, ...] = ()
    failed: dict[str, str] = {}
    for name in moving:
        try:
            locking.lock(catalog, chosen, edges, only=frozenset((*good, name)), write=False)
            good = (*good, name)
        except ImgbuildError as error:
            if not _of_a_fix(error, locked):
                raise
            failed[name] = error.message
    if not good:
        return good, failed, ()
    return good, failed, locking.lock(catalog, chosen, edges, only=frozenset(good), write=write, ready=ready)


def _of_a_fix(error: ImgbuildError, locked: frozenset[str]) -> bool:
    """Whether what is wrong is wrong with what would come, not with what is locked already."""
    if isinstance(error, FetchError):
        return bool(error.gone) and not any(package.sha256 in locked for package in error.gone)
    return isinstance(error, Unsatisfiable | ConfigureError)


def _built(catalog: Catalog, images: Iterable[Definition]) -> dict[CacheKey, BuiltLayer]:
    """What layers turned out to be, by the locks."""
    locks = locking.every(catalog, selection.definitions(images))
    return {row.cache_key: row for _, lock in locks for row in lock.built}


def _image(image: Definition, before: Before, after: ImagePlan, has: Mapping[CacheKey, BuiltLayer]) -> Image:
    """What is new of a release by its bytes: configuring is done anew for a fix, and mostly gives what it gave."""
    old = before.plans[image.key]
    keys = {layer.cache_key for layer in old.layers}
    digests = {before.layers[key].digest for key in keys if key in before.layers}
    digests |= before.digests.get(image.key, frozenset())
    new = tuple(
        Layer(_name(layer), has[layer.cache_key].size if layer.cache_key in has else None)
        for layer in after.layers
        if layer.cache_key not in keys
        and not (layer.cache_key in has and has[layer.cache_key].digest in digests)
    )  # fmt: skip
    return Image(image.reference, old.tag, after.tag, new, len(after.layers) - len(new))


def _with_files(images: tuple[Image, ...], destination: str, store: Store) -> tuple[Image, ...]:
    """What configuring gave anew, file by file: a reviewer wants to know why a state is another."""
    known: dict[str, tuple[str, ...]] = {}
    for one in images:
        states = {layer.name for layer in one.layers if layer.name.startswith(_STATE)}
        if not states - known.keys():
            continue
        name = one.name.rpartition("/")[2]
        try:
            old, new = (transports.read(f"{destination}:{name}:{tag}", store) for tag in (one.before, one.after))
        except (UsageError, ImageError):
            # The release before lies elsewhere, or what was written cannot be read back.
            continue
        for definition, paths in file_differences.of_states(old, new):
            known.setdefault(_STATE + definition, paths)
    return tuple(
        replace(one, layers=tuple(replace(layer, files=known.get(layer.name, ())) for layer in one.layers))
        for one in images
    )


def _name(layer: LayerPlan) -> str:
    group = f" {layer.group}" if isinstance(layer, PackageLayerPlan) else ""
    return f"{kind(layer)}{group} of {layer.definition}"


def markdown(found: Update) -> str:
    """The report for a merge request."""
    nothing = "what was begun before" if found.begun else "nothing to do"
    lines = [f"# Security update: {', '.join(found.sources) or nothing}"]
    if found.begun:
        told = ", ".join(found.begun)
        lines += ["", f"Locked before, and not built by whoever did it, so it is told here as well: {told}."]
    if found.closed:
        lines += ["", "| advisory | severity | package | was | fixed in |", "|---|---|---|---|---|"]
        rows = {
            (x.advisory.id, x.advisory.severity, x.advisory.source, x.version, x.advisory.fixed) for x in found.closed
        }
        lines += ["| " + " | ".join(row) + " |" for row in sorted(rows)]
    if found.moved:
        lines += ["", "| definition | package | old | new |", "|---|---|---|---|"]
        lines += ["| " + " | ".join(row) + " |" for row in found.moved]
    if found.pulled_in:
        lines += ["", *(f"- {name} {version} came along in {where}" for where, name, version in found.pulled_in)]
    if found.images:
        lines += ["", "| image | release | new layers | their bytes | kept |", "|---|---|---|--:|--:|"]
        for one in found.images:
            names = "; ".join(layer.name for layer in one.layers)
            count = sum(layer.size or 0 for layer in one.layers)
            lines.append(f"| {one.name} | {one.before} → {one.after} | {names} | {count:,} | {one.kept} |")
        distinct = {layer for one in found.images for layer in one.layers}
        changed = sorted({layer for layer in distinct if layer.files})
        lines += ["", *(f"- {layer.name} is another in {_shown(layer.files)}" for layer in changed)] if changed else []
        lines += ["", f"Bytes of new layers, each once: {sum(layer.size or 0 for layer in distinct):,}."]
    if found.held:
        lines += ["", "Held by decision:", "", *(f"- {why}" for why in found.held.values())]
    if found.failed:
        lines += ["", "Not possible now:", ""]
        lines += [f"- {name}: {' '.join(why.split())}" for name, why in found.failed.items()]
    return "\n".join(lines) + "\n"


def _shown(files: tuple[str, ...]) -> str:
    """Some files; `--json` has all."""
    more = len(files) - _SHOWN
    return ", ".join(files[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
