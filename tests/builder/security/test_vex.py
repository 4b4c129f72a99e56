"""OpenVEX: what is read of it, what it speaks of, and what is written."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from builder.model.advisory import Advisory, State
from builder.model.decision import Product, Statement
from builder.security import feeds, vex
from builder.security.vex import Subject

FLAW = Advisory("CVE-2026-1", "openssl", "trixie", "0", "3.5.6-1")
GROUP = Advisory("DSA-9-1", "openssl", "trixie", "0", "3.5.6-1", aliases=("CVE-2026-1", "CVE-2026-2"))
SUBJECT = Subject(
    "deb",
    "openssl",
    "3.5.1-1",
    frozenset({("libssl3t64", "3.5.1-1", "amd64"), ("openssl", "3.5.1-1", "amd64")}),
    frozenset({"debian-13", "trixie"}),
    {"nova-api": "31.0.0-r3", "keystone": "27.0.0-r1"},
)


def row(**told: Any) -> dict[str, Any]:
    return {
        "vulnerability": {"name": "CVE-2026-1"},
        "products": [{"@id": "pkg:deb/debian/openssl?arch=source"}],
        "status": "not_affected",
        "justification": "vulnerable_code_not_present",
        **told,
    }


def document(*rows: Any) -> dict[str, Any]:
    return {
        "@context": "https://openvex.dev/ns/v0.2.0", "@id": "urn:x", "author": "A vendor", "version": 1,
        "timestamp": "2026-11-01T12:00:00.123456789+01:00", "statements": list(rows),
    }  # fmt: skip


def read(*rows: Any) -> tuple[Statement, ...]:
    found, broken = vex.parse("vendor", document(*rows))
    assert broken == ()
    return found


def test_a_statement_is_read() -> None:
    (one,) = read(
        row(
            vulnerability={"name": "CVE-2026-1", "aliases": ["GHSA-1"]},
            impact_statement="it is\nnot built",
            status_notes="decided by A <a@b>; valid until 2026-12-31",
        )
    )
    assert one == Statement(
        ("CVE-2026-1", "GHSA-1"), (Product(("pkg:deb/debian/openssl?arch=source",)),), "not_affected",
        "vulnerable_code_not_present", "it is not built", "A <a@b>", "2026-11-01T11:00:00Z", "2026-12-31",
    )  # fmt: skip
    assert one.told == "it is not built (A <a@b>, until 2026-12-31)"
    assert read(row())[0].told == "vulnerable code not present (A vendor)"


def test_older_forms_are_read() -> None:
    (one,) = read(
        row(vulnerability="CVE-2026-1", products=["pkg:oci/nova-api"], subcomponents=["pkg:deb/debian/openssl"])
    )
    assert (one.names, one.products) == (
        ("CVE-2026-1",),
        (Product(("pkg:oci/nova-api",), ("pkg:deb/debian/openssl",)),),
    )


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"vulnerability": {}}, "it has no 'name'"),
        ({"vulnerability": {"name": 3}}, "(3,)"),
        ({"status": "fine"}, "'fine'"),
        ({"justification": ""}, "neither"),
        ({"justification": "because"}, "'because'"),
        ({"products": []}, "no product"),
        ({"products": [{}]}, "a product has no name"),
        ({"products": 3}, "not iterable"),
        ({"timestamp": "yesterday"}, "yesterday"),
        ({"status_notes": "valid until 2026-99-99"}, "2026-99-99"),
    ],
)
def test_a_broken_statement_is_left_out_alone(broken: dict[str, Any], said: str) -> None:
    text = json.dumps(document(row(**broken), row(), "no statement"))
    feed = feeds.parse("vendor", text.encode())
    assert (len(feed.statements), len(feed.broken)) == (1, 2)
    assert feed.broken[0].startswith("statement 1: ")
    assert said in feed.broken[0]
    assert (tuple(feed.advisories), feed.suites) == ((), frozenset())


EVERY = {"nova-api", "keystone"}


@pytest.mark.parametrize(
    ("purls", "within", "images"),
    [
        (["pkg:deb/debian/openssl?arch=source"], [], EVERY),
        (["pkg:deb/debian/openssl"], [], EVERY),
        (["pkg:deb/debian/openssl@3.5.1-1?arch=source&distro=debian-13"], [], EVERY),
        (["pkg:deb/debian/openssl?distro=trixie"], [], EVERY),
        (["pkg:deb/debian/openssl?distro=bookworm"], [], set()),
        (["pkg:deb/debian/openssl@3.5.0-1"], [], set()),
        (["pkg:deb/ubuntu/openssl"], [], set()),
        (["pkg:rpm/debian/openssl"], [], set()),
        # Of the binary packages all have to be named, unless the source is.
        (["pkg:deb/debian/libssl3t64"], [], set()),
        (["pkg:deb/debian/libssl3t64", "pkg:deb/debian/openssl?arch=amd64"], [], EVERY),
        (["pkg:deb/debian/libssl3t64?arch=arm64", "pkg:deb/debian/openssl?arch=amd64"], [], set()),
        (["pkg:oci/nova-api"], [], {"nova-api"}),
        (["pkg:oci/nova-api?tag=31.0.0-r3"], [], {"nova-api"}),
        (["pkg:oci/nova-api?tag=31.0.0-r2"], [], set()),
        # Whose image that is cannot be told from a lock.
        (["pkg:oci/nova-api@sha256:00"], [], set()),
        (["pkg:oci/nova-api?repository_url=ghcr.io/acme"], [], set()),
        (["pkg:oci/nova-api"], ["pkg:deb/debian/openssl"], {"nova-api"}),
        (["pkg:oci/nova-api"], ["pkg:deb/debian/perl"], set()),
        (["pkg:deb/debian/openssl"], ["pkg:golang/x"], set()),
        (["no purl", "pkg:"], [], set()),
    ],
)
def test_what_a_statement_covers(purls: list[str], within: list[str], images: set[str]) -> None:
    products = [{"@id": purl, "subcomponents": [{"@id": one} for one in within]} for purl in purls]
    (statement,) = read(row(products=products))
    assert vex.covered(statement, SUBJECT) == images


def test_releases_of_one_image_are_told_apart() -> None:
    subject = replace(SUBJECT, images={"nova-api:31.0.0-r3": "31.0.0-r3", "nova-api:31.0.0-r2": "31.0.0-r2"})
    for purl, images in (
        ("pkg:oci/nova-api", set(subject.images)),
        ("pkg:oci/nova-api?tag=31.0.0-r2", {"nova-api:31.0.0-r2"}),
        ("pkg:oci/keystone", set()),
    ):
        (statement,) = read(row(products=[{"@id": purl}]))
        assert vex.covered(statement, subject) == images


def said(
    status: str = "not_affected", *, name: str = "CVE-2026-1", until: str = "", own: bool = False, at: str = "1"
) -> Statement:
    return Statement((name,), (), status, "", f"{status} {at}", "A", f"2026-11-0{at}T00:00:00Z", until, own)


@pytest.mark.parametrize(
    ("statements", "state", "words"),
    [
        ([], State.FIXABLE, ""),
        ([said()], State.DECIDED, "not_affected 1 (A)"),
        ([said("fixed")], State.FIXED, "fixed 1 (A)"),
        ([said("affected")], State.FIXABLE, "affected: affected 1 (A)"),
        ([said("under_investigation")], State.FIXABLE, "under investigation: under_investigation 1 (A)"),
        # The later one counts, and what was decided here before what others say.
        ([said(at="2"), said("affected", at="1")], State.DECIDED, "not_affected 2 (A)"),
        ([said(at="1"), said("affected", at="2")], State.FIXABLE, "affected: affected 2 (A)"),
        ([said(at="1", own=True), said("affected", at="2")], State.DECIDED, "not_affected 1 (A)"),
        ([said(until="2026-11-26")], State.DECIDED, "not_affected 1 (A, until 2026-11-26)"),
        ([said(until="2026-11-25")], State.FIXABLE, "what was decided is over: not_affected 1 (A, until 2026-11-25)"),
        ([said(until="2026-11-25", own=True), said("fixed")], State.FIXED, "fixed 1 (A)"),
    ],
)
def test_what_counts(statements: list[Statement], state: State, words: str) -> None:
    assert vex.verdict(FLAW, State.FIXABLE, statements, "2026-11-26") == (state, words)


def test_an_announcement_is_decided_by_its_name_or_by_all_that_it_speaks_of() -> None:
    first, second = said(), said(name="CVE-2026-2")
    assert vex.verdict(GROUP, State.FIXABLE, [first], "2026-11-26")[0] == State.FIXABLE
    assert vex.verdict(GROUP, State.FIXABLE, [first, second], "2026-11-26")[0] == State.DECIDED
    assert vex.verdict(GROUP, State.FIXABLE, [said(name="DSA-9-1")], "2026-11-26")[0] == State.DECIDED
    # Another name of one flaw is as good as its own.
    other = Advisory("GHSA-1", "flask", "PyPI", "0", "", aliases=("CVE-2026-1", "PYSEC-1"))
    assert vex.verdict(other, State.WAITING, [first], "2026-11-26")[0] == State.DECIDED


def test_what_is_written_reads_back_and_keeps_what_others_wrote() -> None:
    made = Statement(
        ("CVE-2026-2",), (Product(("pkg:oci/nova-api",), ("pkg:deb/debian/openssl?arch=source",)),), "not_affected",
        "component_not_present", "it is not there", "A <a@b>", "2026-11-26T00:00:00Z", "2026-12-31",
    )  # fmt: skip
    first = vex.edited(None, lambda _: True, (made,), "A <a@b>", "2026-11-26T00:00:00Z")
    assert vex.parse("own", json.loads(first)) == ((made,), ())
    kept = row(supplier="by hand")
    more = json.loads(first)
    more["statements"].append(kept)
    second = json.loads(vex.edited(more, lambda one: one.names != made.names, (made,), "B", "2026-11-27T00:00:00Z"))
    assert second["statements"] == [kept, json.loads(first)["statements"][0]]
    assert (second["author"], second["version"], second["last_updated"]) == ("A <a@b>", 2, "2026-11-27T00:00:00Z")
    assert second["@id"] == json.loads(first)["@id"]
    # A document without statements would be none.
    assert vex.edited(json.loads(first), lambda _: False, (), "A", "2026-11-27T00:00:00Z") == ""


def test_only_keys_of_the_specification_are_written() -> None:
    made = said(until="2026-12-31")
    text = json.loads(vex.edited(None, lambda _: True, (made,), "A", "2026-11-26T00:00:00Z"))
    assert text.keys() == {"@context", "@id", "author", "timestamp", "version", "tooling", "statements"}
    allowed = {"vulnerability", "timestamp", "products", "status", "status_notes", "justification", "impact_statement"}
    assert text["statements"][0].keys() <= allowed


def of_image(*rows: Any, day: str = "2026-11-26") -> list[dict[str, Any]]:
    names = frozenset({"openssl", "libssl3t64", "app"})
    found = vex.of_image(document(*rows), "nova-api", "31.0.0-r3", "pkg:oci/nova-api@sha256%3Aab", names, day)
    if found is None:
        return []
    assert found == vex.of_image(document(*rows), "nova-api", "31.0.0-r3", "pkg:oci/nova-api@sha256%3Aab", names, day)
    said = json.loads(found)
    assert vex.is_vex(said)
    assert vex.parse("x", said)[1] == ()
    statements: list[dict[str, Any]] = said["statements"]
    return statements


@pytest.mark.parametrize(
    ("products", "within"),
    [
        ([{"@id": "pkg:deb/debian/openssl?arch=source"}], ["pkg:deb/debian/openssl?arch=source"]),
        (
            [{"@id": "pkg:deb/debian/libssl3t64"}, {"@id": "pkg:deb/debian/other"}, {"@id": "pkg:deb/debian/app"}],
            ["pkg:deb/debian/app", "pkg:deb/debian/libssl3t64"],
        ),
        ([{"@id": "pkg:oci/nova-api"}], []),
        ([{"@id": "pkg:oci/nova-api?tag=31.0.0-r3"}], []),
        (
            [{"@id": "pkg:oci/nova-api", "subcomponents": [{"@id": "pkg:deb/debian/openssl?arch=source"}]}],
            ["pkg:deb/debian/openssl?arch=source"],
        ),
    ],
)
def test_what_is_decided_is_told_of_an_image(products: list[dict[str, Any]], within: list[str]) -> None:
    (found,) = of_image(row(products=products))
    assert found["status"] == "not_affected"
    product = {"@id": "pkg:oci/nova-api@sha256%3Aab", "identifiers": {"purl": "pkg:oci/nova-api@sha256%3Aab"}}
    assert found["products"] == [product | ({"subcomponents": [{"@id": one} for one in within]} if within else {})]


@pytest.mark.parametrize(
    "products",
    [
        [{"@id": "pkg:deb/debian/other?arch=source"}],
        [{"@id": "pkg:oci/keystone"}],
        [{"@id": "pkg:oci/nova-api?tag=31.0.0-r2"}],
        [{"@id": "pkg:oci/nova-api", "subcomponents": [{"@id": "pkg:deb/debian/other"}]}],
        [{"@id": "pkg:oci/keystone", "subcomponents": [{"@id": "pkg:deb/debian/openssl?arch=source"}]}],
    ],
)
def test_what_is_decided_of_others_is_not_told_of_an_image(products: list[dict[str, Any]]) -> None:
    assert of_image(row(products=products)) == []


def test_what_is_over_is_not_told_of_an_image() -> None:
    told = row(status_notes="decided by A <a@b>; valid until 2026-12-31")
    assert len(of_image(told, day="2026-12-31")) == 1
    assert of_image(told, day="2027-01-01") == []
