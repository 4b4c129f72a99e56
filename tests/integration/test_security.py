"""``imgbuild security``: what is open by the locks, by whichever feed, and what nobody speaks of."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.kit.distribution import Site
from tests.kit.http_server import HttpServer

pytestmark = [pytest.mark.integration, pytest.mark.sampled(6)]


def tracker(fixed: str = "2", status: str = "resolved", **more: Any) -> str:
    told = {"status": status, "repositories": {}, "fixed_version": fixed, "urgency": "high", **more}
    return json.dumps({"lib": {"CVE-2026-1": {"description": "a flaw", "releases": {"stable": told}}}})


@pytest.fixture
def with_library(site: Site) -> Site:
    """app with a library, both of the distribution's."""
    site.repo.add("lib", "1", files={"usr/lib/lib.so": "lib 1\n"})
    site.repo.add("app", "2", depends="lib", files={"usr/bin/app": "#!/bin/sh\n"})
    site.repo.publish()
    site.works("lock", "app", "--update")
    (site.folder / "tracker.json").write_text(tracker())
    return site


def test_what_is_open(with_library: Site) -> None:
    site = with_library
    found = site.run("security", "status", "--feed", "tracker.json", "--json")
    assert found.code == 3
    (one,) = found.json["open"]
    assert {key: one[key] for key in ("advisory", "state", "source", "version", "fixed", "definition", "images", "why")} == {
        "advisory": "CVE-2026-1", "state": "affected, fix available", "source": "lib", "version": "1", "fixed": "2",
        "definition": "app", "images": ["app"], "why": "app",
    }  # fmt: skip
    assert one["layer"].startswith("bin-")
    told = site.run("security", "status", "app", "--feed", "tracker.json", "--severity", "critical")
    assert (told.code, "0 open" in told.output) == (0, True)
    explained = site.run("security", "explain", "lib", "--feed", "tracker.json")
    assert (explained.code, "CVE-2026-1: affected, fix available: lib 1" in explained.output) == (3, True)
    # The fix comes, and is locked.
    site.repo.add("lib", "2", files={"usr/lib/lib.so": "lib 2\n"})
    site.repo.publish()
    site.works("lock", "app", "--update")
    assert "0 open" in site.works("security", "status", "--feed", "tracker.json").output
    assert site.works("security", "explain", "CVE-2026-1", "--feed", "tracker.json").output.count("fixed: lib 2") == 1


def test_what_cannot_be_read_is_not_passed_over(with_library: Site) -> None:
    with_library.write({"repos/other/component.yaml": "dsl: 1\ncomponent: other\n"})
    found = with_library.run("security", "status", "--feed", "tracker.json")
    assert (found.code, "repos/other/component.yaml is broken" in found.errors) == (3, True), found.errors


def test_what_waits_is_no_fix(with_library: Site) -> None:
    (with_library.folder / "tracker.json").write_text(
        tracker("", "open", nodsa="Minor issue", nodsa_reason="postponed")
    )
    found = with_library.run("security", "status", "--feed", "tracker.json")
    assert (found.code, "none yet (postponed: Minor issue)" in found.output) == (3, True), found.output
    assert with_library.run("security", "status", "--feed", "tracker.json", "--fixable").code == 0


def test_what_comes_from_elsewhere_is_unknown(with_library: Site) -> None:
    site = with_library
    site.edit("layers/tiny/layer.yaml", "http://deb.debian.org/tiny", "http://packages.acme.example/tiny")
    site.env["IMGBUILD_MIRROR"] = ""
    found = site.run("security", "status", "--feed", "tracker.json", "--json")
    assert (found.code, found.json["open"]) == (0, [])
    assert {(one["definition"], one["origin"]) for one in found.json["unknown"]} == {
        ("tiny", "tiny stable"),
        ("app", "tiny stable"),
    }


def test_a_feed_is_kept_and_asked_for_by_its_tag(with_library: Site) -> None:
    site = with_library
    served = site.folder / "served"
    served.mkdir()
    (served / "json").write_text(tracker())
    with HttpServer(served) as server:
        site.edit("imgbuild.yaml", "workspace: site\n", f"workspace: site\nfeeds: ['{server.uri}/json', gone.json]\n")
        first = site.run("security", "status")
        assert (first.code, "gone.json" in first.errors) == (3, True), first.errors
        assert site.run("security", "status").code == 3
        assert (len(server.requests), server.unchanged) == (2, 1)
        (served / "json").write_text(tracker("3"))
        assert " 3 " in site.run("security", "status").output
    # Nobody answers any more: what is kept is used, and that is told.
    later = site.run("security", "status")
    assert (later.code, "what was fetched before is used" in later.errors) == (3, True), later.errors
    offline = site.run("security", "status", "--offline")
    assert (offline.code, "what was fetched before" in offline.errors) == (3, False)
    never = site.run("security", "status", "--feed", f"{server.uri}/other", "--offline")
    assert (never.code, "never fetched" in never.errors) == (0, True)


def test_broken_records_are_counted(with_library: Site) -> None:
    whole = json.loads(tracker())
    (with_library.folder / "tracker.json").write_text(json.dumps({**whole, "x": [], "y": {"CVE-1": 7}}))
    found = with_library.run("security", "status", "--feed", "tracker.json")
    assert (found.code, "2 records cannot be read" in found.errors) == (3, True), found.errors
    (with_library.folder / "tracker.json").write_text("<html>")
    found = with_library.run("security", "status", "--feed", "tracker.json")
    assert (found.code, "no feed of advisories" in found.errors, "0 open" in found.output) == (0, True, True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["status", "ap"], "there is no component or image 'ap'"),
        (["explain", "CVE-1999-1"], "no feed speaks of CVE-1999-1"),
        (["status", "--severity", "grave"], "'grave' is not one of"),
    ],
)
def test_wrong_input_is_told(words: list[str], message: str, with_library: Site) -> None:
    found = with_library.run("security", *words, "--feed", "tracker.json")
    assert (found.code, message in found.errors) == (2, True), found.errors
