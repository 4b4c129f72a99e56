"""Releases of the record → what each moved, and how long fixes took."""

from __future__ import annotations

from dataclasses import replace

import pytest

from builder.model.advisory import Advisory
from builder.model.release import Held, Publication, Release
from builder.overview.values import Month
from builder.pipeline import chronicle
from builder.record.releases import Span
from builder.record.schema import OPEN
from builder.security.feeds import Feed, Listed

DAY = 86400
BEGIN = 20_000 * DAY
"""2024-10-04."""


def held(name: str, version: str, source: str = "", layer: str = "g", source_version: str = "") -> Held:
    return Held("base", layer, name, version, source or name, source_version or version, "asked for")


def moved(*spans: tuple[Held, int, int]) -> list[tuple[str, ...]]:
    """What the page says of the releases 1 and 2."""
    moves = chronicle._moves([Span(1, *one) for one in spans], (1, 2))
    release = Release("web", "web", "1.0", 2, "00", "", time=BEGIN)
    return [chronicle._release(release, moves[at], ()).moved for at in (1, 2)]


def test_what_a_release_moved() -> None:
    assert moved(
        (held("libssl3", "1", "openssl"), 0, 0), (held("openssl", "1"), 0, 0),
        (held("libssl3", "2", "openssl"), 1, OPEN), (held("openssl", "2"), 1, OPEN),
        (held("gone", "1"), 0, 1), (held("new", "3"), 2, OPEN),
    ) == [("openssl 1 → 2",), ("gone is gone", "new 3 is new")]  # fmt: skip


def test_a_package_that_changes_its_place_does_not_move() -> None:
    assert moved((held("a", "1"), 0, 0), (held("a", "1", layer="other"), 1, OPEN)) == [(), ()]


def test_what_was_only_built_anew_is_told_by_its_own_name() -> None:
    old, new = (held("lib-a", version, "lib", source_version="1") for version in ("1", "1+b1"))
    assert moved((old, 0, 0), (new, 1, OPEN)) == [("lib-a 1 → 1+b1",), ()]
    wheel = Held("web", "web/flask", "web/flask", "3.0", "", "", "asked for")
    assert moved((wheel, 0, 0), (replace(wheel, version="3.1"), 1, OPEN)) == [("web/flask 3.0 → 3.1",), ()]


def test_where_a_release_lies() -> None:
    one = Publication("web", "web", "1.0", 2, "registry.example/web", "sha256:00")
    found = chronicle._release(Release("web", "web", "1.0", 2, "00", ""), (), (one,))
    assert (found.tag, found.day, found.published) == ("1.0-r2", None, ("registry.example/web",))


FLAW = Advisory("CVE-1", "openssl", "trixie", "0", "2", mended=BEGIN)


def months(*steps: tuple[int, str, str], told: tuple[Advisory, ...] = (FLAW,), origin: str = "trixie") -> list[Month]:
    """Of releases on days after the beginning, that moved openssl."""
    rows = [
        (
            Release("web", "web", "1.0", 1, "00", "", time=BEGIN + day * DAY if day >= 0 else 0),
            (chronicle._Move(held("openssl", old), held("openssl", new)),),
        )
        for day, old, new in steps
    ]
    feed = Feed("feed", Listed(told), frozenset({"trixie"}), ())
    return list(chronicle._months(rows, (feed,), lambda _: origin))


def test_how_long_a_fix_took() -> None:
    assert months((3, "1", "2")) == [Month("2024-10", (3,))]
    # Once for each day, however many images have it, and in the month of the release.
    assert months((3, "1", "2"), (3, "1", "2"), (40, "1", "2.1")) == [Month("2024-10", (3,)), Month("2024-11", (40,))]


@pytest.mark.parametrize(
    ("step", "told", "origin"),
    [
        ((3, "2", "3"), FLAW, "trixie"),  # it had no flaw before
        ((3, "1", "1.5"), FLAW, "trixie"),  # nor has it the fix
        ((3, "1", "2"), FLAW, ""),  # it is from where no feed speaks of
        ((3, "1", "2"), replace(FLAW, mended=0), "trixie"),  # nobody knows since when there is a fix
        ((3, "1", "2"), replace(FLAW, mended=BEGIN + 4 * DAY), "trixie"),  # it was seen afterwards
        ((-1, "1", "2"), FLAW, "trixie"),  # nobody knows when it was released
    ],
)
def test_what_says_nothing_of_how_long_it_took(step: tuple[int, str, str], told: Advisory, origin: str) -> None:
    assert months(step, told=(told,), origin=origin) == []


def test_an_announcement_says_since_when_there_is_a_fix() -> None:
    announced = replace(FLAW, id="DSA-1-1", published="2024-10-02T00:00:00Z", mended=BEGIN + 2 * DAY)
    assert months((3, "1", "2"), told=(announced,)) == [Month("2024-10", (5,))]
    # The day of a CVE is that of the flaw.
    assert months((3, "1", "2"), told=(replace(announced, id="CVE-2"),)) == [Month("2024-10", (1,))]
    assert months((3, "1", "2"), told=(replace(announced, published="soon"),)) == [Month("2024-10", (1,))]
