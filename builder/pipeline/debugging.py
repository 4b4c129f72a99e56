"""An image, or a container that runs one → the same image with tools on top of it, and the command that goes in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from builder.errors import EngineError, FetchError, StaleLock, UsageError
from builder.model.lock import Lock
from builder.pipeline import building, locking, packages, running
from builder.pipeline.building import Built
from builder.pipeline.edges import Edges
from builder.pipeline.running import Command
from builder.transports import engine
from builder.transports.engine import Container, Kind
from dsl import model
from dsl.catalog import Catalog, Definition

LAYER = "debug"
"""The layer definition whose packages are the tools."""


def container(name: str, kind: Kind | None, edges: Edges) -> tuple[Kind, Container] | None:
    """The container of a name that runs, and the engine that runs it.

    Args:
        kind: the engine to ask; every one that answers, docker first, if None.
    """
    kinds: tuple[Kind, ...] = (kind,) if kind else ("docker", "podman")
    for one in kinds:
        try:
            found = engine.connect(one, edges.store).container(name)
        except EngineError:
            if kind:
                raise
            continue
        if found:
            return one, found
    return None


def image_of(catalog: Catalog, container: Container, edges: Edges) -> Definition:
    """The definition of the image that a container runs; it is told if another release of it is locked by now.

    Raises:
        UsageError: the image was not made by imgbuild.
        UnknownTarget: the workspace has no such image.
    """
    component, title = (container.labels.get(name) for name in ("org.imgbuild.component", _TITLE))
    if not component or not title:
        raise UsageError(
            f"{container.name} runs {container.image}, which says of no definition that it was made from it",
            "name the image that is to be looked into: imgbuild debug COMPONENT/IMAGE",
        )
    (found,) = catalog.find(f"{component}/{title}")
    known = locking.revisions(catalog, (found,)).get(found.key)
    runs = container.labels.get(_VERSION, "")
    if known and not runs.endswith(("-dev", f"-r{known.revision}")):
        edges.reporter.warn(
            f"{container.name} runs {title}:{runs}; the tools stand on r{known.revision}, which is locked"
        )
    return found


def image_named(catalog: Catalog, target: str) -> Definition:
    """The one image that a target means.

    Raises:
        UnknownTarget: there is none.
        UsageError: it means several.
    """
    found = catalog.find(target)
    if len(found) > 1:
        raise UsageError(f"{target} has several images", f"name one: {', '.join(one.reference for one in found)}")
    return found[0]


def build(catalog: Catalog, image: Definition, destination: str, edges: Edges) -> Built:
    """Make an image with the tools on top of it, as a ``-dev`` build: its lock lies in the store, with what it stands on.

    Raises:
        StaleLock: the image's own lock cannot be used.
        UnknownTarget: there is no layer definition of the tools.
    """
    architecture = packages.architecture(catalog)
    locks: dict[str, Lock] = locking.read(image.chain(), architecture)
    reasons = locking.stale(catalog, image.chain(), locks, architecture)
    if reasons:
        first = next(one for one in image.chain() if one.key in reasons)
        raise StaleLock(
            f"the lock of {first.name} cannot be used: {reasons[first.key]}", f"run `imgbuild lock {image.component}`"
        )
    folder = edges.store.folder("debug") / locks[image.key].digest().hex[:32]
    above = _with_tools(image, catalog.definition(LAYER), folder)
    chain = above.chain()
    kept = locking.read((above,), architecture)
    gone: frozenset[str] = frozenset()
    while True:
        made = locking.dev(catalog, chain, {**locks, **kept}, gone, edges)
        try:
            built = building.aside(catalog, above, made, destination, edges)
        except FetchError as error:
            lost = frozenset(package.sha256 for package in error.gone)
            if not lost - gone:
                raise
            gone |= lost
            continue
        locking.keep(above, made[above.key])
        return built


def entering(
    kind: Kind, reference: str, container: Container | None, options: Sequence[str], command: Sequence[str]
) -> Command:
    """The command that starts the tools, in the processes, network and volumes of a container if there is one.

    Raises:
        EngineError: the engine's program is not there.
    """
    spaces = [f"--{space}=container:{container.id}" for space in ("pid", "network")] if container else []
    there = [*spaces, f"--volumes-from={container.id}", "--cap-add=SYS_PTRACE"] if container else []
    return running.run(kind, ("--rm", *options, *there, reference, *command))


def _with_tools(image: Definition, tools: Definition, folder: Path) -> Definition:
    said = {name: getattr(tools.model, name) for name in model.Definition.__struct_fields__ if name != "extends"}
    said["summary"] = f"{image.name}, with tools to look into it"
    return replace(
        image,
        name=f"{image.name}-{LAYER}",
        model=model.ImageDefinition(**said, run=model.Run(command=("bash",), user="root")),
        document=tools.document,
        at=tools.at,
        lock_path=folder / "lock.yaml",
        extends=image,
        upstream_lock_path=None,
    )


_TITLE = "org.opencontainers.image.title"
_VERSION = "org.opencontainers.image.version"
