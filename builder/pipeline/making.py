"""A plan → its layers: what exists is found, what is missing is fetched and made."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from builder.errors import IntegrityError, MakeError
from builder.formats import compress
from builder.model.digest import CacheKey, Digest
from builder.model.image import Blobs, Layer
from builder.model.lock import Artifact, BuiltLayer, LockedPackage
from builder.model.plan import (
    FilesLayerPlan,
    LayerPlan,
    MadeLayer,
    PackageLayerPlan,
    RecordsLayerPlan,
    StateLayerPlan,
    WheelLayerPlan,
)
from builder.pipeline import schedule
from builder.pipeline.schedule import Outcome, Task
from builder.report import Reporter
from builder.tools import machine, rootless
from builder.tools.store import Store

_STATE, _CONFIGURING = 5_000_000, 100_000
Fetch = Callable[[tuple[Artifact, ...]], None]
"""Sees to it that the store has the packages and wheels."""


@dataclass(frozen=True, slots=True)
class Made:
    """What the layers of a plan turned out to be, and what became of those that could not be made."""

    layers: dict[CacheKey, MadeLayer]
    reused: frozenset[CacheKey]
    outcome: Outcome


def missing(plans: Iterable[LayerPlan], store: Store) -> tuple[LayerPlan, ...]:
    """The layers that the store does not have."""
    return tuple(plan for plan in plans if store.made(plan.cache_key) is None)


def make(
    plans: tuple[LayerPlan, ...],
    store: Store,
    fetch: Fetch,
    jobs: int,
    reporter: Reporter,
    *,
    built: Mapping[CacheKey, BuiltLayer] | None = None,
    places: tuple[Blobs, ...] = (),
    brought: frozenset[Digest] = frozenset(),
) -> Made:
    """Make the layers that are missing, each once, in parallel.

    Args:
        plans: in an order in which each stands after those it needs.
        fetch: called once, with all packages that making needs.
        built: what locks say that layers turned out to be.
        places: where layers of the last release may lie.
        brought: layers whose bytes were fetched into the store, and verified, to be used for what the locks say they are.
    """
    found, todo = _found(plans, store, built or {}, places, brought)
    reused = frozenset(found)
    if not todo:
        return Made(found, reused, Outcome())
    rootless.require()
    for architecture in sorted(_run(todo.values())):
        machine.require_programs_of(architecture)
    trees = _fetched(todo, store, fetch)
    tasks = _tasks(tuple(todo.values()), trees, store)
    reporter.step(f"making {len(todo)} layers")
    outcome = rootless.call(schedule.run, tasks, jobs, str(store.root), reporter=reporter)
    for key in todo:
        made = outcome.results.get(key)
        if isinstance(made, MadeLayer):
            found[key] = made
    other = [
        key for key in todo if key in found and built and key in built and built[key].digest != found[key].layer.digest
    ]
    if other:
        names = ", ".join(key[:12] for key in other)
        reporter.warn(f"{len(other)} layers are other than when they were built before, as the locks say: {names}")
    return Made(found, reused, outcome)


def _run(plans: Iterable[LayerPlan]) -> frozenset[str]:
    """The architectures of which programs are run to make some layers: what configures, and what compiles Python."""
    found: set[str] = set()
    for plan in plans:
        if isinstance(plan, StateLayerPlan):
            found.add(plan.architecture)
        elif isinstance(plan, PackageLayerPlan | WheelLayerPlan):
            found |= {package.architecture for package in plan.compiler}
    return frozenset(found)


def prepare(
    plans: tuple[LayerPlan, ...],
    store: Store,
    fetch: Fetch,
    *,
    built: Mapping[CacheKey, BuiltLayer] | None = None,
    places: tuple[Blobs, ...] = (),
    brought: frozenset[Digest] = frozenset(),
) -> None:
    """Fetch what `make` would, and make nothing yet."""
    _, todo = _found(plans, store, built or {}, places, brought)
    if todo:
        _fetched(todo, store, fetch)


def _found(
    plans: tuple[LayerPlan, ...], store: Store, built: Mapping[CacheKey, BuiltLayer], places: tuple[Blobs, ...],
    brought: frozenset[Digest],
) -> tuple[dict[CacheKey, MadeLayer], dict[CacheKey, LayerPlan]]:  # fmt: skip
    """The layers that are there, and those to be made, with what they need to be made on."""
    for plan in plans:
        if plan.cache_key in built and store.made(plan.cache_key) is None:
            _bring(plan, built[plan.cache_key], places, brought, store)
    found = {plan.cache_key: made for plan in plans if (made := store.made(plan.cache_key))}
    todo: dict[CacheKey, LayerPlan] = {}
    for plan in plans:
        if plan.cache_key not in found:
            for needed in _with_needed(plan, store):
                todo.setdefault(needed.cache_key, needed)
    return found, todo


def _fetched(todo: Mapping[CacheKey, LayerPlan], store: Store, fetch: Fetch) -> tuple[LockedPackage, ...]:
    """Fetch what making some layers takes: the packages to be unpacked for it."""
    trees = _trees(todo.values(), store)
    wanted: dict[str, Artifact] = {p.sha256: p for p in trees}
    for plan in todo.values():
        if isinstance(plan, PackageLayerPlan):
            wanted |= {p.sha256: p for p in (*plan.packages, *plan.compiler)}
        elif isinstance(plan, WheelLayerPlan):
            wanted |= {w.sha256: w for w in plan.wheels} | {p.sha256: p for p in plan.compiler}
        elif isinstance(plan, StateLayerPlan):
            wanted |= {p.sha256: p for p in plan.clock}
    fetch(tuple(sorted(wanted.values(), key=lambda one: (one.title, one.version, one.sha256))))
    return trees


def _bring(
    plan: LayerPlan, known: BuiltLayer, places: tuple[Blobs, ...], brought: frozenset[Digest], store: Store
) -> None:
    # What a layout holds may be damaged: it counts if it has the digest that the lock says.
    if known.digest in brought or any(_copied(known, place, store) for place in places):
        media_type = compress.MEDIA_TYPES[plan.compression]
        layer = Layer(known.digest, known.diff_id, known.size, media_type)
        store.keep(MadeLayer(plan.cache_key, layer, newest=known.newest))


def _copied(known: BuiltLayer, place: Blobs, store: Store) -> bool:
    with contextlib.suppress(KeyError, OSError, IntegrityError):
        with place.open(known.digest) as source, store.writing() as writer:
            shutil.copyfileobj(source, writer, 1 << 20)
            if writer.digest != known.digest:
                raise IntegrityError("a layer is damaged", known.digest, writer.digest)
        return True
    return False


def _with_needed(plan: LayerPlan, store: Store) -> tuple[LayerPlan, ...]:
    # A state is computed on the unpacked states and files below it, records and some files on what a state left.
    needed: list[LayerPlan] = []
    if isinstance(plan, RecordsLayerPlan | FilesLayerPlan) and plan.state:
        state = store.made(plan.state.cache_key)
        # A state that was brought from a layout comes without its status.
        if state is None or state.status is None:
            needed += _with_needed(plan.state, store)
    if isinstance(plan, StateLayerPlan):
        if plan.below and not _usable(plan.below, store):
            needed += _with_needed(plan.below, store)
        for files in plan.files_below:
            if store.tree(f"files-{files.cache_key}") is None:
                needed += _with_needed(files, store)
    return (*needed, plan)


def _usable(state: StateLayerPlan, store: Store) -> bool:
    made = store.made(state.cache_key)
    return made is not None and made.status is not None and store.tree(f"state-{state.cache_key}") is not None


def _trees(plans: Iterable[LayerPlan], store: Store) -> tuple[LockedPackage, ...]:
    # Many states stand on the same ones.
    states = {state.cache_key: state for plan in plans if isinstance(plan, StateLayerPlan) for state in plan.chain()}
    packages = {package.sha256: package for state in states.values() for package in state.packages}
    # Configuring reads the packages themselves, too.
    return tuple(
        package
        for package in sorted(packages.values())
        if store.tree(package.sha256) is None or not store.has(Digest.from_hex(package.sha256))
    )


def _tasks(plans: tuple[LayerPlan, ...], trees: tuple[LockedPackage, ...], store: Store) -> tuple[Task, ...]:
    # A build that makes nothing does without them.
    from builder.make import files_layer, package_layer, records_layer, state_layer

    tree_makers: dict[str, str] = {}
    folder = str(store.folder("trees"))
    wanted = {package.sha256 for package in trees}
    tasks = []
    for plan in plans:
        if isinstance(plan, PackageLayerPlan):
            unpack = any(package.sha256 in wanted for package in plan.packages)
            tree_makers |= {package.sha256: plan.cache_key for package in plan.packages if unpack}
            title = f"packages of {plan.definition}: {plan.group}"
            size = sum(package.size for package in plan.packages)
            tasks.append(Task(plan.cache_key, title, package_layer.make, (plan, store, unpack), weight=size))
    for package in trees:
        if package.sha256 not in tree_makers:
            key = f"tree-{package.sha256}"
            tree_makers[package.sha256] = key
            call = package_layer.make_tree
            tasks.append(Task(key, f"unpacking {package.name}", call, (package, store), weight=package.size))
    for plan in plans:
        match plan:
            case WheelLayerPlan():
                # A build without wheels does without what they need.
                from builder.make import wheel_layer

                title = f"wheels of {plan.definition}: {plan.environment} {plan.group}"
                size = sum(wheel.size for wheel in plan.wheels)
                tasks.append(Task(plan.cache_key, title, wheel_layer.make, (plan, store), weight=size))
            case FilesLayerPlan():
                title = f"files of {plan.definition}"
                below = frozenset({plan.state.cache_key}) if plan.state else frozenset()
                tasks.append(Task(plan.cache_key, title, files_layer.make, (plan, store), below))
            case StateLayerPlan():
                enough: dict[str, tuple[str, ...]] = {}
                for package in (package for state in plan.chain() for package in state.packages):
                    if package.sha256 in tree_makers:
                        key = tree_makers[package.sha256]
                        enough[key] = (*enough.get(key, ()), f"{folder}/{package.sha256}")
                needs = {*enough}
                needs |= {files.cache_key for files in plan.files_below}
                needs |= {state.cache_key for state in plan.chain()[:-1]}
                title = f"configuring {plan.definition}"
                # As long as the layers of so many bytes of packages take.
                weight = _STATE + _CONFIGURING * len(plan.packages)
                # It needs no layers: while those of the last packages are compressed, it may begin.
                tasks.append(
                    Task(plan.cache_key, title, state_layer.make, (plan, store), frozenset(needs), weight, enough)
                )
            case RecordsLayerPlan():
                title = f"records of {plan.state.definition}"
                needs = {plan.state.cache_key}
                tasks.append(Task(plan.cache_key, title, records_layer.make, (plan, store), frozenset(needs)))
    return tuple(tasks)


def require(made: Made, plans: Iterable[LayerPlan]) -> None:
    """Raise the error because of which a layer is not there.

    Raises:
        ImgbuildError: the layer's own, or that of a layer below it.
    """
    for plan in plans:
        if plan.cache_key in made.layers:
            continue
        cause = made.outcome.skipped.get(plan.cache_key, plan.cache_key)
        raise made.outcome.errors.get(cause) or MakeError(f"a layer was not made: {plan.cache_key}")
