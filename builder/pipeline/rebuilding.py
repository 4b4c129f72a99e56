"""Images that were built → the same made again from their locks, in an empty store: are they the same bytes?"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from builder import file_differences, transports
from builder.errors import FetchError, ImageError, StaleLock
from builder.file_differences import LayerDifference
from builder.formats import lockfile
from builder.make import assemble
from builder.model.digest import Digest
from builder.model.image import Image, StoredImage
from builder.model.lock import Artifact, Lock
from builder.model.plan import ImagePlan
from builder.pipeline import locking, making, packages, published
from builder.pipeline.edges import Edges
from builder.plan import planner
from builder.tools.store import Store
from builder.transports import Target, oci_layout
from dsl.catalog import Catalog, Definition


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """An image and what came out when it was made again.

    Attributes:
        name: of the image, for messages.
        place: what it is called on the command line.
        layers: those that differ.
        kept: what the second one is called there, if it was kept.
    """

    name: str
    place: str
    old: Image
    new: Image
    layers: tuple[LayerDifference, ...]
    kept: str = ""

    @property
    def same(self) -> bool:
        """Whether they are the same bytes."""
        return self.old.digest == self.new.digest

    def data(self) -> dict[str, Any]:
        """For machines."""
        return {
            "image": self.name,
            "same": self.same,
            "digest": self.old.digest,
            "rebuilt": self.new.digest,
            "kept": self.kept or None,
            "layers": [layer.data() for layer in self.layers],
        }


def rebuild(
    catalog: Catalog, images: Iterable[StoredImage], edges: Edges, *, keep: Target | None = None
) -> Iterator[Rebuilt]:
    """Make images again; of all that was made before only packages are taken, and checked.

    Args:
        images: of layouts, which keep their locks.
        keep: a layout for what comes out.

    Raises:
        ImageError: an image has no lock beside it.
        StaleLock: its definition, or imgbuild's rules, are not those it was made by.
        FetchError: a locked package is nowhere to be had.
    """
    with edges.store.temporary_folder() as folder:
        empty = replace(edges, store=Store(folder))
        try:
            for stored in images:
                yield _rebuild(catalog, stored, edges.store, empty, keep)
        finally:
            # Trees may have owners whose files an ordinary user cannot remove.
            empty.store.clean()


def _rebuild(catalog: Catalog, stored: StoredImage, packages_: Store, edges: Edges, keep: Target | None) -> Rebuilt:
    old = transports.parsed(stored)
    image, locks, plan = planned(catalog, stored, old, edges)
    for artifact in {one.sha256: one for lock in locks.values() for one in lock.artifacts()}.values():
        _take(artifact, packages_, edges.store)

    meant = packages.at(catalog, plan.architecture)

    def fetch(wanted: tuple[Artifact, ...]) -> None:
        try:
            packages.fetch(meant, (image,), wanted, edges, locks.values())
        except FetchError as error:
            if not error.gone:
                raise
            hint = "name a `snapshot` of the source, or `stores` of the workspace that have it"
            raise FetchError(f"{stored.name}: {error.message}", error.url, error.status, hint, error.gone) from None

    reference = f"{plan.image}:{plan.tag}"
    # Of several architectures the name is that of another machine's image, too.
    place = f"{stored.name.partition(reference)[0]}{old.digest}" if stored.index else stored.name
    edges.reporter.step(f"making {reference} again")
    made = making.make(plan.layers, edges.store, fetch, edges.jobs, edges.reporter)
    making.require(made, plan.layers)
    new = assemble.image(plan, made.layers, edges.store)
    layers = () if old.digest == new.digest else tuple(file_differences.of(old, new))
    if keep is None:
        return Rebuilt(stored.name, place, old, new, layers)
    lock = stored.beside(oci_layout.LOCK) or b""
    named = transports.Named(plan.image, reference, published.notes(stored.notes), {oci_layout.LOCK: lock})
    transports.write(new, keep, named, edges.store, edges.reporter)
    return Rebuilt(stored.name, place, old, new, layers, f"{keep}:{new.digest if stored.index else reference}")


def planned(
    catalog: Catalog, stored: StoredImage, image: Image, edges: Edges
) -> tuple[Definition, dict[str, Lock], ImagePlan]:
    """The definition of a stored image, the locks that lie beside it and the plan that it was made by.

    Raises:
        ImageError: it has no lock beside it.
        StaleLock: its definition, or imgbuild's rules, are not those it was made by.
    """
    definition, locks = _locked(catalog, stored, image)
    return definition, locks, _plan(catalog, stored, definition, locks, edges)


def _locked(catalog: Catalog, stored: StoredImage, image: Image) -> tuple[Definition, dict[str, Lock]]:
    """The definition of an image, and the locks of its chain that lie beside it."""
    beside = stored.beside(oci_layout.LOCK)
    if beside is None:
        hint = "an OCI layout that `imgbuild build` wrote keeps it: name the image there, oci:DIR:NAME"
        raise ImageError(f"{stored.name} has no lock beside it", hint)
    locks = lockfile.beside(beside, stored.name)
    labels = image.labels
    title = labels.get("org.opencontainers.image.title", "")
    component = stored.notes.get("org.imgbuild.component") or labels.get("org.imgbuild.component", "")
    (definition,) = catalog.find(f"{component}/{title}")
    if not locks or labels.get(oci_layout.LOCK) != locks[-1].digest():
        raise ImageError(f"{stored.name}: the lock beside it is not its own", "build it again")
    by_name = {lock.name: lock for lock in locks}
    chain = definition.chain()
    if [lock.name for lock in locks] != [part.name for part in chain]:
        then, now = (" → ".join(names) for names in (by_name, (part.name for part in chain)))
        raise _changed(stored, f"{title} stood on {then}; now it is {now}")
    return definition, {part.key: by_name[part.name] for part in chain}


def _plan(catalog: Catalog, stored: StoredImage, image: Definition, locks: dict[str, Lock], edges: Edges) -> ImagePlan:
    architecture = locks[image.key].architecture
    chain = image.chain()
    reasons = locking.stale(catalog, chain, locks, architecture)
    first = next((part for part in chain if part.key in reasons), None)
    if first:
        raise _changed(stored, f"{first.name}: {reasons[first.key]}")
    draft = locking.drafts(catalog, (image,), locks, edges)[image.key]
    revision = stored.notes.get("org.imgbuild.revision", "0")
    plan = planner.at_revision(draft, int(revision) if revision.isdigit() else 0)
    known = stored.notes.get("org.imgbuild.content-key")
    if known and known != plan.content_key:
        raise _changed(stored, "what its definition brings, or how it runs, has changed since")
    return plan


def _changed(stored: StoredImage, reason: str) -> StaleLock:
    hint = f"check out the commit that it was built from (`imgbuild provenance {stored.name}` may name it), with its imgbuild"
    return StaleLock(f"{stored.name} cannot be made again from this workspace: {reason}", hint)


def _take(artifact: Artifact, source: Store, target: Store) -> None:
    """Take a package or wheel from a store by a further name for the same bytes, if they are what the lock says."""
    digest = Digest.from_hex(artifact.sha256)
    if target.has(digest):
        return
    with contextlib.suppress(FileNotFoundError), source.path(digest).open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != digest.hex:
            return
        place = target.path(digest)
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source.path(digest), place)
        except OSError:
            shutil.copyfile(source.path(digest), place)
