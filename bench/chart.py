"""A chart as SVG: values of several series for each row, on a logarithmic scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

COLOURS = ("#1b6ca8", "#d1752b", "#6b8f2e")
WIDTH, LEFT, RIGHT, TOP, LINE, GAP = 860, 300, 90, 70, 17, 16


@dataclass(frozen=True, slots=True)
class Row:
    """A name and a value for each series."""

    name: str
    values: tuple[float, ...]


def svg(title: str, series: Sequence[str], rows: Sequence[Row], ticks: Sequence[float], unit: str = "MB") -> str:
    """The chart; ``ticks`` are values of the scale, the first and last its ends."""
    low, high = math.log10(ticks[0]), math.log10(ticks[-1])
    block = LINE * len(series) + GAP
    bottom = TOP + block * len(rows)

    def x(value: float) -> float:
        share = (math.log10(max(value, ticks[0])) - low) / (high - low)
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    found = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom + 40}" role="img" '
        'font-family="sans-serif" font-size="12" fill="#222">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{bottom + 40}" fill="#fff"/>',
        f'<text x="12" y="24" font-size="15" font-weight="bold">{escape(title)}</text>',
    ]
    for place, (name, colour) in enumerate(zip(series, COLOURS, strict=False)):
        found.append(f'<circle cx="{18 + place * 255}" cy="46" r="5" fill="{colour}"/>')
        found.append(f'<text x="{28 + place * 255}" y="50">{escape(name)}</text>')
    for tick in ticks:
        found.append(f'<line x1="{x(tick)}" x2="{x(tick)}" y1="{TOP}" y2="{bottom}" stroke="#ddd"/>')
        found.append(f'<text x="{x(tick)}" y="{bottom + 18}" text-anchor="middle" fill="#555">{tick:g} {unit}</text>')
    for number, row in enumerate(rows):
        start = TOP + GAP + number * block
        found.append(f'<text x="{LEFT - 12}" y="{start + LINE + 4}" text-anchor="end">{escape(row.name)}</text>')
        for line, (value, colour) in enumerate(zip(row.values, COLOURS, strict=False)):
            y = start + line * LINE
            found.append(f'<line x1="{LEFT}" x2="{x(value)}" y1="{y}" y2="{y}" stroke="{colour}" stroke-width="2"/>')
            found.append(f'<circle cx="{x(value)}" cy="{y}" r="5" fill="{colour}"/>')
            found.append(f'<text x="{x(value) + 9}" y="{y + 4}">{value:.3g}</text>')
    return "\n".join([*found, "</svg>"]) + "\n"
