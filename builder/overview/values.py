"""A fleet as a person wants to see it: its images by layers, what is open in them, and what became of fixes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from builder.model.advisory import SEVERITIES

UNRATED = "unrated"
GRAVEST_FIRST = (*reversed(SEVERITIES), UNRATED)
"""The words for how grave a flaw is; ``unrated`` where a feed has none of them."""


LAST = ("component", "image")
"""Parts of an image that are no layer definition."""


@dataclass(frozen=True, slots=True)
class Flaw:
    """An open advisory, wherever in the fleet it is.

    Attributes:
        severity: one of ``GRAVEST_FIRST``.
        source: the source package, or wheel.
        fixed: the version without it; empty while there is none.
        waiting: what it waits for, in the feed's words.
        since: when it became known; None if nobody said.
        layers: those that hold it: ``debian-13/openssl``.
        images: the names of those that have such a layer.
    """

    advisory: str
    severity: str
    source: str
    version: str
    fixed: str
    waiting: str
    summary: str
    since: date | None
    layers: tuple[str, ...]
    images: tuple[str, ...]

    def age(self, today: date) -> int | None:
        """Days since it became known."""
        return max((today - self.since).days, 0) if self.since else None


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer of an image.

    Attributes:
        title: ``debian-13/openssl``, as flaws name it; ``debian-13/state``.
        kind: ``package``, ``wheel``, ``files``, ``state`` or ``records``.
        part: where it comes from: the name of a layer definition, ``component`` for what images of one share, ``image``.
        size: compressed, in bytes; None before it was built.
        shared: how many images have it.
        packages: names and versions.
        flaws: how many open advisories it has.
    """

    title: str
    kind: str
    part: str
    size: int | None
    shared: int
    packages: tuple[str, ...]
    flaws: int


@dataclass(frozen=True, slots=True)
class Release:
    """An image at one revision.

    Attributes:
        day: on which it was released; None if nobody knows.
        moved: what is other than in the release before it: ``openssl 3.5.1-1 → 3.5.1-1+deb13u1``.
        published: the repositories in which it lies.
    """

    tag: str
    day: date | None
    moved: tuple[str, ...]
    published: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Image:
    """An image, bottom layer first, newest release first."""

    name: str
    component: str
    tag: str
    summary: str
    layers: tuple[Layer, ...]
    releases: tuple[Release, ...] = ()

    @property
    def size(self) -> int | None:
        """Of all layers, compressed; None if one was not built."""
        sizes = [layer.size for layer in self.layers]
        return None if None in sizes else sum(size for size in sizes if size is not None)


@dataclass(frozen=True, slots=True)
class Month:
    """Fixes that were released in a month.

    Attributes:
        name: ``2026-11``.
        days: for each, how long its release came after it.
    """

    name: str
    days: tuple[int, ...]

    @property
    def median(self) -> float:
        """Of the days."""
        ordered = sorted(self.days)
        half = len(ordered) // 2
        return float(ordered[half]) if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


@dataclass(frozen=True, slots=True)
class Overview:
    """A fleet on a day.

    Attributes:
        fixed: how many advisories speak of a package that is locked without the flaw.
        unknown: packages of which no feed speaks: how many, and from where.
        feeds: what was asked.
        once: bytes of all images, each layer once.
        months: oldest first; none if no release is known to have closed an advisory.
        unpublished: how many advisories are fixed and not yet published, as far as that is known.
    """

    title: str
    today: date
    images: tuple[Image, ...]
    flaws: tuple[Flaw, ...]
    fixed: int
    unknown: tuple[tuple[int, str], ...]
    feeds: tuple[str, ...]
    once: int
    months: tuple[Month, ...] = ()
    unpublished: int = 0

    @property
    def together(self) -> int:
        """Bytes of all images, each counted alone."""
        return sum(image.size or 0 for image in self.images)

    def by_severity(self) -> Sequence[tuple[str, int]]:
        """How many flaws are open of each severity that there is."""
        counts = [(word, sum(flaw.severity == word for flaw in self.flaws)) for word in GRAVEST_FIRST]
        return [row for row in counts if row[1]]
