"""The page of a fleet: what it says, and that it says nothing else."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date

import pytest

from builder.overview import page
from builder.overview.values import Flaw, Image, Layer, Month, Overview, Release

TODAY = date(2026, 11, 20)
BASE = Layer("debian-13/openssl", "package", "debian-13", 2_000_000, 2, ("libssl3t64 3.5.1-1", "openssl 3.5.1-1"), 2)
OWN = Layer("web/bin-00", "package", "image", 30_000_000, 1, ("nginx 1.26.3-3",), 0)
RECORDS = Layer("web/records", "records", "image", 90_000, 1, (), 0)
WEB = Image(
    "web", "web", "1.26.3-r2", "a web server", (BASE, OWN, RECORDS),
    (Release("1.26.3-r2", date(2026, 11, 3), ("openssl 3.5.0-1 → 3.5.1-1",)), Release("1.26.3-r1", date(2026, 10, 1), ())),
)  # fmt: skip
NEW = Image("new", "new", "1.0-r1", "", (BASE, replace(OWN, title="new/bin-00", size=None)))
GRAVE = Flaw(
    "CVE-2026-1", "high", "openssl", "3.5.1-1", "3.5.1-1+deb13u1", "", "a <script>alert(1)</script> flaw",
    date(2026, 11, 10), ("debian-13/openssl",), ("new", "web"),
)  # fmt: skip
WAITS = replace(
    GRAVE, advisory="CVE-2026-2", severity="unrated", fixed="", waiting="no-dsa: minor issue", since=None, summary=""
)
FLEET = Overview(
    "fleet", TODAY, (WEB, NEW), (WAITS, GRAVE), 5, ((3, "acme stable"),), ("tracker.json",), 32_090_000,
    (Month("2026-10", (3, 1, 2)), Month("2026-11", (4, 1))),
)  # fmt: skip


def words(html: str) -> str:
    """What a person reads, in one line."""
    body = re.sub(r"<(style|script)>.*?</\1>", " ", html, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]*>", " ", body).split())


def test_what_it_says() -> None:
    said = words(page.html(FLEET))
    for part in ("2 images", "2 open advisories", "1 high", "1 unrated", "1 with a fix", "5 fixed", "32.1 MB each layer once",
                 "CVE-2026-2 unrated openssl 3.5.1-1 none yet (no-dsa: minor issue) not known 2 images",
                 "3.5.1-1+deb13u1 10 2 images layer debian-13/openssl: new, web", "3 packages from acme stable",
                 "web:1.26.3-r2", "3 layers, 32.1 MB", "new:1.0-r1 · 2 layers, not built",
                 "1.26.3-r2 , 2026-11-03 : openssl 3.5.0-1 → 3.5.1-1",
                 "2026-10 3 2.0", "2026-11 2 2.5"):  # fmt: skip
        assert part in said, part
    # The gravest first, whatever came first.
    assert said.index("CVE-2026-1 ") < said.index("CVE-2026-2 ")


def test_it_needs_nothing_from_elsewhere() -> None:
    html = page.html(FLEET)
    assert re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?(?!#)[^\s"')]+""", html) == []
    assert "@import" not in html
    assert html == page.html(FLEET)


def test_text_of_others_is_text() -> None:
    html = page.html(FLEET)
    assert "&lt;script&gt;alert(1)" in html
    assert "<script>alert" not in html


@pytest.mark.parametrize("feeds", [(), ("tracker.json",)])
def test_nothing_known_is_not_nothing_open(feeds: tuple[str, ...]) -> None:
    said = words(page.html(replace(FLEET, flaws=(), feeds=feeds, months=())))
    assert ("every flaw that the feeds know of" in said) == bool(feeds)
    assert ("nothing is known of advisories" in said) == (not feeds)
    assert "No release is known yet" in said


def test_many_packages_are_cut_and_counted() -> None:
    flaws = tuple(replace(GRAVE, advisory=f"CVE-{n}", source=f"lib{n}") for n in range(75))
    assert "15 packages with less grave ones are not shown" in words(page.html(replace(FLEET, flaws=flaws)))


def test_the_middle_of_days() -> None:
    assert [Month("m", days).median for days in ((5,), (9, 1), (1, 30, 2))] == [5, 5, 2]
