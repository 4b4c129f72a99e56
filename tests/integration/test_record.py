"""The record as an index of what is in git and in layouts: lost, it is made anew, and says the same."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest

from builder.tools import process
from tests.integration.test_security import tracker
from tests.kit.distribution import Site
from tests.kit.project import environment

pytestmark = [pytest.mark.integration, pytest.mark.sampled(7)]


def git(folder: Path, *words: str) -> str:
    who = ("-c", "user.name=T", "-c", "user.email=t@localhost")
    return process.run(["git", "-C", folder, *who, *words]).text.strip()


def commit(site: Site, day: int) -> None:
    git(site.folder, "add", "-A")
    when = f"2026-01-{day:02}T00:00:00Z"
    process.run(
        ["git", "-C", site.folder, "-c", "user.name=T", "-c", "user.email=t@localhost", "commit", "-qm", "x"],
        env={"GIT_COMMITTER_DATE": when, "GIT_AUTHOR_DATE": when},
    )


def release(site: Site, version: str) -> None:
    """A further release of ``app``."""
    site.repo.add("app", files={"usr/bin/app": f"#!/bin/sh\nexec sleep {version}\n"}, version=version)
    site.repo.publish()
    site.works("lock", "app", "--update")
    site.build()


@pytest.fixture
def story(site: Site, database: str) -> Site:
    """Three releases, each built and then committed."""
    site.env["IMGBUILD_RECORD"] = database
    site.write({".gitignore": "out\n"})
    git(site.folder, "init", "-q", "-b", "main")
    site.build()
    commit(site, 1)
    for day, version in ((2, "2"), (3, "3")):
        release(site, version)
        commit(site, day)
    return site


def answers(site: Site) -> list[Any]:
    """What the record says."""
    asked = (("find", "app", "--releases", "all"), ("find", "app"), ("record",))
    return [site.works(*words, "--json").json for words in asked]


def lose(site: Site) -> None:
    """Nothing is left of the record."""
    place = site.env["IMGBUILD_RECORD"]
    if "://" not in place:
        Path(place).unlink()
        return
    with psycopg.connect(place, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")


def bare(told: list[Any]) -> list[Any]:
    """Without what only images say."""
    *found, record = told
    return [{"found": [{**x, "digest": None, "layer": None} for x in one["found"]]} for one in found] + [
        {**record, "built": 0}
    ]


def test_a_record_that_is_lost_is_made_anew(story: Site) -> None:
    before = answers(story)
    every, now, record = before
    assert [(one["version"], one["released"]) for one in every["found"]] == [
        ("1", "2026-01-01T00:00:00Z"), ("2", "2026-01-02T00:00:00Z"), ("3", "2026-01-03T00:00:00Z"),
    ]  # fmt: skip
    newest = every["found"][-1]["image"]
    assert [one["superseded_by"] for one in every["found"]] == [newest, newest, None]
    assert [one["digest"] for one in now["found"]] == [story.image().digest]
    assert now["found"][0]["layer"] in {layer.digest for layer in story.image().layers}
    assert (record["releases"], record["built"], record["since"]) == (3, 3, "2026-01-01T00:00:00Z")
    assert "secret" not in record["place"]

    lose(story)
    assert story.works("record", "rebuild", "--json").json == record
    assert answers(story) == before

    # Without images, it is what the locks in git say.
    lose(story)
    (story.folder / "out").rename(story.folder.parent / "elsewhere")
    assert answers(story) == bare(before)
    place = f"oci:{story.folder.parent / 'elsewhere'}"
    assert story.works("record", "rebuild", place, "--json").json == record


def test_layouts_and_the_record_say_the_same(story: Site) -> None:
    keys = ("version", "digest", "layer", "definition", "package", "source_version", "why")
    for wish in ("app", "tiny", "app (>> 1)", "debconf"):
        recorded, laid = (
            story.works("find", wish, *place, "--releases", "all", "--json").json["found"]
            for place in ((), ("oci:out",))
        )
        assert [{key: one[key] for key in keys} for one in recorded] == [{key: x[key] for key in keys} for x in laid]
        tags = [
            {key: (one[key] or "").rpartition(":")[2] for key in ("image", "since", "superseded_by")}
            for one in recorded
        ]
        assert tags == [
            {key: (x[key] or "").rpartition(":")[2] for key in ("image", "since", "superseded_by")} for x in laid
        ]


def test_it_follows_git(story: Site) -> None:
    before = answers(story)
    # Somebody else merges a release that nobody has built here.
    git(story.folder, "checkout", "-qb", "fix")
    story.repo.add("app", files={"usr/bin/app": "#!/bin/sh\n"}, version="4")
    story.repo.publish()
    story.works("lock", "app", "--update")
    commit(story, 5)
    git(story.folder, "checkout", "-q", "main")
    assert answers(story) == before
    git(story.folder, "merge", "-q", "--no-ff", "-m", "m", "fix")
    (now,) = story.works("find", "app", "--json").json["found"]
    assert (now["version"], now["digest"], now["layer"]) == ("4", None, None)
    assert now["released"] > "2026-01-05", "it is released by the merge"
    # A commit that cannot be read is told, and does not matter otherwise.
    lock = story.folder / "repos/app/lock.yaml"
    good = lock.read_text()
    lock.write_text(good + "<<<<<<< ours\n")
    commit(story, 6)
    lock.write_text(good)
    commit(story, 7)
    found = story.works("find", "app", "--json")
    assert (found.json["found"], "left out of the record" in found.errors) == ([now], True), found.errors


def test_without_git_it_is_what_lies_there(story: Site) -> None:
    shutil.rmtree(story.folder / ".git")
    shutil.rmtree(story.folder / "out")
    lose(story)
    assert story.works("record", "rebuild", "--json").json["releases"] == 1
    (found,) = story.works("find", "app", "--json").json["found"]
    assert (found["version"], found["released"], found["digest"]) == ("3", None, None)


def test_a_shallow_clone_has_its_last_release(story: Site) -> None:
    clone = story.folder.parent / "clone"
    git(story.folder.parent, "clone", "-q", "--depth=1", f"file://{story.folder}", str(clone))
    lose(story)
    assert story.run("record", "rebuild", "--json", cwd=clone).json["releases"] == 1
    assert [one["version"] for one in story.run("find", "app", "--json", cwd=clone).json["found"]] == ["3"]


@pytest.mark.parametrize("word", ["build", "status"])
def test_nothing_fails_for_a_record_that_cannot_be_had(word: str, site: Site) -> None:
    site.env["IMGBUILD_RECORD"] = "postgresql://nobody@127.0.0.1:1/x"
    (site.folder / "tracker.json").write_text(tracker())
    site.edit("imgbuild.yaml", "workspace: site\n", "workspace: site\nfeeds: [tracker.json]\n")
    site.repo.add("app", version="2", files={"usr/bin/app": "#!/bin/sh\n"})
    site.repo.publish()
    site.works("lock", "app", "--update")
    words = ("build", "app") if word == "build" else ("security", "status")
    found = site.works(*words)
    assert "the record" in found.errors
    asked = site.run("find", "app")
    assert (asked.code, "127.0.0.1" in asked.errors) == (1, True), asked.errors


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("postgresql://me:word@db.example/x", "has a password in it"),
        ("mysql://me@db.example/x", "cannot be at an address of 'mysql'"),
    ],
)
def test_a_place_that_cannot_be_is_told(said: str, message: str, site: Site) -> None:
    site.edit("imgbuild.yaml", "workspace: site\n", f"workspace: site\nrecord: {said}\n")
    found = site.run("record")
    assert (found.code, message in found.errors) == (2, True), found.errors


def test_a_password_comes_from_the_netrc(site: Site, postgresql: Any) -> None:
    address = postgresql.database()
    site.edit("imgbuild.yaml", "workspace: site\n", f"workspace: site\nnetrc: secrets\nrecord: {address}\n")
    site.write({"secrets": f"machine postgresql://127.0.0.1 login nobody password {postgresql.password}\n"})
    found = site.works("record", "--json").json
    assert (found["place"], found["releases"]) == (address, 0)
    site.write({"secrets": "machine postgresql://127.0.0.1 login nobody password wrong\n"})
    assert "password authentication failed" in site.run("record").errors


def test_a_build_of_nothing_new_does_without_it(site: Site) -> None:
    site.build()
    words = [sys.executable, "-X", "importtime", "-m", "builder.cli.main", "build", "app"]
    env = environment(site.cache, site.env)
    found = subprocess.run(words, cwd=site.folder, env=env, capture_output=True, text=True, check=True)
    assert "builder.pipeline.building" in found.stderr
    assert "sqlalchemy" not in found.stderr


def test_since_when_an_advisory_is_known(site: Site, database: str) -> None:
    site.env["IMGBUILD_RECORD"] = database
    site.edit("imgbuild.yaml", "workspace: site\n", "workspace: site\nfeeds: [tracker.json]\n")

    def status(day: str) -> dict[str, str]:
        found = site.run("security", "status", "--json", under=("faketime", "-f", f"@{day} 12:00:00"))
        return {one["advisory"]: one["since"][:10] for one in found.json["open"]}

    told = {"status": "open", "repositories": {}, "urgency": "high"}
    flaws = {"CVE-2026-1": {"releases": {"stable": told}}}
    file = site.folder / "tracker.json"
    file.write_text(json.dumps({"app": flaws}))
    assert status("2026-03-01") == {"CVE-2026-1": "2026-03-01"}
    file.write_text(json.dumps({"app": {**flaws, "CVE-2026-2": {"releases": {"stable": told}}}, "x": flaws}))
    assert status("2026-03-05") == {"CVE-2026-1": "2026-03-01", "CVE-2026-2": "2026-03-05"}
    # What changes keeps its time; what a feed has dated itself is as old as it says.
    flaws["CVE-2026-1"]["releases"]["stable"] = {**told, "urgency": "low"}
    file.write_text(json.dumps({"app": flaws}))
    assert status("2026-03-07") == {"CVE-2026-1": "2026-03-01"}
    shown = site.run("security", "status", under=("faketime", "-f", "@2026-03-08 12:00:01")).output
    assert "2026-03-01 (7 days)" in shown
