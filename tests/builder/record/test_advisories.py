"""Advisories in the record: one reading for each content of a feed, and the time at which each was first seen."""

from __future__ import annotations

from dataclasses import replace

import pytest

from builder.model.advisory import Advisory
from builder.record import advisories
from builder.record import database as database_
from builder.record.advisories import Kept
from builder.record.database import Record

DAY = 86400
ONE = Advisory("CVE-1", "openssl", "trixie", "0", "3.5", "high", "", ("DSA-1", "GHSA-x"), "", "a flaw", "feed")
TWO = Advisory("CVE-2", "curl", "trixie", "0", "", "low", "no-dsa: minor", (), "2026-01-02T00:00:00Z", "", "feed")
KEPT = Kept(frozenset({"trixie", "PyPI"}), ("x: broken",))


@pytest.fixture
def record(database: str) -> Record:
    return database_.opened(database)


def keep(record: Record, day: int, *told: Advisory, name: str = "feed") -> None:
    with record.writing() as connection:
        advisories.keep(connection, name, f"sha256:{day:064x}", told, KEPT, day * DAY)


def about(record: Record, sources: set[str] | None = None, name: str = "feed") -> list[Advisory]:
    with record.reading() as connection:
        return sorted(advisories.about(connection, name, "feed", sources))


def test_what_was_read_is_there_again(record: Record) -> None:
    keep(record, 1, ONE, TWO)
    with record.reading() as connection:
        assert advisories.kept(connection, "feed", f"sha256:{1:064x}") == KEPT
        assert advisories.kept(connection, "feed", f"sha256:{2:064x}") is None
        assert advisories.kept(connection, "other", f"sha256:{1:064x}") is None
    assert about(record) == [replace(ONE, seen=DAY, mended=DAY), replace(TWO, seen=DAY)]
    assert about(record, {"curl", "x"}) == [replace(TWO, seen=DAY)]
    assert about(record, name="other") == []


def test_what_was_seen_keeps_its_time(record: Record) -> None:
    keep(record, 1, ONE)
    changed = replace(ONE, fixed="3.6", severity="critical")
    keep(record, 2, changed, TWO)
    assert about(record) == [replace(changed, seen=DAY, mended=DAY), replace(TWO, seen=2 * DAY)]
    # One is gone; another feed has a time of its own for the same.
    keep(record, 3, TWO)
    keep(record, 4, TWO, name="other")
    assert about(record) == [replace(TWO, seen=2 * DAY)]
    assert about(record, name="other") == [replace(TWO, seen=4 * DAY)]


def test_since_when_there_is_a_fix(record: Record) -> None:
    def seen(day: int, fixed: str) -> int:
        keep(record, day, replace(TWO, fixed=fixed))
        (found,) = about(record)
        assert found.seen == DAY
        return found.mended // DAY

    # It is taken back, and comes again.
    told = [seen(1, ""), seen(2, "8.1"), seen(3, "8.2"), seen(4, ""), seen(5, "8.3"), seen(6, "8.3")]
    assert told == [0, 2, 2, 0, 5, 5]


def test_many_go_at_once(record: Record) -> None:
    many = [replace(ONE, id=f"CVE-{number}") for number in range(2500)]
    keep(record, 1, *many)
    keep(record, 2, *many[:3])
    assert len(about(record)) == 3


@pytest.mark.parametrize(
    ("published", "seen", "since"),
    [
        ("", 0, ""),
        ("", DAY, "1970-01-02T00:00:00Z"),
        ("2026-01-02T00:00:00Z", 0, "2026-01-02T00:00:00Z"),
        ("2026-01-02T00:00:00Z", 1800000000, "2026-01-02T00:00:00Z"),
        ("2029-01-02T00:00:00Z", 1800000000, "2027-01-15T08:00:00Z"),
    ],
)
def test_since_when_it_is_known(published: str, seen: int, since: str) -> None:
    assert replace(ONE, published=published, seen=seen).since == since
