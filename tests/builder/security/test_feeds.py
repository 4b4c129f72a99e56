"""Documents of security sources, in the forms that they publish."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import pytest

from builder.errors import FeedError
from builder.model.advisory import Advisory
from builder.security import feeds

TRACKER = {
    "openssl": {
        "CVE-2026-1": {
            "description": "a flaw\nof two lines",
            "scope": "remote",
            "releases": {
                "trixie": {
                    "status": "resolved",
                    "repositories": {"trixie": "3.5.1-1", "trixie-security": "3.5.1-1+deb13u2"},
                    "fixed_version": "3.5.1-1+deb13u2",
                    "urgency": "high**",
                },
                "bookworm": {"status": "resolved", "repositories": {}, "fixed_version": "0", "urgency": "unimportant"},
                "sid": {"status": "undetermined", "repositories": {}, "urgency": "not yet assigned"},
            },
        },
        "CVE-2026-2": {
            "releases": {
                "trixie": {
                    "status": "open",
                    "repositories": {},
                    "urgency": "not yet assigned",
                    "nodsa": "Minor issue",
                    "nodsa_reason": "postponed",
                }
            }
        },
    }
}
OSV = {
    "id": "DSA-5000-1",
    "aliases": ["CVE-2026-1"],
    "upstream": ["CVE-2026-3"],
    "published": "2026-01-02T00:00:00Z",
    "summary": "openssl - security update",
    "affected": [
        {
            "package": {"ecosystem": "Debian:13", "name": "openssl"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "3.5.1-1+deb13u2"}]}],
        },
        {"package": {"ecosystem": "Debian:99", "name": "openssl"}, "ranges": []},
        {"package": {"ecosystem": "Alpine:3", "name": "openssl"}},
    ],
}
PYPI = {
    "id": "PYSEC-2026-1",
    "affected": [
        {
            "package": {"ecosystem": "PyPI", "name": "jinja2"},
            "ranges": [
                {"type": "GIT", "repo": "https://x", "events": [{"introduced": "0"}]},
                {"type": "ECOSYSTEM", "events": [{"introduced": "2.0"}, {"fixed": "2.9"}, {"introduced": "3.0"}]},
            ],
        }
    ],
}


def parsed(document: Any) -> feeds.Feed:
    return feeds.parse("feed", json.dumps(document).encode())


def test_the_tracker() -> None:
    found = parsed(TRACKER)
    assert tuple(found.advisories) == (
        Advisory(
            "CVE-2026-1",
            "openssl",
            "trixie",
            "0",
            "3.5.1-1+deb13u2",
            "high",
            summary="a flaw of two lines",
            feed="feed",
        ),
        Advisory("CVE-2026-2", "openssl", "trixie", "0", "", "", "postponed: Minor issue", feed="feed"),
    )
    assert found.suites == {"trixie"}
    assert found.broken == ()


def test_osv() -> None:
    (found,) = parsed([OSV]).advisories
    assert found == Advisory(
        "DSA-5000-1", "openssl", "trixie", "0", "3.5.1-1+deb13u2", "", "", ("CVE-2026-1", "CVE-2026-3"),
        "2026-01-02T00:00:00Z", "openssl - security update", "feed",
    )  # fmt: skip
    assert tuple(parsed(OSV).advisories) == (found,)
    assert tuple(parsed({**OSV, "withdrawn": "2026-02-01T00:00:00Z"}).advisories) == ()


@pytest.mark.parametrize(
    ("word", "severity"),
    [("MODERATE", "medium"), ("medium**", "medium"), ("High", "high"), ("not yet assigned", ""), (None, "")],
)
def test_how_grave_a_flaw_is_has_one_word(word: str | None, severity: str) -> None:
    osv = {**OSV, "database_specific": {"severity": word}}
    told: dict[str, Any] = {"status": "open", "repositories": {}, "urgency": word}
    found = [*parsed(osv).advisories, *parsed({"openssl": {"CVE-1": {"releases": {"trixie": told}}}}).advisories]
    assert [one.severity for one in found] == [severity] * 2


def test_osv_of_python() -> None:
    found = [(one.suite, one.introduced, one.fixed) for one in parsed(PYPI).advisories]
    assert found == [("PyPI", "2.0", "2.9"), ("PyPI", "3.0", "")]


def test_an_archive_of_records() -> None:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("DSA-5000-1.json", json.dumps(OSV))
        archive.writestr("broken.json", "{")
        archive.writestr("README", "no record")
    found = feeds.parse("all.zip", made.getvalue())
    assert [one.id for one in found.advisories] == ["DSA-5000-1"]
    assert found.broken == ("broken.json: not a record of OSV",)
    with pytest.raises(FeedError, match="damaged archive"):
        feeds.parse("all.zip", made.getvalue()[:200])


@pytest.mark.parametrize(
    ("document", "broken"),
    [
        ({"openssl": []}, "openssl: list in place of its flaws"),
        ({"openssl": {"CVE-1": {}}}, "openssl CVE-1: KeyError 'releases'"),
        ({"openssl": {"CVE-1": {"releases": {"trixie": {"status": "new"}}}}}, "its status in trixie is 'new'"),
        ([{"id": "X", "affected": [{}]}], "X: KeyError 'package'"),
        ([{"id": "X", "affected": 7}], "X: TypeError"),
        ([7], "int in place of a mapping"),
    ],
)
def test_a_broken_record_is_left_out_alone(document: Any, broken: str) -> None:
    whole = [*document, OSV] if isinstance(document, list) else {**TRACKER, **document, "nginx": TRACKER["openssl"]}
    found = parsed(whole)
    assert broken in found.broken[0]
    assert len(found.broken) == 1
    assert found.advisories


@pytest.mark.parametrize("data", [b"", b"<html>", b"7", b'"x"', b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_feed_is_told(data: bytes) -> None:
    with pytest.raises(FeedError, match="no feed of advisories"):
        feeds.parse("feed", data)
