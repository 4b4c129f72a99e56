"""Locks × feeds of advisories → what is open, in which images and layers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from builder.errors import FeedError, FetchError
from builder.model.advisory import OPEN, PYPI, SEVERITIES, Advisory, State
from builder.model.lock import Lock, LockedPackage, LockedWheel
from builder.pipeline import locking, packages, selection, wheels
from builder.pipeline.edges import Edges
from builder.plan import groups
from builder.security import feeds, judging
from builder.security.feeds import Feed
from builder.tools import credentials, documents
from dsl import model
from dsl.catalog import Catalog, Definition

Known = Mapping[tuple[str, str], tuple[Advisory, ...]]


@dataclass(frozen=True, slots=True)
class Finding:
    """An advisory that speaks of a locked package.

    Attributes:
        definition: whose lock has it.
        package: a binary package or wheel of the source.
        version: what is locked, of the source.
        layer: the group of packages that a fix replaces.
        images: all that stand on the definition.
        why: why the package is there: ``asked for``, or what needs it.
    """

    advisory: Advisory
    state: State
    definition: str
    package: str
    version: str
    layer: str
    images: tuple[str, ...]
    why: str

    def data(self) -> dict[str, Any]:
        """For machines."""
        told = self.advisory
        return {
            "advisory": told.id, "aliases": list(told.aliases), "severity": told.severity, "state": self.state.value,
            "source": told.source, "fixed": told.fixed, "waiting": told.waiting, "published": told.published,
            "summary": told.summary, "feed": told.feed, "definition": self.definition, "package": self.package,
            "version": self.version, "layer": self.layer, "images": list(self.images), "why": self.why,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Unknown:
    """Packages of which no feed speaks: by where they come from.

    Attributes:
        count: of source packages and wheels.
    """

    definition: str
    origin: str
    count: int


@dataclass(frozen=True, slots=True)
class Status:
    """How images stand to all advisories.

    Attributes:
        findings: the open ones and the fixed ones, the gravest first.
    """

    findings: tuple[Finding, ...]
    unknown: tuple[Unknown, ...]

    @property
    def open(self) -> tuple[Finding, ...]:
        """What somebody has to do something about."""
        return tuple(one for one in self.findings if one.state in OPEN)


def read_feeds(catalog: Catalog, given: Iterable[str], edges: Edges, *, offline: bool = False) -> tuple[Feed, ...]:
    """The feeds of the workspace, or those that are given. What cannot be had or read is told, and the rest is used."""
    named = tuple(given)
    places = named or tuple(_from_root(catalog, place) for place in catalog.workspace.feeds) or (feeds.TRACKER,)
    logins = credentials.read(wheels.netrc(catalog))
    found = []
    for place in places:
        try:
            for document in documents.get(place, edges.store, logins, offline=offline):
                if document.warning:
                    edges.reporter.warn(document.warning)
                feed = feeds.parse(document.name, document.data)
                if feed.broken:
                    shown = "; ".join(feed.broken[:3])
                    edges.reporter.warn(f"{feed.name}: {len(feed.broken)} records cannot be read: {shown}")
                found.append(feed)
        except (FetchError, FeedError) as error:
            edges.reporter.warn(f"no advisories from there: {error.message}")
    return tuple(found)


def status(catalog: Catalog, targets: Iterable[str], told: tuple[Feed, ...]) -> Status:
    """How the images of some targets stand, by their locks.

    Raises:
        UnknownTarget: there is no such image.
    """
    images = selection.images(catalog, targets)
    standing: dict[str, list[str]] = {}
    for image in images:
        for part in image.chain():
            standing.setdefault(part.key, []).append(image.name)
    wanted = selection.definitions(images)
    locks = locking.read(wanted, packages.architecture(catalog))
    known = judging.by_source(advisory for feed in told for advisory in feed.advisories)
    suites = frozenset(suite for feed in told for suite in feed.suites)
    found: list[Finding] = []
    unknown: Counter[tuple[str, str]] = Counter()
    for definition in wanted:
        lock = locks.get(definition.key)
        if lock:
            names = tuple(standing[definition.key])
            found += _debian(catalog, definition, lock, names, known, suites, unknown)
            found += _wheels(definition, lock, names, known, suites, unknown)
    gravest = sorted(
        found, key=lambda one: (-_rank(one.advisory.severity), one.advisory.id, one.definition, one.package)
    )
    return Status(tuple(gravest), tuple(Unknown(*key, count) for key, count in sorted(unknown.items())))


def at_least(findings: Iterable[Finding], severity: str) -> tuple[Finding, ...]:
    """Those of a severity, and the graver ones; what has none counts as any."""
    least = SEVERITIES.index(severity)
    return tuple(one for one in findings if not one.advisory.severity or _rank(one.advisory.severity) >= least)


def _rank(severity: str) -> int:
    return SEVERITIES.index(severity) if severity in SEVERITIES else SEVERITIES.index("medium")


def _debian(
    catalog: Catalog, definition: Definition, lock: Lock, images: tuple[str, ...],
    known: Known, suites: frozenset[str], unknown: Counter[tuple[str, str]],
) -> Iterator[Finding]:  # fmt: skip
    sources = catalog.sources(definition)
    layers = {
        package.sha256: group.name
        for group in groups.groups(lock.packages, lock.grouping)
        for package in group.packages
    }
    for package in _one_of_each_source(lock.packages):
        source = sources.get(package.source)
        release = judging.release(package.suite, suites) if source and _is_debians(source[0]) else ""
        if not release:
            unknown[definition.name, f"{package.source} {package.suite}".strip()] += 1
            continue
        for advisory in known.get((release, package.source_package), ()):
            state = judging.package(package, advisory)
            if state != State.UNTOUCHED:
                yield Finding(
                    advisory, state, definition.name, package.name, package.source_version, layers[package.sha256],
                    images, package.why,
                )  # fmt: skip


def _wheels(
    definition: Definition, lock: Lock, images: tuple[str, ...], known: Known, suites: frozenset[str],
    unknown: Counter[tuple[str, str]],
) -> Iterator[Finding]:  # fmt: skip
    for wheel in lock.wheels:
        if PYPI not in suites or not _is_pypis(wheel):
            unknown[definition.name, "a folder or index of the site's" if not _is_pypis(wheel) else PYPI] += 1
            continue
        for advisory in known.get((PYPI, wheel.name), ()):
            state = judging.wheel(wheel, advisory)
            if state != State.UNTOUCHED:
                layer = f"{wheel.environment}/{wheel.group}"
                yield Finding(advisory, state, definition.name, wheel.name, wheel.version, layer, images, wheel.why)


def _one_of_each_source(locked: Iterable[LockedPackage]) -> Iterator[LockedPackage]:
    # Binary packages of one source in several versions are possible (binNMUs are none: their source is the same).
    seen: set[tuple[str, str]] = set()
    for package in sorted(locked):
        key = (package.source_package, package.source_version)
        if key not in seen:
            seen.add(key)
            yield package


def _is_debians(source: model.Source) -> bool:
    return source.apt is not None and packages.DEBIAN_MIRROR.match(source.apt) is not None


def _is_pypis(wheel: LockedWheel) -> bool:
    return wheel.url.startswith("https://files.pythonhosted.org/")


def _from_root(catalog: Catalog, place: str) -> str:
    return place if "://" in place else str(catalog.root / place)
