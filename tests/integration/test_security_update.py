"""``imgbuild security update``: exactly what has a fix moves, everything else is what it was, byte for byte."""

from __future__ import annotations

import json
from typing import Any

import pytest

from builder.formats import lockfile
from tests.kit import distribution
from tests.kit.distribution import Site
from tests.kit.project import project

pytestmark = [pytest.mark.integration, pytest.mark.sampled(5)]

MIDDLE = """\
dsl: 1
layer: middle
version: 1.0.0
summary: what applications share
extends: tiny ^1.0
packages: {apt: [lib, other]}
"""
SECOND = distribution.SECOND.replace('version: "1.2.3"', "version: {from: apt/app}")


def tracker(*flaws: tuple[str, str, str]) -> str:
    """A feed of (source, CVE, fixed in)."""
    found: dict[str, Any] = {}
    for source, cve, fixed in flaws:
        told: dict[str, Any] = {
            "status": "resolved" if fixed else "open",
            "repositories": {},
            "fixed_version": fixed,
            "urgency": "high",
        }
        found.setdefault(source, {})[cve] = {"description": "a flaw", "releases": {"stable": told}}
    return json.dumps(found)


@pytest.fixture
def day0(site: Site) -> Site:
    """app on a layer with a library, and another image that has nothing to do with it; built, all of a day's versions."""
    site.repo.add("lib", "1", files={"usr/lib/lib.so": "lib 1\n" * 50})
    site.repo.add("other", "1", files={"usr/share/other": "other 1\n"})
    site.repo.publish()
    project(site.folder, {"layers/middle/layer.yaml": MIDDLE, "repos/second/component.yaml": SECOND})
    site.edit("repos/app/component.yaml", "tiny ^1.0", "middle ^1.0")
    site.edit("imgbuild.yaml", "workspace: site\n", "workspace: site\nfeeds: [tracker.json]\n")
    (site.folder / "tracker.json").write_text(tracker())
    site.works("build", "--all")
    # The day after: a fix, and something newer that is none.
    site.repo.add("lib", "1.1", files={"usr/lib/lib.so": "lib 1.1\n" * 50})
    site.repo.add("other", "2", files={"usr/share/other": "other 2\n"})
    site.repo.publish()
    (site.folder / "tracker.json").write_text(tracker(("lib", "CVE-2026-1", "1.1")))
    return site


def layers(site: Site, image: str) -> list[tuple[str, str]]:
    """Kind and digest of each layer."""
    found = site.works("inspect", f"oci:out:{image}", "--json").json["layers"]
    return [(layer["kind"], layer["digest"]) for layer in found]


def test_a_fix_replaces_one_layer_and_the_records(day0: Site) -> None:
    site = day0
    before = {name: layers(site, name) for name in ("app", "second")}
    assert site.run("security", "status", "--json").json["open"][0]["images"] == ["app"]
    tried = site.works("security", "update", "--dry-run", "--json").json
    assert [(row["package"], row["old"], row["new"]) for row in tried["moved"]] == [("lib", "1", "1.1")]
    assert lockfile.read(site.folder / "layers/middle/lock.yaml").locks[0].packages[0].version == "1"

    done = site.works("security", "update", "--report", "report.md", "--json").json
    assert [row["advisory"] for row in done["closed"]] == ["CVE-2026-1"]
    assert [(row["definition"], row["package"], row["new"]) for row in done["moved"]] == [("middle", "lib", "1.1")]
    (image,) = done["images"]
    assert (image["image"], image["before"], image["after"]) == ("app/app", "1-r2", "1-r3")
    # A state is made anew for its packages, and is what it was.
    assert [layer["layer"].partition(" ")[0] for layer in image["layers"]] == ["package", "records"]
    after = layers(site, "app")
    new = [kind for kind, digest in after if (kind, digest) not in before["app"]]
    assert sorted(new) == ["package", "records"]
    assert len(after) == len(before["app"])
    assert layers(site, "second") == before["second"]
    report = (site.folder / "report.md").read_text()
    assert "| CVE-2026-1 | high | lib | 1 | 1.1 |" in report
    assert "app/app" in report
    # What was newer and is no fix has stayed; the why of a package stays, too.
    locked = {
        p.name: (p.version, p.why) for p in lockfile.read(site.folder / "layers/middle/lock.yaml").locks[0].packages
    }
    assert locked == {"lib": ("1.1", "asked for"), "other": ("1", "asked for")}

    assert site.run("security", "status").code == 0
    again = site.works("security", "update", "--json").json
    assert (again["sources"], again["moved"], again["images"]) == ([], [], [])
    assert site.works("lock", "--all", "--check").code == 0


def test_what_is_new_is_told_by_a_lock_that_was_written_meanwhile(day0: Site) -> None:
    """As where a source is added before its fixes are taken over: nothing moves, and the lock is another text."""
    site = day0
    more = "  more: {apt: http://deb.debian.org/tiny, suites: [security], keyring: key.gpg}\n"
    site.edit("layers/tiny/layer.yaml", "sources:\n", f"sources:\n{more}")
    site.works("lock", "--all")
    (image,) = site.works("security", "update", "--json").json["images"]
    assert [layer["layer"].partition(" ")[0] for layer in image["layers"]] == ["package", "records"]


def test_one_fix_of_several(day0: Site) -> None:
    site = day0
    (site.folder / "tracker.json").write_text(tracker(("lib", "CVE-2026-1", "1.1"), ("other", "CVE-2026-2", "2")))
    done = site.works("security", "update", "--only", "CVE-2026-2", "--json").json
    assert [(row["package"], row["new"]) for row in done["moved"]] == [("other", "2")]
    left = site.run("security", "status", "--json")
    assert (left.code, [one["source"] for one in left.json["open"]]) == (3, ["lib"])
    done = site.works("security", "update", "app", "--only", "lib", "--json").json
    assert [(row["package"], row["new"]) for row in done["moved"]] == [("lib", "1.1")]


def test_a_state_that_a_fix_changes_is_told_by_its_files(day0: Site) -> None:
    site = day0
    script = "#!/bin/sh\necho 1.2 > /etc/lib.conf\n"
    site.repo.add("lib", "1.2", files={"usr/lib/lib.so": "lib 1.2\n"}, postinst=script)
    site.repo.publish()
    (image,) = site.works("security", "update", "--report", "report.md", "--json").json["images"]
    changed = {layer["layer"]: layer["files"] for layer in image["layers"]}
    assert changed.keys() == {"package bin-00 of middle", "state of middle", "records of app"}
    assert changed["state of middle"] == ["/etc/lib.conf"]
    assert "- state of middle is another in /etc/lib.conf\n" in (site.folder / "report.md").read_text()


def test_what_a_fix_needs_comes_along(day0: Site) -> None:
    site = day0
    site.repo.add("lib", "1.2", depends="helper (>= 3), other (>= 2)", files={"usr/lib/lib.so": "lib 1.2\n"})
    site.repo.add("helper", "3", files={"usr/lib/helper": "3\n"})
    site.repo.publish()
    done = site.works("security", "update", "--json").json
    assert {(row["package"], row["new"]) for row in done["moved"]} == {("lib", "1.2"), ("other", "2")}
    assert [(row["package"], row["version"]) for row in done["added"]] == [("helper", "3")]


def test_a_fix_that_cannot_be_had_keeps_no_other(day0: Site) -> None:
    site = day0
    site.repo.add("lib", "1.2", depends="nowhere", files={"usr/lib/lib.so": "lib 1.2\n"})
    site.repo.publish()
    (site.folder / "tracker.json").write_text(tracker(("lib", "CVE-2026-1", "1.2"), ("other", "CVE-2026-2", "2")))
    result = site.run("security", "update", "--json")
    assert result.code == 1
    assert [(row["package"], row["new"]) for row in result.json["moved"]] == [("other", "2")]
    assert list(result.json["failed"]) == ["lib"]
    assert "nowhere" in result.json["failed"]["lib"]


def test_a_security_suite_is_a_feed_of_its_own(day0: Site) -> None:
    site = day0
    (site.folder / "tracker.json").write_text(tracker())
    assert site.works("security", "update", "--json").json["sources"] == []
    site.repo.add("other", "1.5", suite="security", files={"usr/share/other": "other 1.5\n"})
    site.repo.publish()
    before = site.works("security", "update", "--dry-run", "--json").json
    # apt takes the newest of all suites, so the newer one of the main suite counts, and that is no fix.
    assert before["sources"] == []
    site.repo.vanish("other", "2")
    site.repo.publish()
    done = site.works("security", "update", "--json").json
    assert [(row["package"], row["new"]) for row in done["moved"]] == [("other", "1.5")]


@pytest.mark.parametrize("word", ["nothing", "CVE-1999-1"])
def test_what_touches_nothing_is_told(word: str, day0: Site) -> None:
    result = day0.run("security", "update", "--only", word)
    assert (result.code, f"{word} touches nothing here" in result.errors) == (2, True), result.errors
