"""Components → images: lock if need be, plan, make, assemble, write, remember."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder import transports
from builder.errors import FetchError, StaleLock, UsageError, of_system
from builder.formats import lockfile
from builder.make import assemble
from builder.model.digest import CacheKey, Digest
from builder.model.image import Image
from builder.model.lock import Artifact, BuiltLayer, Lock
from builder.model.plan import ImagePlan, LayerPlan, Plan
from builder.model.release import Release
from builder.pipeline import locking, making, packages, recording, remembering, selection
from builder.pipeline.edges import Edges
from builder.pipeline.locking import Locks
from builder.plan import planner
from builder.registry import address
from builder.registry.address import Home
from builder.tools import machine
from builder.transports import oci_layout
from builder.transports.aci import NOBODY, Site
from builder.transports.oci_layout import LayoutBlobs
from dsl import checks
from dsl.catalog import Catalog, Definition
from dsl.errors import DefinitionError, ImgbuildError

if TYPE_CHECKING:
    from builder.pipeline.attesting import Attesting


@dataclass(frozen=True, slots=True)
class Built:
    """What became of one image, or of a target that named none.

    Attributes:
        status: ``built``, ``reused``, ``failed`` or ``skipped`` (a layer that it stands on failed).
        made, reused: numbers of layers.
        size: of all its layers, compressed, in bytes.
        seconds: of the whole run until it was written.
        because: of a failed or skipped one.
        log: the file that tells of its layers, and what the scripts of its packages said.
        release: what the record is told; None for a ``-dev`` build, and for one that was made here before.
        architecture: what it was made for.
    """

    image: str
    tag: str
    status: str
    digest: Digest | None = None
    made: int = 0
    reused: int = 0
    size: int = 0
    seconds: float = 0.0
    because: str = ""
    error: ImgbuildError | None = None
    log: Path | None = None
    release: Release | None = None
    architecture: str = ""

    def data(self) -> dict[str, Any]:
        """For machines."""
        return {
            "image": self.image,
            "tag": self.tag,
            "architecture": self.architecture,
            "status": self.status,
            "digest": self.digest,
            "layers_made": self.made,
            "layers_reused": self.reused,
            "bytes": self.size,
            "seconds": round(self.seconds, 3),
            "because": self.because,
            "log": str(self.log) if self.log else None,
        }


@dataclass(frozen=True, slots=True)
class _Job:
    """An image to be built, with the locks that hold for it."""

    image: Definition
    locks: Locks
    plan: ImagePlan


def build(
    catalog: Catalog,
    targets: Iterable[str],
    destinations: tuple[str, ...],
    edges: Edges,
    *,
    locked: bool = False,
    attest: bool | None = None,
    reuse: str = "",
    remember: bool | None = None,
    known: Mapping[CacheKey, BuiltLayer] | None = None,
    architectures: Iterable[str] = (),
) -> tuple[Built, ...]:
    """Make the images of some targets and write them to each destination; a failed one does not end the others.

    Args:
        targets: none for everything.
        architectures: for which; none for all that the workspace's images are made for. What takes one image of a name, an
            engine or an archive, gets this machine's.
        locked: refuse a lock that cannot be used, instead of locking anew or building a ``-dev`` image.
        attest: keep bills of materials and provenance beside each image, in layouts; None is as the workspace says.
        reuse: a registry that has layers of releases, ``HOST[:PORT][/PREFIX]``; empty for the workspace's, if any.
        remember: whether locks are told what their layers turned out to be; None for all but locked ones.
        known: what layers of releases before turned out to be, beside what the locks say.

    Raises:
        ImgbuildError: nothing could be begun.
    """
    names = tuple(targets)
    every = tuple(architectures) or packages.architectures(catalog)
    asked = {one: ways for one in every if (ways := _fitting(destinations, one, every))}
    built: dict[str, tuple[Built, ...]] = {}
    # What this machine may refuse comes first, before any work is done.
    for one in sorted(asked, key=machine.runs):
        found = _build(
            packages.at(catalog, one), names, asked[one], edges, locked=locked, attest=attest, reuse=reuse,
            remember=remember, known=known,
        )  # fmt: skip
        built[one] = tuple(replace(image, architecture=one) for image in found)
    return tuple(image for one in asked for image in built[one])


def _fitting(destinations: tuple[str, ...], architecture: str, every: Sequence[str]) -> tuple[str, ...]:
    """The destinations that take the images of one of several architectures."""
    here = machine.architecture()
    if architecture == (here if here in every else every[0]):
        return destinations
    return tuple(one for one in destinations if one.partition(":")[0] in ("oci", "aci"))


def _build(
    catalog: Catalog, targets: tuple[str, ...], destinations: tuple[str, ...], edges: Edges, *, locked: bool,
    attest: bool | None, reuse: str, remember: bool | None, known: Mapping[CacheKey, BuiltLayer] | None,
) -> tuple[Built, ...]:  # fmt: skip
    """Make images for the architecture that the catalog means."""
    started = time.monotonic()
    ways = tuple(transports.parse_target(destination, offered(catalog)) for destination in destinations)
    locked = locked or catalog.workspace.locked
    remember = not locked if remember is None else remember
    published = _published(catalog, reuse)
    if attest and not any(way.kind == "oci" for way in ways):
        raise UsageError("only a layout keeps what is attested of images", "say --to oci:DIR, too")
    failed: list[Built] = []
    jobs: list[_Job] = []
    wanted = _by_component(catalog, targets, failed)
    transports.require(ways, [image.name for images in wanted for image in images], edges.store)
    wished = catalog.workspace.defaults.attest if attest is None else attest
    attesting = _attesting(catalog, wanted) if wished else None
    for images in wanted:
        try:
            jobs += _ready(catalog, images, edges, locked=locked)
        except ImgbuildError as error:
            failed += [_failure(image.name, error) for image in images]
    try:
        made = _make(catalog, jobs, ways, edges, published, known)
    except FetchError as error:
        if locked or not error.gone:
            raise
        gone = frozenset(package.sha256 for package in error.gone)
        edges.reporter.warn(error.message)
        jobs = _without(catalog, jobs, gone, edges)
        made = _make(catalog, jobs, ways, edges, published, known)
    built = _written(jobs, made, ways, edges, started, attesting)
    if remember:
        remembering.layers(((job.image, job.plan, job.locks) for job in jobs if job.plan.revision), made)
    layouts = [str(way) for way in ways if way.kind == "oci"]
    # The record knows a release by the workspace's own architecture.
    told = [one.release for one in built if one.release] if packages.is_own(catalog) else []
    recording.add(catalog, told, layouts, edges)
    return (*built, *failed)


def prepare(
    catalog: Catalog, images: Iterable[Definition], locks: Locks, plans: Mapping[str, ImagePlan],
    destinations: tuple[str, ...], edges: Edges, *, reuse: str = "", known: Mapping[CacheKey, BuiltLayer] | None = None,
) -> None:  # fmt: skip
    """Fetch what building some images would, by locks that need not be written yet.

    Args:
        plans: of the images, by their keys.

    Raises:
        FetchError: something cannot be had.
    """
    ways = tuple(transports.parse_target(destination) for destination in destinations)
    jobs = [_Job(image, locks, plans[image.key]) for image in images]
    found = _sought(catalog, jobs, ways, edges, _published(catalog, reuse), known)
    making.prepare(
        found.layers, edges.store, found.fetch, built=found.known, places=found.places, brought=found.brought
    )


def _published(catalog: Catalog, reuse: str) -> Home | None:
    where = reuse or catalog.workspace.registry
    return address.home(where, catalog.names) if where else None


def aside(catalog: Catalog, image: Definition, locks: Locks, destination: str, edges: Edges) -> Built:
    """Make an image that no file defines, of locks that lie in no file of the workspace, as a ``-dev`` build.

    Raises:
        FetchError: a package cannot be had.
        UsageError, EngineError: it cannot be written there.
    """
    started = time.monotonic()
    ways = (transports.parse_target(destination, offered(catalog)),)
    transports.require(ways, (image.name,), edges.store)
    jobs = [_Job(image, locks, locking.drafts(catalog, (image,), locks, edges)[image.key])]
    (built,) = _written(jobs, _make(catalog, jobs, ways, edges), ways, edges, started, None)
    return built


def offered(catalog: Catalog) -> Site:
    """By whom App Container images are offered."""
    said = catalog.workspace.aci
    return Site(said.name, said.address or "", said.key or "") if said else NOBODY


def _attesting(catalog: Catalog, wanted: Iterable[Iterable[Definition]]) -> Attesting:
    # A build that attests nothing does without what that needs.
    from builder.pipeline import attesting

    return attesting.begin(catalog, (image for images in wanted for image in images))


def plan(catalog: Catalog, targets: Iterable[str], edges: Edges) -> Plan:
    """What a build would make; locks must be there.

    Raises:
        StaleLock: a lock does not fit.
    """
    return Plan(tuple(plans(catalog, selection.images(catalog, targets), edges).values()))


def plans(catalog: Catalog, images: Iterable[Definition], edges: Edges) -> dict[str, ImagePlan]:
    """What a build of some images would make, by their keys; locks must be there.

    Raises:
        StaleLock: a lock does not fit.
    """
    return {job.image.key: job.plan for job in _ready(catalog, tuple(images), edges, locked=True)}


def _by_component(catalog: Catalog, targets: Iterable[str], failed: list[Built]) -> list[tuple[Definition, ...]]:
    names = tuple(targets)
    found: dict[str, Definition] = {}
    for name in names or tuple(component.name for component in catalog.components):
        try:
            images = catalog.find(name)
            problems = checks.of(catalog, selection.definitions(images))
            if problems:
                raise DefinitionError(problems)
            found |= {image.key: image for image in images}
        except ImgbuildError as error:
            failed.append(_failure(name, error))
    if not names:
        failed += [_failure(one.name, DefinitionError(one.problems)) for one in catalog.broken]
    components: dict[str, list[Definition]] = {}
    for image in found.values():
        components.setdefault(image.component or image.name, []).append(image)
    return [tuple(images) for images in components.values()]


def _ready(catalog: Catalog, images: tuple[Definition, ...], edges: Edges, *, locked: bool) -> list[_Job]:
    architecture = packages.architecture(catalog)
    wanted = selection.definitions(images)
    locks = locking.read(wanted, architecture)
    reasons = locking.stale(catalog, wanted, locks, architecture)
    plans = {} if reasons else locking.drafts(catalog, images, locks, edges)
    known = locking.revisions(catalog, images)
    reasons = reasons or locking.misrevised(plans, known)
    if reasons and locked:
        first = next(one for one in wanted if one.key in reasons)
        hint = f"run `imgbuild lock {first.component or first.name}`"
        raise StaleLock(f"the lock of {first.name} cannot be used: {reasons[first.key]}", hint)
    if reasons:
        try:
            locking.lock(catalog, selection.standing_on(images), edges)
        except FetchError as error:
            if not error.gone:
                raise
            edges.reporter.warn(error.message)
            return _dev(catalog, images, locks, frozenset(package.sha256 for package in error.gone), edges)
        locks, known = locking.read(wanted, architecture), locking.revisions(catalog, images)
        plans = locking.drafts(catalog, images, locks, edges)
    return [_Job(image, locks, planner.at_revision(plans[image.key], known[image.key].revision)) for image in images]


def _dev(
    catalog: Catalog, images: tuple[Definition, ...], locks: Locks, gone: frozenset[str], edges: Edges
) -> list[_Job]:
    made = locking.dev(catalog, selection.definitions(images), locks, gone, edges)
    plans = locking.drafts(catalog, images, made, edges)
    return [_Job(image, made, plans[image.key]) for image in images]


def _without(catalog: Catalog, jobs: list[_Job], gone: frozenset[str], edges: Edges) -> list[_Job]:
    """The same images, those that need a package that is gone as ``-dev`` builds from the nearest newer ones."""
    hit = [job for job in jobs if any(job.locks[part.key].needs(gone) for part in job.image.chain())]
    locks = {part.key: job.locks[part.key] for job in hit for part in job.image.chain()}
    made = {job.image.key: job for job in _dev(catalog, tuple(job.image for job in hit), locks, gone, edges)}
    return [made.get(job.image.key, job) for job in jobs]


def _make(
    catalog: Catalog,
    jobs: list[_Job],
    ways: tuple[transports.Target, ...],
    edges: Edges,
    published: Home | None = None,
    known: Mapping[CacheKey, BuiltLayer] | None = None,
) -> making.Made:
    found = _sought(catalog, jobs, ways, edges, published, known)
    return making.make(
        found.layers, edges.store, found.fetch, edges.jobs, edges.reporter, built=found.known, places=found.places,
        brought=found.brought,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Sought:
    """Layers, and where they or what they are made of may be had.

    Attributes:
        known: what they turned out to be when they were built.
        brought: those that have come from a registry.
    """

    layers: tuple[LayerPlan, ...]
    fetch: making.Fetch
    known: Mapping[CacheKey, BuiltLayer]
    places: tuple[LayoutBlobs, ...]
    brought: frozenset[Digest]


def _sought(
    catalog: Catalog,
    jobs: list[_Job],
    ways: tuple[transports.Target, ...],
    edges: Edges,
    published: Home | None,
    before: Mapping[CacheKey, BuiltLayer] | None,
) -> _Sought:
    locks = {part.key: job.locks[part.key] for job in jobs for part in job.image.chain()}
    known = {**(before or {}), **{layer.cache_key: layer for lock in locks.values() for layer in lock.built}}
    places = tuple(LayoutBlobs(Path(way.path)) for way in ways if way.kind == "oci")
    brought: frozenset[Digest] = frozenset()
    if published:
        # A build that looks in no registry does without what that needs.
        from builder.pipeline import reusing

        brought = reusing.fetch((job.plan for job in jobs), known, places, published, edges)
    if any(store.startswith(f"{transports.REGISTRY}:") for store in catalog.workspace.stores):
        from builder.pipeline import stocking

        brought |= stocking.layers(catalog, (job.plan for job in jobs), known, brought, places, edges)
    fetch = _fetcher(catalog, tuple(job.image for job in jobs), locks.values(), edges)
    return _Sought(Plan(tuple(job.plan for job in jobs)).layers(), fetch, known, places, brought)


def _fetcher(
    catalog: Catalog, images: tuple[Definition, ...], locks: Iterable[Lock], edges: Edges
) -> Callable[[tuple[Artifact, ...]], None]:
    def fetch(wanted: tuple[Artifact, ...]) -> None:
        packages.fetch(catalog, images, wanted, edges, locks)

    return fetch


def _failure(name: str, error: ImgbuildError, tag: str = "", status: str = "failed") -> Built:
    return Built(name, tag, status, because=error.message, error=error)


@dataclass(frozen=True, slots=True)
class _Ready:
    """An image that is made, and what it is called."""

    job: _Job
    image: Image
    named: transports.Named


def _written(
    jobs: list[_Job],
    made: making.Made,
    ways: tuple[transports.Target, ...],
    edges: Edges,
    started: float,
    attesting: Attesting | None,
) -> tuple[Built, ...]:
    locks = {id(lock): lock for job in jobs for lock in job.locks.values()}
    sections = {number: lockfile.section(replace(lock, built=())) for number, lock in locks.items()}
    ready: list[_Ready] = []
    failed: dict[str, Built] = {}
    for job in jobs:
        try:
            making.require(made, job.plan.layers)
            image = assemble.image(job.plan, made.layers, edges.store)
            ready.append(_Ready(job, image, _named(job, sections)))
        except ImgbuildError as error:
            own = error in (made.outcome.errors.get(layer.cache_key) for layer in _own(job.plan))
            status = "failed" if own or error not in made.outcome.errors.values() else "skipped"
            failed[job.image.key] = _failure(job.plan.image, error, job.plan.tag, status)
    for way in ways:
        left = [one for one in ready if one.job.image.key not in failed]
        failed |= _write(left, way, edges, attesting)
    seconds = time.monotonic() - started
    built = {one.job.image.key: _built(one, made, edges, seconds) for one in ready} | failed
    return tuple(
        replace(one, log=remembering.log(job.plan, made, edges.store, one.status, one.digest or one.because))
        for job in jobs
        for one in (built[job.image.key],)
    )


def _write(
    images: Sequence[_Ready], way: transports.Target, edges: Edges, attesting: Attesting | None
) -> dict[str, Built]:
    """Write images to one place, and give what became of those that cannot be written there."""
    failed: dict[str, Built] = {}

    def fail(one: _Ready, error: ImgbuildError) -> None:
        failed[one.job.image.key] = _failure(one.job.plan.image, error, one.job.plan.tag)

    try:
        with transports.writing(way, edges.store, edges.reporter) as put:
            for one in images:
                try:
                    put(one.image, _attested(one, way, attesting))
                except OSError as error:
                    fail(one, of_system(error, f"{one.job.plan.image} cannot be written", way.path))
                except ImgbuildError as error:
                    fail(one, error)
    except ImgbuildError as error:
        for one in images:
            fail(one, error)
    return failed


def _attested(one: _Ready, way: transports.Target, attesting: Attesting | None) -> transports.Named:
    """What an image is called there, with what is attested of it where that is kept and not there yet."""
    named = one.named
    if (
        not attesting
        or way.kind != "oci"
        or oci_layout.attested(Path(way.of(named.image).path), named.reference, one.image.digest)
    ):
        return named
    attested = attesting.beside(one.image, one.job.image, one.job.plan, one.job.locks)
    return replace(named, beside={**named.beside, **attested})


def _built(one: _Ready, made: making.Made, edges: Edges, seconds: float) -> Built:
    plan_, image = one.job.plan, one.image
    reused = sum(layer.cache_key in made.reused for layer in plan_.layers)
    status = "reused" if reused == len(plan_.layers) else "built"
    known = not plan_.revision or (status == "reused" and remembering.logged(plan_, edges.store))
    locks = [one.job.locks[part.key] for part in one.job.image.chain()]
    return Built(
        plan_.image,
        plan_.tag,
        status,
        image.digest,
        len(plan_.layers) - reused,
        reused,
        sum(layer.size for layer in image.layers),
        seconds,
        release=None if known else recording.released(plan_, image, locks),
    )


def _own(plan_: ImagePlan) -> list[LayerPlan]:
    return [layer for layer in plan_.layers if layer.definition == plan_.image]


def _named(job: _Job, sections: Mapping[int, str]) -> transports.Named:
    plan_ = job.plan
    annotations = {
        "org.imgbuild.component": plan_.component,
        "org.imgbuild.image": plan_.image,
        "org.imgbuild.version": plan_.version,
        "org.imgbuild.revision": str(plan_.revision),
        "org.imgbuild.content-key": str(plan_.content_key),
    }
    lock = lockfile.packed(lockfile.with_sections(sections[id(job.locks[part.key])] for part in job.image.chain()))
    return transports.Named(plan_.image, f"{plan_.image}:{plan_.tag}", annotations, {oci_layout.LOCK: lock})
