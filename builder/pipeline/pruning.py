"""Releases of a layout or a registry × a policy → those that go, and those that stay and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from builder import transports
from builder.errors import UsageError
from builder.model.digest import Digest
from builder.pipeline import finding, locking
from builder.pipeline.edges import Edges
from builder.pipeline.finding import Chosen
from builder.registry import address, removal
from builder.transports import naming, oci_layout, registry
from dsl import versions
from dsl.catalog import Catalog
from dsl.naming import Names


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to become of a release.

    Attributes:
        name: as the command line names it.
        digest: that its name leads to: of several architectures the index's.
        because: why it stays; empty if it goes.
        others: the digests of the images of that index.
    """

    name: str
    digest: Digest
    because: str = ""
    others: tuple[Digest, ...] = ()

    def data(self) -> dict[str, Any]:
        """For machines."""
        return {"image": self.name, "digest": self.digest, "stays": bool(self.because), "because": self.because or None}


@dataclass(frozen=True, slots=True)
class Plan:
    """What would go.

    Attributes:
        place: ``oci:out``.
        verdicts: image by image, oldest release first.
        bytes: of layers that only what goes has.
    """

    place: str
    verdicts: tuple[Verdict, ...]
    bytes: int

    @property
    def gone(self) -> tuple[Verdict, ...]:
        """What goes."""
        return tuple(one for one in self.verdicts if not one.because)


def plan(catalog: Catalog, place: str, keep: int, running: Chosen, edges: Edges) -> Plan:
    """Say what would go.

    It stays what is among an image's newest releases (each stream by itself), what runs, what a lock says is current, and
    what another tag leads to.

    Args:
        place: ``oci:DIR`` or ``registry:HOST/PREFIX/``, with a name for one image alone.
        keep: how many releases of each image stay, at least 1.
        running: releases that run somewhere.

    Raises:
        UsageError: there are no images.
        ImageError, RegistryError: they cannot be read.
    """
    if place.partition(":")[0] not in ("oci", transports.REGISTRY):
        raise UsageError(
            f"{place!r}: releases are kept in layouts and registries", "say oci:DIR or registry:HOST/PREFIX/"
        )
    current = frozenset(_current(catalog))
    verdicts: list[Verdict] = []
    sizes: dict[bool, dict[Digest, int]] = {True: {}, False: {}}
    names = catalog.names
    for mine in finding.series((place,), edges.store, names).values():
        tags = _tags(place, mine[0].name, names, edges)
        newest = {id(one) for one in mine[-keep:]}
        for stored in mine:
            images = [transports.parsed(one) for one in stored.every()]
            digest = stored.named or images[0].digest
            runs = any(
                running.has(stored.name, one, image.config_digest, newest=False)
                for image in images for one in (image.digest, digest)
            )  # fmt: skip
            reasons = {
                f"one of the newest {keep}" if keep > 1 else "the newest": id(stored) in newest,
                "it runs": runs,
                "a lock says that it is current": names.read(naming.tagged(stored.name)) in current,
                f"by {', '.join(sorted(tags.get(digest, ())))}": digest in tags,
            }
            because = next((reason for reason, holds in reasons.items() if holds), "")
            others = tuple(image.digest for image in images if image.digest != digest)
            verdicts.append(Verdict(stored.name, digest, because, others))
            sizes[bool(because)] |= {layer.digest: layer.size for image in images for layer in image.layers}
    # A digest that stays under one name stays.
    kept = {digest for one in verdicts if one.because for digest in (one.digest, *one.others)}
    verdicts = [
        one if one.because or one.digest not in kept else replace(one, because="it is one that stays")
        for one in verdicts
    ]
    lost = sum(size for digest, size in sizes[False].items() if digest not in sizes[True])
    return Plan(place, tuple(verdicts), lost)


def carry_out(catalog: Catalog, plan_: Plan, edges: Edges) -> None:
    """Take out what goes.

    Raises:
        ImageError: the layout is damaged.
        RegistryError: the registry does not allow it.
    """
    kind, _, rest = plan_.place.partition(":")
    if kind == "oci":
        if plan_.gone:
            oci_layout.remove(transports.path_of(plan_.place), [naming.tagged(one.name) for one in plan_.gone])
        return
    place, _, _ = registry.at(rest, edges.store, catalog.names)
    kept = {digest for one in plan_.verdicts if one.because for digest in (one.digest, *one.others)}
    with place.session as session:
        for one in plan_.gone:
            edges.reporter.note(f"removing {one.name}")
            # The index first: no tag leads to half of it.
            for digest in (one.digest, *(other for other in one.others if other not in kept)):
                removal.remove(session, _repository(one.name), digest)


def _current(catalog: Catalog) -> Iterator[str]:
    images = [image for component in catalog.components for image in component.images]
    for key, revision in locking.revisions(catalog, images).items():
        yield f"{key.rpartition('#')[2]}:{versions.tag(revision.version, revision.revision)}"


def _repository(name: str) -> str:
    """The repository of an image that is called ``registry:HOST/NAME:TAG``."""
    return address.parse(name.partition(":")[2]).path


def _tags(place: str, name: str, names: Names, edges: Edges) -> Mapping[Digest, tuple[str, ...]]:
    """Tags that are no release's own, by the digest that they lead to: those of a registry that somebody may pull by."""
    kind, _, rest = place.partition(":")
    if kind != transports.REGISTRY:
        return {}
    return registry.at(rest, edges.store, names)[0].floating(_repository(name))
