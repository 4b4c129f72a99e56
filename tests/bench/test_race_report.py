"""The table, the page and the chart are made from the results that are committed, and from nothing else."""

from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree

import pytest

from bench import race_report

RESULTS: dict[str, Any] = {
    "cold": {"wall": 30.0, "walls": [30.0], "rss": 250_000_000, "pss": 200_000_000},
    "docker chain": {"wall": 120.0},
    "state anew": {"wall": 12.0},
    "nothing changed": {"wall": 0.18},
    "bytes": {"compressed": 300, "raw": 800},
    "docker bytes": {"compressed": 500, "raw": 1000},
    "rebuilt": {"podman": {"wall": 1.5, "sent": "2.5 MB"}},
}


def row(name: str) -> list[str]:
    """The cells of the row whose name begins so, without the name."""
    lines = [line for line in race_report.table(RESULTS).splitlines() if line.startswith(f"| {name}")]
    (found,) = lines
    return [cell.strip() for cell in found.strip("|").split("|")][1:]


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("all images, nothing cached", ["30 s", "120 s", "4×", "≥ 3×", "≥ 5×", "must"]),
        ("all images, package layers", ["12 s", "120 s", "10×", "≥ 12×", "≥ 25×", "**not reached**"]),
        ("nothing changed", ["0.18 s", "", "0.18 s", "≤ 0.50 s", "≤ 0.20 s", "aim"]),
        ("unique bytes of all images, raw", ["0 MB", "0 MB", "80 %", "≤ 75 %", "≤ 55 %", "**not reached**"]),
        ("peak memory", ["250 MB (PSS 200 MB)", "", "250 MB", "≤ 600 MB", "≤ 300 MB", "aim"]),
        (
            "loading a fixed image into podman",
            ["1.50 s, 2.5 MB sent", "", "1.50 s", "≤ 1 s", "≤ 1 s", "**not reached**"],
        ),
    ],
)
def test_a_row_says_what_was_reached(name: str, cells: list[str]) -> None:
    assert row(name) == cells


def test_what_was_not_measured_has_no_row() -> None:
    assert "mmdebstrap" not in race_report.table(RESULTS)
    assert "docker that has" not in race_report.table(RESULTS)


def test_the_page_and_the_chart_are_those_of_the_results() -> None:
    results = json.loads((race_report.DOCS / "performance.json").read_text())
    text = (race_report.DOCS / "performance.md").read_text()
    assert race_report.published(text, results) == text, "python -m bench.race FOLDER --publish"
    assert race_report.drawing(results) == (race_report.DOCS / "performance.svg").read_text()
    ElementTree.fromstring(race_report.drawing(results))


def test_publishing_leaves_the_rest_of_a_page_alone() -> None:
    text = f"before\n{race_report.START}\nold\n{race_report.END}\nafter <!-- x -->\n<!-- end -->\n"
    found = race_report.put(text, race_report.START, "new")
    assert found == f"before\n{race_report.START}\nnew\n{race_report.END}\nafter <!-- x -->\n<!-- end -->\n"
