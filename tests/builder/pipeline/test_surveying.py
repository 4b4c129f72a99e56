"""Findings → flaws of a fleet."""

from __future__ import annotations

import pytest

from builder.model.advisory import Advisory, State
from builder.overview import page
from builder.overview.values import Overview
from builder.pipeline import securing, surveying


def finding(severity: str) -> securing.Finding:
    advisory = Advisory("CVE-2026-1", "lib", "trixie", "0", "2", severity, published="2026-11-02T00:00:00Z")
    return securing.Finding(advisory, State.FIXABLE, "base", "lib1", "1", "lib", ("app",), "asked for")


@pytest.mark.parametrize(("word", "shown"), [("high", "high"), ("", "unrated"), ("negligible", "unrated")])
def test_a_feeds_own_word_is_no_severity_of_the_page(word: str, shown: str) -> None:
    (flaw,) = surveying.flaws_of([finding(word)])
    assert flaw.severity == shown
    assert flaw.since is not None
    assert f">{shown}</span>" in page.html(Overview("x", flaw.since, (), (flaw,), 0, (), ("feed",), 0))
