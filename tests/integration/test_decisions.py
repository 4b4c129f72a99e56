"""What people decide: flaws that do not matter here, packages that are held, releases that are withdrawn."""

from __future__ import annotations

import json
import os
import shutil
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from builder.formats import lockfile
from builder.model.lock import LockedPackage
from builder.tools import files
from builder.tools.process import run
from tests.integration.test_security_update import MIDDLE, SECOND, layers, tracker
from tests.kit.distribution import Site
from tests.kit.project import Run, project, running

pytestmark = [pytest.mark.integration, pytest.mark.sampled(6)]

LATER = ("faketime", "+60 days")
DAY = (datetime.now(UTC) + timedelta(days=30)).strftime("%Y-%m-%d")
WHY = ("--because", "it is never loaded", "--until", DAY)


@pytest.fixture
def day1(site: Site) -> Site:
    """app on a layer with a library that has a fix, built; another image there, and one that has nothing to do with it."""
    site.repo.add("lib", "1", files={"usr/lib/lib.so": "lib 1\n" * 50})
    site.repo.add("other", "1", files={"usr/share/other": "other 1\n"})
    site.repo.publish()
    more = "  twin:\n    summary: it stands beside\n    extends: middle ^1.0\n    run: {command: [app], user: app}\n    users: {app: {uid: 8000}}\n"
    project(site.folder, {"layers/middle/layer.yaml": MIDDLE, "repos/second/component.yaml": SECOND})
    site.edit("repos/app/component.yaml", "tiny ^1.0", "middle ^1.0")
    site.edit(
        "repos/app/component.yaml",
        "    run: {command: [app], user: app}\n",
        f"    run: {{command: [app], user: app}}\n{more}",
    )
    site.edit("repos/app/component.yaml", "version: {from: apt/app}", 'version: "1"')
    site.edit("imgbuild.yaml", "workspace: site\n", "workspace: site\nfeeds: [tracker.json]\n")
    site.write({".gitignore": "out*\n"})
    fix(site)
    git(site, "init", "--quiet")
    git(site, "config", "user.name", "Ada")
    git(site, "config", "user.email", "ada@localhost")
    site.works("build", "--all")
    commit(site)
    site.repo.add("lib", "1.1", files={"usr/lib/lib.so": "lib 1.1\n" * 50})
    site.repo.add("other", "2", files={"usr/share/other": "other 2\n"})
    site.repo.publish()
    fix(site, ("lib", "CVE-2026-1", "1.1"))
    return site


def git(site: Site, *words: str) -> str:
    return run(["git", "-C", site.folder, *words]).text


def commit(site: Site) -> None:
    git(site, "add", ".")
    git(site, "commit", "--quiet", "--message", "as it is")


def fix(site: Site, *flaws: tuple[str, str, str]) -> None:
    (site.folder / "tracker.json").write_text(tracker(*flaws))


def status(site: Site, *words: str, under: tuple[str, ...] = ()) -> Run:
    return site.run("security", "status", *words, "--json", under=under)


def locked(site: Site, name: str = "layers/middle") -> dict[str, str]:
    return {p.name: p.version for lock in lockfile.read(site.folder / name / "lock.yaml").locks for p in lock.packages}


def locks(site: Site) -> dict[str, str]:
    return {str(path.relative_to(site.folder)): path.read_text() for path in site.folder.glob("*/*/lock.yaml")}


def revision(site: Site, image: str = "app") -> str:
    found = lockfile.read(site.folder / "repos" / ("app" if image == "twin" else image) / "lock.yaml").revisions
    return next(f"{one.version}-r{one.revision}" for one in found if one.image == image)


# A flaw that does not matter here


def test_a_flaw_is_ignored_for_a_time(day1: Site) -> None:
    site = day1
    told = site.works("security", "ignore", "CVE-2026-1", *WHY).output
    assert told == "CVE-2026-1: not affected, because in lib of app, twin\n"
    found = status(site)
    assert (found.code, found.json["open"]) == (0, [])
    (one,) = found.json["decided"]
    assert (one["state"], one["decision"]) == (
        "not affected, because", f"it is never loaded (Ada <ada@localhost>, until {DAY})",
    )  # fmt: skip
    assert "0 open, 0 of them with a fix; 1 not affected by decision" in site.works("security", "status").output
    # Nothing is to be mended, then.
    assert site.works("security", "update", "--dry-run", "--json").json["sources"] == []
    (statement,) = json.loads((site.folder / "security/vex.openvex.json").read_text())["statements"]
    assert (statement["status"], statement["impact_statement"]) == ("not_affected", "it is never loaded")
    assert [one["@id"] for one in statement["products"]] == ["pkg:deb/debian/lib", "pkg:deb/debian/lib?arch=source"]
    assert statement["status_notes"] == f"decided by Ada <ada@localhost>; valid until {DAY}"

    over = status(site, under=LATER)
    assert (over.code, over.json["decided"]) == (3, [])
    assert over.json["open"][0]["decision"].startswith("what was decided is over: it is never loaded (Ada")
    assert "what was decided is over" in site.run("security", "status", under=LATER).output
    explained = site.run("security", "explain", "CVE-2026-1")
    assert (explained.code, "it is never loaded (Ada" in explained.output) == (0, True)

    site.works("security", "ignore", "CVE-2026-1", "--undo")
    assert status(site).code == 3
    assert not (site.folder / "security/vex.openvex.json").exists()


def test_a_flaw_is_ignored_in_one_image(day1: Site) -> None:
    site = day1
    site.works("security", "ignore", "CVE-2026-1", "twin", "--package", "lib", *WHY)
    found = status(site).json
    assert [one["images"] for one in found["open"]] == [["app"]]
    assert [one["images"] for one in found["decided"]] == [["twin"]]
    (statement,) = json.loads((site.folder / "security/vex.openvex.json").read_text())["statements"]
    assert [one["@id"] for one in statement["products"]] == ["pkg:oci/twin"]
    # The same again takes its place; another image's stands beside it, and is taken back alone.
    site.works("security", "ignore", "CVE-2026-1", "twin", "--because", "it is not there", "--until", DAY)
    site.works("security", "ignore", "CVE-2026-1", "app/app", *WHY)
    document = json.loads((site.folder / "security/vex.openvex.json").read_text())
    assert [one["impact_statement"] for one in document["statements"]] == ["it is never loaded", "it is not there"]
    assert document["version"] == 3
    site.works("security", "ignore", "CVE-2026-1", "twin", "--undo")
    assert [one["images"] for one in status(site).json["decided"]] == [["app"]]


def test_what_cannot_be_decided(day1: Site) -> None:
    cases: tuple[tuple[tuple[str, ...], str], ...] = (
        (("CVE-1999-1", *WHY), "CVE-1999-1 touches nothing here that is open"),
        (("CVE-2026-1", "second", *WHY), "touches nothing here that is open"),
        (("CVE-2026-1", "--package", "other", *WHY), "touches nothing here that is open"),
        (("CVE-2026-1", "--because", "x"), "--until DAY"),
        (("CVE-2026-1", "--because", "x", "--until", "2020-01-01"), "this day is over"),
        (("CVE-2026-1", "--because", "x", "--until", "soon"), "this is no day"),
        (("CVE-2026-1", "--because", " ", "--until", DAY), "--because says nothing"),
        (("CVE-2026-1", "--undo"), "nothing was decided about CVE-2026-1"),
    )
    for words, said in cases:
        result = day1.run("security", "ignore", *words)
        assert (result.code, said in result.errors) == (2, True), result.errors
    assert not (day1.folder / "security").exists()
    # Somebody has to decide.
    git(day1, "config", "--unset", "user.email")
    nowhere = {"HOME": "/nonexistent", "XDG_CONFIG_HOME": "/nonexistent"}
    result = day1.run("security", "ignore", "CVE-2026-1", *WHY, env=nowhere)
    assert (result.code, "nobody is known who could decide this" in result.errors) == (2, True), result.errors


def test_a_damaged_decision_is_told_and_not_lost(day1: Site) -> None:
    day1.works("security", "ignore", "CVE-2026-1", *WHY)
    path = day1.folder / "security/vex.openvex.json"
    path.write_text(path.read_text().replace('"not_affected"', '"no_matter"'))
    result = day1.run("security", "status")
    assert (result.code, "its status is 'no_matter'" in result.errors) == (2, True), result.errors
    path.write_text("<<<<<<< HEAD\n")
    assert "security/vex.openvex.json:1:1: error: this is not JSON" in day1.run("security", "status").errors
    checked = day1.run("check")
    assert (checked.code, "security/vex.openvex.json:1:1: error: this is not JSON" in checked.errors) == (2, True)


def test_what_a_vendor_says_is_read(day1: Site) -> None:
    site = day1
    said: dict[str, Any] = {
        "vulnerability": {"name": "CVE-2026-1"}, "products": [{"@id": "pkg:deb/debian/lib@1"}], "status": "not_affected",
        "justification": "vulnerable_code_not_present",
    }  # fmt: skip
    document = {
        "@context": "https://openvex.dev/ns/v0.2.0", "@id": "urn:x", "author": "A vendor", "version": 1,
        "timestamp": "2026-11-01T12:00:00Z", "statements": [{**said, "status": "fine"}, said],
    }  # fmt: skip
    (site.folder / "vendor.json").write_text(json.dumps(document))
    site.edit("imgbuild.yaml", "feeds: [tracker.json]\n", "feeds: [tracker.json]\nvex: [vendor.json, gone.json]\n")
    found = status(site)
    assert (found.code, found.json["decided"][0]["decision"]) == (0, "vulnerable code not present (A vendor)")
    assert "1 records cannot be read: statement 1: its status is 'fine'" in found.errors
    assert "gone.json" in found.errors
    # Of another version it says nothing.
    document["statements"] = [{**said, "products": [{"@id": "pkg:deb/debian/lib@0.9"}]}]
    (site.folder / "vendor.json").write_text(json.dumps(document))
    assert status(site).code == 3


def test_what_is_known_of_its_use(day1: Site) -> None:
    site = day1
    (site.folder / "epss.csv").write_text("cve,epss,percentile\nCVE-2026-1,0.12345,0.9\n")
    (site.folder / "kev.json").write_text('{"vulnerabilities": [{"cveID": "CVE-2026-1", "dateAdded": "2026-11-01"}]}')
    (one,) = status(site, "--epss", "epss.csv", "--kev", "kev.json").json["open"]
    assert (one["epss"], one["kev"]) == (0.12345, "2026-11-01")
    site.edit("imgbuild.yaml", "feeds: [tracker.json]\n", "feeds: [tracker.json]\nepss: epss.csv\nkev: kev.json\n")
    told = site.run("security", "status").output
    assert ("EPSS" in told, "0.12345" in told, "2026-11-01" in told) == (True, True, True)
    assert "epss" not in status(day1, "--epss", "gone.csv", "--kev", "kev.json").json["open"][0]


# What is held


def test_what_is_held_does_not_move(day1: Site) -> None:
    site = day1
    assert site.works("security", "hold").output == "nothing is held\n"
    site.works("security", "hold", "lib", "--because", "it breaks", "--until", DAY)
    told = f"lib is held until {DAY}, because it breaks (Ada <ada@localhost>)"
    assert site.works("security", "hold").output == f"{told}\n"
    found = status(site)
    assert (found.code, found.json["open"][0]["hold"]) == (3, told)
    assert f"- {told}" in site.run("security", "status").output
    assert told in site.run("security", "explain", "lib").output
    before = locks(site)
    done = site.works("security", "update", "--json").json
    assert (done["held"], done["moved"], done["closed"], done["images"]) == ({"lib": told}, [], [], [])
    assert locks(site) == before
    # Everything to the newest: all but what is held.
    updated = site.works("lock", "--all", "--update")
    assert (locked(site), told in updated.errors) == ({"lib": "1", "other": "2"}, True), updated.errors
    site.works("build", "--all")
    over = site.run("security", "update", "--dry-run", "--json", "--offline", under=LATER)
    assert "this is over and counts no more: lib is held" in over.errors
    site.works("security", "hold", "lib", "--undo")
    assert [row["package"] for row in site.works("security", "update", "--json").json["moved"]] == ["lib"]


def test_a_version_is_held_back_from(day1: Site) -> None:
    site = day1
    site.works("security", "hold", "lib=1.1", "--because", "it breaks", "--until", DAY)
    done = site.works("security", "update", "--json").json
    assert (list(done["held"]), done["moved"], done["sources"], done["closed"]) == (["lib"], [], [], [])
    assert "lib is held back from 1.1 until" in done["held"]["lib"]
    site.works("lock", "--all", "--update")
    assert locked(site) == {"lib": "1", "other": "2"}
    site.works("build", "--all")
    # Another one is taken, if it is older than what is held back, or newer.
    for version in ("1.0.5", "1.2"):
        site.repo.add("lib", version, files={"usr/lib/lib.so": f"lib {version}\n"})
        site.repo.publish()
        done = site.works("security", "update", "--only", "lib", "--json").json
        assert [row["new"] for row in done["moved"]] == [version], done


def test_the_name_of_a_binary_package_means_its_source(day1: Site) -> None:
    site = day1
    site.repo.add("lib-data", "1", source="lib", files={"usr/share/lib": "1\n"})
    site.repo.publish()
    site.edit("layers/middle/layer.yaml", "[lib, other]", "[lib, lib-data, other]")
    site.edit("layers/middle/layer.yaml", "1.0.0", "1.0.1")
    site.works("lock", "--all")
    assert "lib is held" in site.works("security", "hold", "lib-data", "--because", "it breaks", "--until", DAY).output
    assert site.works("security", "update", "--dry-run", "--json").json["moved"] == []
    result = site.run("security", "hold", "libb", "--because", "it breaks", "--until", DAY)
    assert (result.code, "did you mean 'lib'" in result.errors) == (2, True), result.errors


def test_a_fix_that_needs_what_is_held_keeps_no_other(day1: Site) -> None:
    site = day1
    site.repo.add("lib", "1.2", depends="other (>= 2)", files={"usr/lib/lib.so": "lib 1.2\n"})
    site.repo.add("app", "1.1", files={"usr/bin/app": "#!/bin/sh\nexec sleep 61\n"})
    site.repo.publish()
    fix(site, ("lib", "CVE-2026-1", "1.2"), ("app", "CVE-2026-2", "1.1"))
    site.works("security", "hold", "other", "--because", "it breaks", "--until", DAY)
    result = site.run("security", "update", "--json")
    assert (result.code, list(result.json["failed"])) == (1, ["lib"]), result.errors
    assert f"this needs other 2, but other is held until {DAY}, because it breaks" in result.json["failed"]["lib"]
    assert {(row["package"], row["new"]) for row in result.json["moved"]} == {("app", "1.1")}
    assert locked(site) == {"lib": "1", "other": "1"}
    told = site.run("lock", "--all", "--update", "--json")
    assert (told.code, told.json["error"]) == (1, "held")


def test_what_comes_along_is_held_back_as_well(day1: Site) -> None:
    site = day1
    site.repo.add("lib", "1.2", depends="helper", files={"usr/lib/lib.so": "lib 1.2\n"})
    for version in ("1", "2"):
        site.repo.add("helper", version, files={"usr/lib/helper": f"{version}\n"})
    site.repo.publish()
    # Nothing has it yet, so a person writes it.
    site.write({"security/holds.yaml": "holds:\n- {package: helper, version: '2', because: it breaks}\n"})
    site.works("security", "update")
    assert locked(site) == {"lib": "1.2", "helper": "1", "other": "1"}


# What is withdrawn


@pytest.fixture
def fixed(day1: Site) -> Site:
    """The day after: the fix is released and committed."""
    day1.works("security", "update")
    assert (revision(day1), revision(day1, "twin"), locked(day1)["lib"]) == ("1-r3", "1-r2", "1.1")
    commit(day1)
    return day1


def withdraw(site: Site, *words: str, release: str = "app:1-r3", cache: Path | None = None) -> Run:
    return site.run("withdraw", release, "--because", "it hangs", "--json", *words, cache=cache)


def test_a_bad_fix_is_withdrawn(fixed: Site) -> None:
    site = fixed
    assert "held" not in site.works("security", "status").output
    now = locks(site)
    tried = withdraw(site, "--dry-run")
    assert (tried.code, locks(site), (site.folder / "security").exists()) == (0, now, False), tried.errors
    assert [tuple(row.values()) for row in tried.json["moved"]] == [("middle", "lib", "1.1", "1")]

    done = withdraw(site)
    assert done.code == 0, done.errors
    assert (done.json["before"], done.json["moved"]) == ("app:1-r2", tried.json["moved"])
    assert locked(site) == {"lib": "1", "other": "1"}
    # Its next revision, with the layers of the one before.
    assert [revision(site, name) for name in ("app", "twin", "second")] == ["1-r4", "1-r3", "1-r1"]
    assert {(one["image"], one["after"]) for one in done.json["images"]} == {("app/app", "1-r4"), ("app/twin", "1-r3")}
    assert layers(site, "app:1-r4") == layers(site, "app:1-r2")
    assert {(x["image"], x["tag"], x["successor"], tuple(x["move"])) for x in done.json["withdrawn"]} == {
        ("app", "1-r3", "1-r4", ("1",)), ("twin", "1-r2", "1-r3", ("1",)),
    }  # fmt: skip
    assert 'successor: "1-r4"' in (site.folder / "security/withdrawn.yaml").read_text()
    assert site.works("lock", "--all", "--check").code == 0
    assert site.works("build", "--all", "--locked").code == 0

    # It is not done again: by itself, or by an update.
    now = locks(site)
    again = withdraw(site)
    assert (again.code, again.json["moved"], again.json["withdrawn"]) == (0, [], [])
    assert again.json["left"] == ["lib was 1: no lock has what took its place any more"]
    update = site.works("security", "update", "--json").json
    assert (list(update["held"]), update["moved"]) == (["lib"], [])
    assert "lib is held back from 1.1, because it hangs (withdrawn with app:1-r3) (Ada" in update["held"]["lib"]
    assert locks(site) == now
    assert status(site).json["open"][0]["hold"] == update["held"]["lib"]
    # The fix of the fix is another one.
    site.repo.add("lib", "1.2", files={"usr/lib/lib.so": "lib 1.2\n"})
    site.repo.publish()
    assert [row["new"] for row in site.works("security", "update", "--json").json["moved"]] == ["1.2"]
    assert revision(site) == "1-r5"


def test_what_was_not_committed_yet_is_withdrawn(day1: Site) -> None:
    day1.works("security", "update")
    assert withdraw(day1).json["before"] == "app:1-r2"
    assert locked(day1)["lib"] == "1"


def test_a_withdrawal_that_is_killed_is_finished_by_the_next_update(fixed: Site) -> None:
    site = fixed
    now = locks(site)
    words = ("withdraw", "app:1-r3", "--because", "it hangs")
    with running(*words, cache=site.cache, cwd=site.folder, env=site.env) as run:
        run.until(lambda: locks(site) != now)
        run.signal(signal.SIGKILL)
        run.end()
    told = site.works("security", "update", "--json").json
    assert told["begun"] == ["app/app", "app/twin"]
    assert [(row["package"], row["old"], row["new"]) for row in told["moved"]] == [("lib", "1.1", "1")]
    assert layers(site, "app:1-r4") == layers(site, "app:1-r2")
    assert list(told["held"]) == ["lib"]


def test_what_came_along_goes_and_what_was_moved_again_stays(day1: Site) -> None:
    site = day1
    site.repo.add("lib", "1.2", depends="helper, other (>= 2)", files={"usr/lib/lib.so": "lib 1.2\n"})
    site.repo.add("helper", "1", files={"usr/lib/helper": "1\n"})
    site.repo.publish()
    site.works("security", "update")
    commit(site)
    assert locked(site) == {"lib": "1.2", "other": "2", "helper": "1"}
    site.repo.add("other", "3", files={"usr/share/other": "other 3\n"})
    site.repo.publish()
    site.works("security", "update", "--only", "other")
    commit(site)
    done = withdraw(site)
    assert done.code == 0, done.errors
    assert locked(site) == {"lib": "1", "other": "3"}
    assert done.json["left"] == ["other was 1: no lock has what took its place any more"]
    assert revision(site) == "1-r5"


def test_what_else_needs_the_fix_is_told(fixed: Site) -> None:
    site = fixed
    site.repo.add("app", "1.1", depends="lib (>= 1.1)", files={"usr/bin/app": "#!/bin/sh\nexec sleep 61\n"})
    site.repo.publish()
    site.works("security", "update", "--only", "app")
    commit(site)
    now = locks(site)
    result = withdraw(site)
    assert (result.code, locks(site), (site.folder / "security").exists()) == (1, now, False)
    assert "lib" in result.json["message"]


def test_a_version_that_comes_back_gets_a_revision_of_its_own(day1: Site) -> None:
    site = day1
    site.edit("repos/app/component.yaml", 'version: "1"', "version: {from: apt/app}")
    site.edit(
        "repos/app/component.yaml",
        "extends: middle ^1.0\n    run",
        "extends: middle ^1.0\n    packages: {apt: [app]}\n    run",
    )
    site.works("build", "--all")
    commit(site)
    before = revision(site)
    site.repo.add("app", "1.5", files={"usr/bin/app": "#!/bin/sh\nexec sleep 61\n"})
    site.repo.publish()
    fix(site, ("app", "CVE-2026-2", "1.5"))
    site.works("security", "update")
    commit(site)
    assert (before, revision(site)) == ("1-r2", "1.5-r1")
    done = withdraw(site, release="app:1.5-r1")
    assert done.code == 0, done.errors
    assert revision(site) == "1-r3"
    (mine,) = [one for one in done.json["withdrawn"] if one["image"] == "app"]
    assert (mine["tag"], mine["successor"], mine["move"]) == ("1.5-r1", "1-r3", ["1"])


def _old_lib(site: Site) -> LockedPackage:
    text = git(site, "show", "HEAD~1:layers/middle/lock.yaml")
    return next(p for p in lockfile.parse(text, site.folder).locks[0].packages if p.name == "lib")


def test_an_old_package_that_no_mirror_has_any_more(fixed: Site) -> None:
    site = fixed
    old = _old_lib(site)
    kept = site.folder.parent / "kept"
    kept.mkdir()
    shutil.copy(site.repo.folder / "pool/stable/lib_1_all.deb", kept / old.sha256)
    site.repo.vanish("lib", "1")
    site.repo.publish()
    empty = site.empty_cache()
    now = locks(site)
    result = withdraw(site, cache=empty)
    assert result.code == 1
    assert result.json["message"].startswith("app:1-r3 cannot be withdrawn: lib 1 is nowhere to be had any more")
    assert "nothing was written" in result.json["hint"]
    assert (locks(site), (site.folder / "security").exists()) == (now, False)
    site.edit("imgbuild.yaml", "workspace: site\n", f"workspace: site\nstores: [{kept}]\n")
    assert withdraw(site, cache=empty).code == 0
    assert (locked(site)["lib"], layers(site, "app:1-r4")) == ("1", layers(site, "app:1-r2"))


def test_what_moved_no_package_is_told(day1: Site) -> None:
    day1.edit("repos/app/component.yaml", "it serves", "it serves well")
    day1.works("build", "app")
    assert revision(day1) == "1-r3"
    assert "It moved no package" in day1.works("withdraw", "app:1-r3", "--because", "it hangs").output


def test_what_cannot_be_withdrawn(day1: Site) -> None:
    for release, said, hint in (
        ("app:1", "app:1 names no release", "say it with its revision"),
        ("app", "names no release", "say it with its revision"),
        ("app:1-r9", "has app:1-r9", "its releases are 1-r2"),
        ("app:1-r2", "has a release before app:1-r2", "it is the first one: there is nothing that could come back"),
        ("nowhere:1-r1", "nowhere", ""),
    ):
        result = withdraw(day1, release=release)
        assert (result.code, said in result.json["message"]) == (2, True), result.output
        assert hint in result.json["hint"]


def test_what_a_history_lacks_is_told(fixed: Site) -> None:
    clone = fixed.folder.parent / "clone"
    run(["git", "clone", "--quiet", "--depth=1", f"file://{fixed.folder}", clone])
    words = ("withdraw", "app:1-r3", "--because", "it hangs", "--json")
    me = {"GIT_AUTHOR_NAME": "Ada", "GIT_AUTHOR_EMAIL": "ada@localhost"}
    for hint in ("`git fetch --unshallow`", f"{clone}/repos/app is in no git repository"):
        result = fixed.run(*words, cwd=clone, env=me)
        assert (result.code, hint in result.json["hint"]) == (2, True), result.output
        shutil.rmtree(clone / ".git", ignore_errors=True)


def test_locks_that_a_job_was_killed_over_are_finished(day1: Site) -> None:
    site = day1
    before = locks(site)
    site.works("security", "update")
    after = locks(site)
    changed = [name for name in after if after[name] != before[name]]
    assert len(changed) > 1
    for name in changed:
        (site.folder / name).write_text(before[name])
    child = os.fork()
    if child == 0:
        real, left = os.replace, [2]  # the note of what is to be done, and one of the locks

        def replace(old: str, new: str) -> None:
            if not left[0]:
                os._exit(9)
            left[0] -= 1
            real(old, new)

        os.replace = replace  # type: ignore[assignment]
        files.write_all(site.folder, {site.folder / name: after[name].encode() for name in changed})
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert locks(site) not in (before, after)
    assert site.works("lock", "--all", "--check").code == 0
    assert locks(site) == after
