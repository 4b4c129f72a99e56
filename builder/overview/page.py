"""A fleet → one page of HTML that needs nothing from elsewhere."""

from __future__ import annotations

from pathlib import Path

from builder.overview.values import GRAVEST_FIRST, LAST, Flaw, Overview
from builder.report import size

_HUES = 12
"""As many colours as the page has."""
_COLUMNS = 60
"""Source packages in the table of images: more cannot be taken in at a glance."""


def html(overview: Overview) -> str:
    """The page. The same overview gives the same bytes."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["size"] = size
    order = {word: number for number, word in enumerate(GRAVEST_FIRST)}
    parts = {layer.part: None for image in overview.images for layer in image.layers}
    flaws = sorted(overview.flaws, key=lambda one: (order[one.severity], -(one.age(overview.today) or 0), one.advisory))
    sources = _sources(flaws, order)
    return environment.get_template("page.html.j2").render(
        overview=overview,
        flaws=flaws,
        hues={name: number % _HUES for number, name in enumerate(sorted(parts, key=lambda name: (name in LAST, name)))},
        sources=sources[:_COLUMNS],
        left_out=len(sources) - min(len(sources), _COLUMNS),
        marks=_marks(flaws, order),
        largest=max((image.size or 0 for image in overview.images), default=0) or 1,
        slowest=max((month.median for month in overview.months), default=0) or 1,
        GRAVEST_FIRST=GRAVEST_FIRST,
        count_of_hues=_HUES,
    )


def _sources(flaws: list[Flaw], order: dict[str, int]) -> list[str]:
    """Source packages with open flaws, the gravest and those in most images first."""
    worst: dict[str, tuple[int, int, str]] = {}
    for flaw in flaws:
        row = (order[flaw.severity], -len(flaw.images), flaw.source)
        worst[flaw.source] = min(row, worst.get(flaw.source, row))
    return sorted(worst, key=worst.__getitem__)


def _marks(flaws: list[Flaw], order: dict[str, int]) -> dict[tuple[str, str], tuple[str, int, bool]]:
    """By image and source package: the gravest severity, how many flaws, and whether one has a fix."""
    found: dict[tuple[str, str], tuple[str, int, bool]] = {}
    for flaw in flaws:
        for image in flaw.images:
            word, count, fixable = found.get((image, flaw.source), (flaw.severity, 0, False))
            worst = min(word, flaw.severity, key=order.__getitem__)
            found[image, flaw.source] = (worst, count + 1, fixable or bool(flaw.fixed))
    return found
