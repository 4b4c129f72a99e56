"""The benchmark of the record, with a fleet as small as can be."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import record


def test_it_measures_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "RUNS", 1)
    figures = record.measure(tmp_path, 7, 1, 300)
    assert [one.name for one in figures if one.goals] == [
        "`security status`, 7 images × 300 advisories",
        "`security status`, 7 images × 300 advisories, each with a fix that is not yet published",
        "the record after 1 years: 2,555 releases",
        "`security status`, 1 years",
    ]
    told = record.page(figures)
    assert told.count("| aim |") >= 1
    assert "2,555" in told


@pytest.mark.parametrize(("value", "word"), [(0.4, "aim"), (1.5, "must"), (2.5, "**not reached**")])
def test_goals_are_told(value: float, word: str) -> None:
    assert record.Figure("x", value, "s", (2, 0.5)).row().endswith(f"| {word} |")
