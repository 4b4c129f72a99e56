"""A workspace's locks and its record × advisories → a fleet as a person wants to see it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import PurePath

from builder.model.advisory import State
from builder.model.digest import CacheKey
from builder.model.lock import BuiltLayer
from builder.model.plan import ImagePlan, artifacts, group, kind
from builder.overview.values import GRAVEST_FIRST, UNRATED, Flaw, Image, Layer, Overview, Release
from builder.pipeline import building, chronicle, locking, outstanding, packages, securing, selection
from builder.pipeline.edges import Edges
from builder.pipeline.securing import Finding
from builder.security.feeds import Feed
from dsl.catalog import Catalog, Definition


def survey(
    catalog: Catalog, targets: Iterable[str], feeds: tuple[Feed, ...], today: date, edges: Edges
) -> Overview:  # fmt: skip
    """What there is to see of the images of some targets; nothing is made for it.

    Args:
        targets: none for all.

    Raises:
        StaleLock: locks do not fit.
        UnknownTarget: there is no such image.
    """
    wanted = tuple(targets)
    definitions = selection.images(catalog, wanted)
    plans = building.plans(catalog, definitions, edges)
    every = selection.definitions(definitions)
    built = {
        row.cache_key: row
        for lock in locking.read(every, packages.architecture(catalog)).values()
        for row in lock.built
    }  # fmt: skip
    found = securing.status(catalog, wanted, feeds, outstanding.published(catalog, wanted, edges))
    past = chronicle.told(catalog, definitions, feeds, edges)
    shared = Counter(layer.cache_key for plan in plans.values() for layer in plan.layers)
    flaws = flaws_of(found.open)
    hit = Counter(layer for flaw in flaws for layer in flaw.layers)
    kinds = {one.name: one.name if one.kind == "layer" else "component" for one in every if one.kind != "image"}
    images = tuple(
        _image(image, plans[image.key], built, shared, hit, kinds, past.releases.get(image.key, ()))
        for image in definitions
    )  # fmt: skip
    digests = {built[key].digest: built[key].size for key in shared if key in built}
    return Overview(
        catalog.workspace.workspace, today, images, flaws, sum(one.state == State.FIXED for one in found.findings),
        tuple(sorted(((one.count, one.origin) for one in found.unknown), reverse=True)),
        tuple(_called(feed.name) for feed in feeds), sum(digests.values()), past.months,
        len(found.unpublished),
    )  # fmt: skip


def flaws_of(findings: Iterable[Finding]) -> tuple[Flaw, ...]:
    """Findings of single packages, put together by advisory, source package and version."""
    together: dict[tuple[str, str, str, str], list[Finding]] = {}
    for one in findings:
        advisory = one.advisory
        together.setdefault((advisory.id, advisory.source, one.version, advisory.fixed), []).append(one)
    return tuple(_flaw(rows) for rows in together.values())


def _flaw(rows: list[Finding]) -> Flaw:
    advisory = rows[0].advisory
    known = sorted(one.advisory.since[:10] for one in rows if one.advisory.since)
    return Flaw(
        advisory.id, advisory.severity if advisory.severity in GRAVEST_FIRST else UNRATED, advisory.source, rows[0].version, advisory.fixed,
        advisory.waiting, advisory.summary, _day(known[0]) if known else None,
        tuple(sorted({f"{one.definition}/{one.layer}" for one in rows})),
        tuple(sorted({image for one in rows for image in one.images})),
    )  # fmt: skip


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _image(
    image: Definition, plan: ImagePlan, built: Mapping[CacheKey, BuiltLayer], shared: Mapping[CacheKey, int],
    hit: Mapping[str, int], parts: Mapping[str, str], releases: tuple[Release, ...],
) -> Image:  # fmt: skip
    layers = []
    for layer in plan.layers:
        title = f"{layer.definition}/{group(layer) or kind(layer)}"
        row = built.get(layer.cache_key)
        layers.append(
            Layer(
                title, kind(layer), parts.get(layer.definition, "image"), row.size if row else None,
                shared[layer.cache_key], tuple(f"{one.name} {one.version}" for one in artifacts(layer)), hit[title],
            )
        )  # fmt: skip
    return Image(image.name, image.component or "", plan.tag, image.model.summary or "", tuple(layers), releases)


def _called(feed: str) -> str:
    """A page is read elsewhere, where folders of this machine say nothing."""
    return feed if "://" in feed else PurePath(feed).name
