"""Locks × feeds of advisories → what is open, in which images and layers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from builder.errors import FeedError, FetchError
from builder.model.advisory import OPEN, PYPI, SEVERITIES, Advisory, State
from builder.model.decision import Hold, Statement
from builder.model.lock import Artifact, Lock, LockedPackage, LockedWheel
from builder.pipeline import decisions, locking, outstanding, packages, recording, selection, wheels
from builder.pipeline.edges import Edges
from builder.pipeline.outstanding import NOTHING, Published
from builder.plan import groups
from builder.security import exploits, feeds, judging, vex
from builder.security.exploits import Exploits
from builder.security.feeds import Feed
from builder.security.vex import Subject
from builder.tools import carried, credentials, documents
from dsl import model, versions
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
        images: all that stand on the definition; of what runs somewhere the releases: ``app:1-r2``.
        why: why the package is there: ``asked for``, or what needs it.
        decision: what somebody says of it, and who; empty if nobody does.
        hold: why it does not move, and until when; empty if it may.
        architecture: for which it is so, if not for the workspace's own; empty for that, whatever others hold.
    """

    advisory: Advisory
    state: State
    definition: str
    package: str
    version: str
    layer: str
    images: tuple[str, ...]
    why: str
    decision: str = ""
    hold: str = ""
    architecture: str = ""

    @property
    def where(self) -> str:
        """The definition and its layer, for people."""
        of = f" for {self.architecture}" if self.architecture else ""
        return f"{self.definition}/{self.layer}{of}"

    def data(self) -> dict[str, Any]:
        """For machines."""
        told = self.advisory
        return {
            "advisory": told.id, "aliases": list(told.aliases), "severity": told.severity, "state": self.state.value,
            "source": told.source, "fixed": told.fixed, "waiting": told.waiting, "published": told.published,
            "since": told.since or None, "summary": told.summary, "feed": told.feed, "definition": self.definition, "package": self.package,
            "version": self.version, "layer": self.layer, "images": list(self.images), "why": self.why,
            "decision": self.decision, "hold": self.hold, "architecture": self.architecture or None,
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
        releases: those that were looked at, if not the locks were.
    """

    findings: tuple[Finding, ...]
    unknown: tuple[Unknown, ...]
    releases: tuple[str, ...] = ()

    @property
    def open(self) -> tuple[Finding, ...]:
        """What somebody has to do something about."""
        return tuple(one for one in self.findings if one.state in OPEN)

    @property
    def unpublished(self) -> tuple[Finding, ...]:
        """What is fixed here, and not in what is published."""
        return tuple(one for one in self.findings if one.state == State.UNPUBLISHED)

    @property
    def decided(self) -> tuple[Finding, ...]:
        """What would be open, if nobody had said that it does not matter here."""
        return tuple(one for one in self.findings if one.state == State.DECIDED)


def read_feeds(catalog: Catalog, given: Iterable[str], edges: Edges, *, offline: bool = False) -> tuple[Feed, ...]:
    """The feeds of the workspace, or those that are given, and what others say of flaws in their products.

    What cannot be had or read is told, and the rest is used.
    """
    named = tuple(given)
    places = named or tuple(_from_root(catalog, place) for place in catalog.workspace.feeds or (feeds.TRACKER,))
    places = (*places, *(_from_root(catalog, place) for place in catalog.workspace.vex))
    logins = credentials.read(wheels.netrc(catalog))
    found = []
    there = carried.at(packages.mirror(catalog))
    record = recording.tried(catalog, edges)
    for place in places:
        try:
            for document in documents.get(place, edges.store, logins, offline=offline, there=there):
                if document.warning:
                    edges.reporter.warn(document.warning)
                feed = recording.feed(catalog, record, document, edges)
                if feed.broken:
                    shown = "; ".join(feed.broken[:3])
                    edges.reporter.warn(f"{feed.name}: {len(feed.broken)} records cannot be read: {shown}")
                found.append(feed)
        except (FetchError, FeedError) as error:
            edges.reporter.warn(f"no advisories from there: {error.message}")
    return tuple(found)


def addresses(catalog: Catalog) -> tuple[str, ...]:
    """Where the workspace's advisories, and what else is told of flaws, come from."""
    told = catalog.workspace
    return (*(told.feeds or (feeds.TRACKER,)), *told.vex, *filter(None, (told.epss, told.kev)))


def read_exploits(
    catalog: Catalog, epss: str | None, kev: str | None, edges: Edges, *, offline: bool = False
) -> Exploits:
    """What is known of the use of flaws, by the files that are given, else by those of the workspace.

    What cannot be had or read is told.
    """
    logins = credentials.read(wheels.netrc(catalog))
    there = carried.at(packages.mirror(catalog))
    found = Exploits()
    for given, own, parse in (
        (epss, catalog.workspace.epss, exploits.epss),
        (kev, catalog.workspace.kev, exploits.kev),
    ):
        place = given or (_from_root(catalog, own) if own else "")
        try:
            for document in documents.get(place, edges.store, logins, offline=offline, there=there) if place else ():
                if document.warning:
                    edges.reporter.warn(document.warning)
                read = parse(document.name, document.data)
                if read.broken:
                    edges.reporter.warn(f"{document.name}: {read.broken} records cannot be read")
                found = replace(found, epss={**found.epss, **read.epss}, kev={**found.kev, **read.kev})
        except (FetchError, FeedError) as error:
            edges.reporter.warn(f"nothing is known of the use of flaws from there: {error.message}")
    return found


def status(
    catalog: Catalog, targets: Iterable[str], told: tuple[Feed, ...], published: Published = NOTHING,
    other: Mapping[str, Lock] | None = None,
) -> Status:  # fmt: skip
    """How the images of some targets stand, by their locks.

    It speaks of the workspace's own architecture, and of others where these hold something else.

    Args:
        published: what of them is published in another version, if something is to be said of that.
        other: locks in place of what lies there, by the keys of their definitions.

    Raises:
        UnknownTarget: there is no such image.
    """
    images = selection.images(catalog, targets)
    standing: dict[str, list[Definition]] = {}
    for image in images:
        for part in image.chain():
            standing.setdefault(part.key, []).append(image)
    wanted = selection.definitions(images)
    own, *others = packages.architectures(catalog)
    every = {one: locking.read(wanted, one) for one in (own, *others)}
    every[own] |= other or {}
    known = about(told, (one for locks in every.values() for lock in locks.values() for one in lock.held))
    suites = frozenset(suite for feed in told for suite in feed.suites)
    judge = Judge(catalog, lambda: _tags(catalog, images), told)
    found: list[Finding] = []
    unknown: Counter[tuple[str, str]] = Counter()
    for definition in wanted:
        names = tuple(image.name for image in standing[definition.key])
        behind = outstanding.behind(standing[definition.key], published)
        lock = every[own].get(definition.key)
        here: set[tuple[str, str]] = set()
        if lock:
            here = {judging.named(one) for one in lock.held}
            for one in _debian(catalog, definition, lock, names, known, suites, unknown):
                for finding in _apart(one, behind):
                    found += judge.decided(finding, "deb", definition, lock.packages)
            for one in _wheels(definition, lock, names, known, suites, unknown):
                for finding in _apart(one, behind):
                    found += judge.decided(finding, "pypi", definition, ())
        for other_ in others:
            if theirs := _beside(every[other_].get(definition.key), here):
                # They are counted once.
                counted: Counter[tuple[str, str]] = Counter()
                rows = (
                    *(("deb", x) for x in _debian(catalog, definition, theirs, names, known, suites, counted)),
                    *(("pypi", x) for x in _wheels(definition, theirs, names, known, suites, counted)),
                )
                for kind, one in rows:
                    found += judge.decided(replace(one, architecture=other_), kind, definition, theirs.packages)
    return stood(found, unknown)


def _beside(lock: Lock | None, here: Collection[tuple[str, str]]) -> Lock | None:
    """A lock with what is not held, by source package and version, for the workspace's own architecture."""
    if lock is None:
        return None
    return replace(
        lock,
        packages=tuple(one for one in lock.packages if judging.named(one) not in here),
        wheels=tuple(one for one in lock.wheels if judging.named(one) not in here),
    )


def about(told: Iterable[Feed], held: Iterable[Artifact]) -> Known:
    """What feeds say of some packages, by suite and source package."""
    sources = frozenset(judging.named(one)[0] for one in held)
    return judging.by_source(advisory for feed in told for advisory in feed.advisories.about(sources))


def _tags(catalog: Catalog, images: Iterable[Definition]) -> dict[str, str]:
    wanted = tuple(images)
    known = locking.revisions(catalog, wanted)
    pairs = ((image.name, known.get(image.key)) for image in wanted)
    return {name: versions.tag(one.version, one.revision) if one else "" for name, one in pairs}


def stood(found: Iterable[Finding], unknown: Mapping[tuple[str, str], int], releases: Iterable[str] = ()) -> Status:
    """Findings in their order, and packages of which nobody speaks: by definition and origin."""
    ordered = sorted(
        found, key=lambda one: (-_rank(one.advisory.severity), one.advisory.id, one.definition, one.package)
    )
    counted = tuple(Unknown(*key, count) for key, count in sorted(unknown.items()))
    return Status(tuple(ordered), counted, tuple(releases))


def _apart(finding: Finding, behind: outstanding.Behind) -> Iterator[Finding]:
    """A finding, apart for the images in whose published release the flaw still is."""
    rows = behind.get(finding.advisory.source, ()) if finding.state == State.FIXED else ()
    not_yet = {name for one, names in rows if judging.state(one, finding.advisory) in OPEN for name in names}
    if not not_yet:
        yield finding
        return
    yield replace(finding, state=State.UNPUBLISHED, images=tuple(name for name in finding.images if name in not_yet))
    if out := tuple(name for name in finding.images if name not in not_yet):
        yield replace(finding, images=out)


class Judge:
    """What people say of findings: the workspace's own decisions go before those of others, later ones before earlier."""

    def __init__(self, catalog: Catalog, tags: Callable[[], Mapping[str, str]], told: Iterable[Feed]) -> None:
        # What images are called is asked for only if somebody decided something.
        self._ask_for_tags = tags
        self._day = decisions.today()
        self._holds: dict[str, list[Hold]] = {}
        for hold in decisions.holds_in_force(catalog):
            self._holds.setdefault(hold.package, []).append(hold)
        self._said: dict[str, list[Statement]] = {}
        for one in (*decisions.statements(catalog), *(one for feed in told for one in feed.statements)):
            for name in one.names:
                self._said.setdefault(name, []).append(one)
        self._tags: Mapping[str, str] | None = None

    def decided(
        self, finding: Finding, kind: str, definition: Definition | None, there: Iterable[LockedPackage]
    ) -> Iterator[Finding]:  # fmt: skip
        """A finding as it is decided; one for each part of its images of which something else is.

        Args:
            there: packages, those of its source among them.
        """
        if finding.state not in OPEN:
            yield finding
            return
        source = finding.advisory.source
        held = next((x.told for x in self._holds.get(source, ()) if x.version != finding.version), "")
        finding = replace(finding, hold=held)
        names = (finding.advisory.id, *finding.advisory.aliases)
        said = tuple({id(one): one for name in names for one in self._said.get(name, ())}.values())
        if not said:
            yield finding
            return
        subject = self._subject(finding, kind, definition, there)
        where = [(one, vex.covered(one, subject)) for one in said]
        parts: dict[tuple[State, str], list[str]] = {}
        for image in finding.images:
            mine = tuple(one for one, covered in where if image in covered)
            parts.setdefault(vex.verdict(finding.advisory, finding.state, mine, self._day), []).append(image)
        for (state, why), images in parts.items():
            yield replace(finding, state=state, decision=why, images=tuple(images))

    def _subject(
        self, finding: Finding, kind: str, definition: Definition | None, there: Iterable[LockedPackage]
    ) -> Subject:  # fmt: skip
        if self._tags is None:
            self._tags = self._ask_for_tags()
        bottom = definition.chain()[0].model if definition else None
        told = bottom.distribution if isinstance(bottom, model.LayerDefinition) else None
        distros = {f"{told.id}-{told.version}", f"debian-{told.version}", told.version, told.codename} if told else ()
        named = frozenset(
            (p.name, p.version, p.architecture)
            for p in there
            if (p.source_package, p.source_version) == (finding.advisory.source, finding.version)
        )
        wheel = frozenset({(finding.package, finding.version, "")})
        return Subject(
            kind, finding.advisory.source, finding.version, named if kind == "deb" else wheel, frozenset(distros),
            {name: self._tags[name] for name in finding.images},
        )  # fmt: skip


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
        release = release_of(package, sources, suites)
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
        if PYPI not in suites or not is_pypis(wheel):
            unknown[definition.name, "a folder or index of the site's" if not is_pypis(wheel) else PYPI] += 1
            continue
        for advisory in known.get((PYPI, wheel.name), ()):
            state = judging.wheel(wheel, advisory)
            if state != State.UNTOUCHED:
                layer = f"{wheel.environment}/{wheel.group}"
                yield Finding(advisory, state, definition.name, wheel.name, wheel.version, layer, images, wheel.why)


def release_of(package: LockedPackage, sources: Mapping[str, tuple[model.Source, Any]], suites: frozenset[str]) -> str:
    """The release of Debian's that feeds speak of and a package is of; empty if it is of none."""
    source = sources.get(package.source)
    return judging.release(package.suite, suites) if source and _is_debians(source[0]) else ""


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


def is_pypis(wheel: LockedWheel) -> bool:
    return wheel.url.startswith("https://files.pythonhosted.org/")


def _from_root(catalog: Catalog, place: str) -> str:
    return place if "://" in place else str(catalog.root / place)
