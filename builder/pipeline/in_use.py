"""Releases that run somewhere × feeds of advisories → what is open in them, by what the record says that they hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from builder.errors import UsageError
from builder.model.advisory import PYPI, State
from builder.model.lock import LockedPackage
from builder.model.release import Held
from builder.pipeline import locking, packages, recording, securing, selection
from builder.pipeline.edges import Edges
from builder.pipeline.finding import Chosen
from builder.pipeline.securing import Finding, Status
from builder.security import judging
from builder.security.feeds import Feed
from dsl import versions
from dsl.catalog import Catalog, Definition

if TYPE_CHECKING:
    from builder.record.database import Record


class Origins:
    """Where packages of releases come from, by what is locked now: the record does not say.

    Attributes:
        definitions: those that have a lock, by name.
    """

    def __init__(self, catalog: Catalog, told: Iterable[Feed]) -> None:
        suites = frozenset(suite for feed in told for suite in feed.suites)
        every = tuple(catalog.definitions())
        locks = locking.read(every, packages.architecture(catalog))
        self.definitions: dict[str, Definition] = {}
        self._known: dict[tuple[str, str], str] = {}
        self._all: dict[str, set[str]] = {}
        for definition in every:
            lock = locks.get(definition.key)
            if lock is None:
                continue
            self.definitions.setdefault(definition.name, definition)
            sources = catalog.sources(definition)
            for package in lock.packages:
                suite = securing.release_of(package, sources, suites)
                self._all.setdefault(definition.name, set()).add(suite)
                self._known[definition.name, package.name] = suite
                self._known.setdefault((definition.name, package.source_package), suite)
            for wheel in lock.wheels:
                suite = PYPI if PYPI in suites and securing.is_pypis(wheel) else ""
                self._known[definition.name, wheel.title] = suite

    def of(self, held: Held) -> str:
        """The suite by whose name advisories speak of a package; empty if no feed speaks of its origin.

        What is not locked any more comes from where all else of its definition does, if that is one place.
        """
        for name in (held.name, held.source):
            if name and (held.definition, name) in self._known:
                return self._known[held.definition, name]
        every = self._all.get(held.definition, set())
        return next(iter(every)) if held.source and len(every) == 1 else ""


def status(catalog: Catalog, targets: Iterable[str], told: tuple[Feed, ...], chosen: Chosen, edges: Edges) -> Status:
    """How releases stand that run somewhere.

    Args:
        targets: none for all images that the record knows.

    Raises:
        RecordError: the record cannot be had.
        UsageError: it knows none of these releases.
        UnknownTarget: there is no such image.
    """
    names = tuple(targets)
    wanted = {(image.component or "", image.name) for image in selection.images(catalog, names)} if names else None
    record = recording.opened(catalog, edges.store)
    recording.follow(catalog, record, edges.reporter)
    tags, held = _chosen(catalog, record, chosen, wanted)
    if not tags:
        raise UsageError(
            "the record knows none of the releases that are named there",
            "`imgbuild record rebuild` reads what lies in layouts and registries; without --releases it is the locks "
            "that count",
        )
    known = securing.about(told, (one.artifact for one in held))
    origins = Origins(catalog, told)
    judge = securing.Judge(catalog, lambda: tags, told)
    found: list[Finding] = []
    unknown: Counter[tuple[str, str]] = Counter()
    together: dict[tuple[str, str, str], list[Held]] = {}
    for one in sorted(held):
        together.setdefault((one.definition, *judging.named(one.artifact)), []).append(one)
    for (definition, name, version), same in together.items():
        suite = origins.of(same[0])
        if not suite:
            unknown[definition, "elsewhere"] += 1
            continue
        images = tuple(sorted({image for one in same for image in held[one]}))
        artifacts = tuple(one.artifact for one in same)
        debs = tuple(one for one in artifacts if isinstance(one, LockedPackage))
        for advisory in known.get((suite, name), ()):
            state = judging.state(artifacts[0], advisory)
            if state != State.UNTOUCHED:
                finding = Finding(
                    advisory, state, definition, artifacts[0].name, version, same[0].layer, images, same[0].why
                )  # fmt: skip
                found += judge.decided(finding, "deb" if debs else "pypi", origins.definitions.get(definition), debs)
    return securing.stood(found, unknown, sorted(tags))


def _chosen(
    catalog: Catalog, record: Record, chosen: Chosen, wanted: set[tuple[str, str]] | None
) -> tuple[Mapping[str, str], Mapping[Held, list[str]]]:
    """The tags of the releases by their references, and what is held in which of them."""
    from builder.record import publications, releases

    tags: dict[str, str] = {}
    held: dict[Held, list[str]] = {}
    with record.reading() as connection:
        for image in releases.images(connection, recording.workspace(catalog)):
            if wanted is not None and (image.component, image.name) not in wanted:
                continue
            out = publications.since(connection, image.number, 0)
            for number, one in releases.some(connection, image).items():
                # Of several architectures what runs may be named by their index.
                digests = (one.digest, one.config, *(x.digest for x in out.get(number, ())))
                if chosen.has(one.reference, *digests, newest=number == image.newest):
                    tags[one.reference] = versions.tag(one.version, one.revision)
                    for package in releases.held_at(connection, image.number, number):
                        held.setdefault(package, []).append(one.reference)
    return tags, held
