"""What was published, in the record: written by ``publish``, had again from registries, and what the status says of it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from builder.model.release import Publication
from builder.record import database as database_
from builder.record import publications, releases
from tests.integration.test_record import lose
from tests.integration.test_security_update import tracker
from tests.kit.distribution import Site
from tests.kit.project import environment
from tests.kit.registry import Registry

pytestmark = [pytest.mark.integration, pytest.mark.sampled(4)]


def fix(site: Site, *flaws: tuple[str, str, str]) -> None:
    (site.folder / "tracker.json").write_text(tracker(*flaws))


@pytest.fixture
def flawed(site: Site, plain: Registry, tmp_path: Path) -> Site:
    """app with a library that has a flaw, built; the day after there is a fix, which is not built yet."""
    site.env["IMGBUILD_RECORD"] = str(tmp_path / "record.sqlite")
    settings = f"workspace: site\nfeeds: [tracker.json]\nregistry: {plain.host}/team\n"
    site.edit("imgbuild.yaml", "workspace: site\n", settings)
    site.edit("repos/app/component.yaml", "version: {from: apt/app}", 'version: "1.0"')
    site.repo.add("lib", "1", files={"usr/lib/lib.so": "lib 1\n"})
    site.repo.add("app", "2", depends="lib", files={"usr/bin/app": "#!/bin/sh\n"})
    site.repo.publish()
    site.works("lock", "app", "--update")
    site.build()
    fix(site, ("lib", "CVE-2026-1", "2"))
    site.repo.add("lib", "2", files={"usr/lib/lib.so": "lib 2\n"})
    site.repo.publish()
    return site


def status(site: Site, *words: str) -> tuple[int, Any]:
    found = site.run("security", "status", "--json", *words)
    return found.code, found.json


def newest(site: Site) -> str:
    """The newest release of the layout."""
    return str(site.works("inspect", "app", "--json").json["name"].rpartition(":")[2])


def known(site: Site) -> list[Publication]:
    """What the record has of publications."""
    with database_.opened(site.env["IMGBUILD_RECORD"]).reading() as connection:
        (image,) = releases.images(connection, "site")
        return [one for rows in publications.since(connection, image.number, 0).values() for one in rows]


def test_a_fix_that_is_not_published_yet(flawed: Site, plain: Registry) -> None:
    site = flawed
    # As long as nobody publishes, nothing is said of it.
    site.works("security", "update")
    code, told = status(site)
    assert (code, told["open"], told["unpublished"], told["fixed"]) == (0, [], [], 1)
    assert "not yet published" not in site.works("security", "status").output

    # What is out there has a flaw; what is locked does not.
    fix(site, ("lib", "CVE-2026-1", "2"), ("lib", "CVE-2026-2", "3"))
    site.works("publish")
    code, told = status(site)
    assert (code, [one["advisory"] for one in told["open"]], told["unpublished"]) == (3, ["CVE-2026-2"], [])
    site.repo.add("lib", "3", files={"usr/lib/lib.so": "lib 3\n"})
    site.repo.publish()
    site.works("security", "update")
    code, told = status(site)
    (one,) = told["unpublished"]
    assert (code, told["open"], told["fixed"]) == (0, [], 1)
    assert (one["advisory"], one["state"], one["images"]) == ("CVE-2026-2", "fixed, not yet published", ["app"])
    shown = site.works("security", "status").output
    assert "- fixed, not yet published, by lib 3 in app: CVE-2026-2\n" in shown
    assert "0 open, 0 of them with a fix; 1 fixed, not yet published; " in shown
    assert "CVE-2026-2: fixed, not yet published: lib 3" in site.works("security", "explain", "CVE-2026-2").output

    site.works("publish")
    code, told = status(site)
    assert (code, told["open"], told["unpublished"], told["fixed"]) == (0, [], [], 2)


def test_what_was_published_is_had_again_from_the_registry(
    flawed: Site, plain: Registry, database: str, tmp_path: Path
) -> None:
    site = flawed
    site.env["IMGBUILD_RECORD"] = database
    site.works("publish", "--latest")
    first = newest(site)
    site.works("security", "update")
    site.works("publish")
    second = newest(site)
    has = {f"{one.version}-r{one.revision}": one for one in known(site)}
    assert has.keys() == {first, second}
    assert {one.repository for one in has.values()} == {f"{plain.host}/team/app"}
    tags = plain.tags("team/app")
    assert [(has[tag].digest, has[tag].floating) for tag in (first, second)] == [
        (tags[first], ("latest",)), (tags[second], ("1", "1.0")),
    ]  # fmt: skip
    assert all(one.time > 1_700_000_000 for one in has.values())
    (found,) = site.works("find", "lib", "--json").json["found"]
    (where,) = found["published"]
    assert (found["image"], where["repository"], where["tags"]) == (
        f"app:{second}",
        f"{plain.host}/team/app",
        ["1", "1.0"],
    )
    record = site.works("record", "--json").json
    assert (record["releases"], record["published"]) == (2, 2)
    assert "2 published" in site.works("record").output

    # From the workspace's registry by itself, and by name; nothing else is left.
    (site.folder / "out").rename(tmp_path / "gone")
    for words in ((), (f"registry:{plain.host}/team/",), (f"registry:http://{plain.host}/team/app",)):
        before = known(site)
        lose(site)
        assert site.works("record", "rebuild", *words, "--json").json["published"] == 2
        assert known(site) == before
        assert status(site)[1]["unpublished"] == []
    # It is an index: of what the registry says now.
    shutil.rmtree(plain.folder / "data/docker/registry/v2/repositories/team/app/_manifests/tags" / second)
    assert site.works("record", "rebuild", "--json").json["published"] == 1
    assert [one["advisory"] for one in status(site)[1]["unpublished"]] == ["CVE-2026-1"]


def test_a_registry_that_does_not_answer_is_told(flawed: Site, plain: Registry) -> None:
    plain.stop()
    found = flawed.run("record", "rebuild", "--json")
    assert (found.code, found.json["releases"], found.json["published"]) == (0, 1, 0), found.errors
    assert "what is published is not known from there" in found.errors
    named = flawed.run("record", "rebuild", f"registry:{plain.host}/team/app")
    assert (named.code, plain.host in named.errors) == (1, True), named.errors
    assert flawed.works("record", "--json").json["releases"] == 1, "nothing is lost over it"


def test_a_record_that_knows_nothing_learns_what_is_published(flawed: Site, plain: Registry, tmp_path: Path) -> None:
    site = flawed
    # On a runner that is thrown away.
    site.works("publish")
    site.env["IMGBUILD_RECORD"] = str(tmp_path / "other.sqlite")
    site.works("publish")
    (one,) = known(site)
    assert (one.floating, one.time) == ((), 0)
    site.works("security", "update")
    assert [one["advisory"] for one in status(site)[1]["unpublished"]] == ["CVE-2026-1"]


@pytest.mark.parametrize("place", ["postgresql://nobody@127.0.0.1:1/x", "/proc/1/nothing/record.sqlite"])
def test_nothing_fails_for_a_record_that_cannot_be_had(flawed: Site, plain: Registry, place: str) -> None:
    flawed.env["IMGBUILD_RECORD"] = place
    found = flawed.works("publish", "--json")
    assert [one["status"] for one in found.json["images"]] == ["published"]
    assert "what was published is not in the record: " in found.errors
    assert newest(flawed) in plain.tags("team/app")


def test_what_is_copied_there_is_published_there(flawed: Site, plain: Registry) -> None:
    flawed.works("publish", "--dry-run")
    assert known(flawed) == [], "a trial is no publication"
    flawed.works("copy", "app", f"registry:{plain.host}/production")
    assert [(one.repository, one.floating, one.time > 0) for one in known(flawed)] == [
        (f"{plain.host}/production/app", (), True)
    ]  # fmt: skip


# What runs


@pytest.fixture
def running(flawed: Site) -> Site:
    """Three releases: with the flaw, without it, and without the library."""
    site = flawed
    site.works("security", "update")
    site.repo.add("app", "3", files={"usr/bin/app": "#!/bin/sh\n# 3\n"})
    site.repo.publish()
    site.works("lock", "app", "--update")
    site.build()
    return site


def test_what_is_open_in_what_runs(running: Site) -> None:
    site = running
    digests = {
        one.rpartition(":")[2]: site.works("inspect", one, "--json").json["digest"]
        for one in ("app:1.0-r1", "app:1.0-r2", "app:1.0-r3")
    }
    file = site.folder / "running"
    assert status(site)[0] == 0, "by the locks all is well"
    # By its name, as `kubectl get pods` prints it; nothing of it is locked any more.
    file.write_text("    image: registry.example/team/app:1.0-r1\n    image: registry.example/sidecar:1\n")
    code, told = status(site, "--releases", "running")
    assert (code, told["releases"], told["unknown"]) == (3, ["app:1.0-r1"], [])
    (one,) = told["open"]
    assert (one["advisory"], one["state"], one["version"], one["images"], one["definition"]) == (
        "CVE-2026-1", "affected, fix available", "1", ["app:1.0-r1"], "app",
    )  # fmt: skip
    # By digests, as `docker ps` does; in the words of a person.
    file.write_text("\n".join(f"app@{digest}" for digest in digests.values()))
    shown = site.run("security", "status", "app", "--releases", "running")
    assert (shown.code, "app:1.0-r1" in shown.output) == (3, True), shown.errors
    assert "of what runs, the record knows app:1.0-r1, app:1.0-r2, app:1.0-r3" in shown.errors
    file.write_text(digests["1.0-r2"])
    code, told = status(site, "--releases", "running")
    assert (code, told["open"], told["fixed"]) == (0, [], 1)
    # From a pipe.
    words = [sys.executable, "-m", "builder.cli.main", "security", "status", "--releases", "-"]
    found = subprocess.run(
        words, input="image: app:1.0-r1\n", cwd=site.folder, env=environment(site.cache, site.env), capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert (found.returncode, "CVE-2026-1" in found.stdout) == (3, True), found.stderr


def test_what_was_decided_counts_for_what_runs(running: Site) -> None:
    (running.folder / "security").mkdir()
    decision = (
        '{"@context": "https://openvex.dev/ns/v0.2.0", "@id": "urn:x", "author": "A", "version": 1, "timestamp": '
        '"2026-11-01T12:00:00Z", "statements": [{"vulnerability": {"name": "CVE-2026-1"}, "status": "not_affected", '
        '"impact_statement": "it is never called", "products": [{"@id": "pkg:oci/app?tag=1.0-r1"}]}]}'
    )
    (running.folder / "security/vex.openvex.json").write_text(decision)
    (running.folder / "running").write_text("image: app:1.0-r1\n")
    code, told = status(running, "--releases", "running")
    assert (code, told["open"], [one["images"] for one in told["decided"]]) == (0, [], [["app:1.0-r1"]])


def test_what_runs_and_is_not_known_is_never_clean(flawed: Site) -> None:
    cases: tuple[tuple[str | None, tuple[str, ...], str], ...] = (
        (None, (), "running: No such file or directory"),
        ("image: sidecar:1\n", (), "the record knows none of the releases"),
        ("", (), "the record knows none of the releases"),
        ("image: app:1.0-r1\n", ("ap",), "there is no component or image 'ap'"),
    )
    for text, words, said in cases:
        if text is not None:
            (flawed.folder / "running").write_text(text)
        found = flawed.run("security", "status", *words, "--releases", "running")
        assert (found.code, said in found.errors) == (2, True), found.errors
