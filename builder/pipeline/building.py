"""Components → images: lock if need be, plan, make, assemble, write, remember."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from builder import transports
from builder.errors import FetchError, MakeError, StaleLock
from builder.formats import lockfile
from builder.make import assemble
from builder.model.digest import Digest
from builder.model.lock import Lock, LockedPackage
from builder.model.plan import ImagePlan, Plan
from builder.pipeline import locking, making, packages
from builder.pipeline.edges import Edges
from builder.plan import planner
from dsl.catalog import Catalog, CatalogComponent, Definition
from dsl.errors import ImgbuildError


@dataclass(frozen=True, slots=True)
class Built:
    """What became of one image.

    Attributes:
        status: ``built``, ``reused``, ``failed`` or ``skipped``.
        made, reused: numbers of layers.
        size: of all its layers, compressed, in bytes.
        seconds: of the whole run until it was written.
        because: of a failed or skipped one.
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

    def data(self) -> dict[str, Any]:
        """For machines."""
        return {
            "image": self.image,
            "tag": self.tag,
            "status": self.status,
            "digest": self.digest,
            "layers_made": self.made,
            "layers_reused": self.reused,
            "bytes": self.size,
            "seconds": round(self.seconds, 3),
            "because": self.because,
        }


def build(
    catalog: Catalog, targets: Iterable[str], destinations: tuple[str, ...], edges: Edges, *, locked: bool = False
) -> tuple[Built, ...]:
    """Make the images of some targets and write them to each destination.

    Args:
        targets: none for everything.
        locked: refuse a lock that cannot be used, instead of locking anew or building a ``-dev`` image.

    Raises:
        StaleLock: a lock does not fit and ``locked`` is set.
        ImgbuildError: a definition is wrong, or nothing could be begun.
    """
    started = time.monotonic()
    ways = tuple(transports.parse_target(destination) for destination in destinations)
    images = locking.images(catalog, targets)
    architecture = packages.architecture(catalog)
    locks = _usable_locks(catalog, images, architecture, edges, locked=locked or catalog.workspace.locked)
    plan_ = _plan(catalog, images, locks, edges)
    try:
        made = making.make(
            plan_.layers(), edges.store, _fetcher(catalog, images, locks, edges), edges.jobs, edges.reporter
        )
    except FetchError as error:
        if locked or catalog.workspace.locked or error.status not in (404, 410):
            raise
        edges.reporter.warn(f"{error.message}: this is a -dev build from the nearest newer packages")
        locks = locking.dev(catalog, images, locks, edges)
        plan_ = _plan(catalog, images, locks, edges, dev=True)
        made = making.make(
            plan_.layers(), edges.store, _fetcher(catalog, images, locks, edges), edges.jobs, edges.reporter
        )
    built = tuple(_write(image, made, ways, edges, started) for image in plan_.images)
    return built


def plan(catalog: Catalog, targets: Iterable[str], edges: Edges) -> Plan:
    """What a build would make; locks must be there.

    Raises:
        StaleLock: a lock does not fit.
    """
    images = locking.images(catalog, targets)
    architecture = packages.architecture(catalog)
    return _plan(catalog, images, _usable_locks(catalog, images, architecture, edges, locked=True), edges)


def _usable_locks(
    catalog: Catalog, images: tuple[Definition, ...], architecture: str, edges: Edges, *, locked: bool
) -> dict[str, Lock]:
    locks = locking.read(images, architecture)
    reasons = locking.stale(catalog, images, locks, architecture)
    if not reasons:
        return locks
    if locked:
        name, reason = next(iter(reasons.items()))
        target = next((x.component or x.name for image in images for x in image.chain() if x.name == name), name)
        raise StaleLock(f"the lock of {name} cannot be used: {reason}", f"run `imgbuild lock {target}`")
    locking.lock_images(catalog, images, edges)
    return locking.read(images, architecture)


def _plan(
    catalog: Catalog, images: tuple[Definition, ...], locks: Mapping[str, Lock], edges: Edges, *, dev: bool = False
) -> Plan:
    contents = packages.contents(images, edges.store)
    plans = []
    for image in images:
        component = component_of(catalog, image)
        chain = locking.chain(image, locks)
        version = locking.version(component, chain)
        revision = 0
        if not dev:
            known = lockfile.read(image.lock_path).revisions
            draft = planner.image(component, chain, contents, catalog.workspace.defaults, version, 1)
            revision = planner.revise(known, draft).revision
        plans.append(planner.image(component, chain, contents, catalog.workspace.defaults, version, revision))
    return Plan(tuple(plans))


def component_of(catalog: Catalog, image: Definition) -> CatalogComponent:
    """The component that an image definition belongs to."""
    return next(c for c in catalog.components if c.name == image.component)


def _fetcher(
    catalog: Catalog, images: tuple[Definition, ...], locks: Mapping[str, Lock], edges: Edges
) -> Callable[[tuple[LockedPackage, ...]], None]:
    def fetch(wanted: tuple[LockedPackage, ...]) -> None:
        packages.fetch(catalog, images, wanted, edges)

    return fetch


def _write(
    plan_: ImagePlan, made: making.Made, ways: tuple[transports.Target, ...], edges: Edges, started: float
) -> Built:
    try:
        making.require(made, plan_.layers)
        image = assemble.image(plan_, made.layers, edges.store)
        for way in ways:
            transports.write(image, way, _named(plan_))
    except OSError as error:
        reason = MakeError(f"{plan_.image} cannot be written: {error.strerror or error}")
        return Built(plan_.image, plan_.tag, "failed", because=reason.message, error=reason)
    except ImgbuildError as error:
        return Built(plan_.image, plan_.tag, "failed", because=error.message, error=error)
    reused = sum(layer.cache_key in made.reused for layer in plan_.layers)
    return Built(
        plan_.image,
        plan_.tag,
        "reused" if reused == len(plan_.layers) else "built",
        image.digest,
        len(plan_.layers) - reused,
        reused,
        sum(layer.size for layer in image.layers),
        time.monotonic() - started,
    )


def _named(plan_: ImagePlan) -> transports.Named:
    annotations = {
        "org.imgbuild.component": plan_.component,
        "org.imgbuild.image": plan_.image,
        "org.imgbuild.version": plan_.version,
        "org.imgbuild.revision": str(plan_.revision),
        "org.imgbuild.content-key": str(plan_.content_key),
    }
    return transports.Named(plan_.image, f"{plan_.image}:{plan_.tag}", annotations)
