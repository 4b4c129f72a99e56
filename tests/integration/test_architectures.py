"""One release for several architectures: locked, built, published, pulled."""

from __future__ import annotations

import json
import platform
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from builder import transports
from builder.formats import lockfile, oci
from builder.model.image import StoredImage
from builder.tools import process
from builder.transports import oci_layout
from tests.integration.test_security_update import tracker
from tests.kit import keys as keys_
from tests.kit.distribution import Site
from tests.kit.registry import Registry

DEFAULTS = "defaults: {architectures: [amd64, arm64]}"
pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(platform.machine() != "x86_64", reason="arm64 stands for the other architecture"),
]


@pytest.fixture
def both(site: Site) -> Site:
    """A site whose images are made for two architectures, of packages that are the same for both."""
    site.repo.architectures = ("amd64", "arm64")
    for suite in site.repo.suites:
        (site.repo.folder / "dists" / suite / "main/binary-arm64").mkdir()
    site.repo.publish()
    site.edit("imgbuild.yaml", "workspace: site\n", f"workspace: site\n{DEFAULTS}\n")
    return site


@pytest.fixture
def apart(both: Site) -> Site:
    """A site whose image holds a library that each architecture has of its own, and a package that one alone has; built, and
    committed."""
    both.env["IMGBUILD_RECORD"] = str(both.folder.parent / "record.sqlite")
    both.edit("repos/app/component.yaml", "packages: {apt: [app]}", "packages: {apt: [app, lib]}")
    both.edit("repos/app/component.yaml", "version: {from: apt/app}", 'version: "2"')
    both.edit("imgbuild.yaml", "workspace: site\n", "workspace: site\nfeeds: [tracker.json]\n")
    both.write({".gitignore": "out*\n*.tar\n", "tracker.json": tracker()})
    library(both, "1")
    both.repo.add("only", "1", files={"usr/share/only": "only 1\n"}, architecture="arm64")
    both.repo.publish()
    git(both, "init", "--quiet", "--initial-branch", "main")
    git(both, "config", "user.name", "Ada")
    git(both, "config", "user.email", "ada@localhost")
    both.works("lock", "app")
    both.works("build", "app")
    commit(both)
    return both


def library(site: Site, version: str) -> None:
    """A library of a version, for both; for one it needs another package."""
    for architecture, needs in (("amd64", "tiny"), ("arm64", "only")):
        files = {"usr/lib/lib.so": f"{architecture} {version}\n"}
        site.repo.add("lib", version, files=files, architecture=architecture, depends=needs)


def git(site: Site, *words: str) -> str:
    return process.run(["git", "-C", site.folder, *words]).text.strip()


def commit(site: Site) -> None:
    git(site, "add", "-A")
    git(site, "commit", "--quiet", "--message", "x")


def parts(folder: Path, name: str = "app") -> dict[str, StoredImage]:
    """The images of the newest release of a layout, by their architectures."""
    layout = oci_layout.at(folder)
    every = layout.read(layout.names()[-1] if name == "app" else name).every()
    return {oci.platform(one.config)["architecture"]: one for one in every}


def locked(site: Site) -> dict[str, dict[str, str]]:
    """The versions that the image's lock has, by architecture."""
    locks = lockfile.read(site.folder / "repos/app/lock.yaml").locks
    return {lock.architecture: {one.name: one.version for one in lock.packages} for lock in locks}


def revisions(site: Site) -> list[int]:
    """What both are at."""
    return [row.revision for row in lockfile.read(site.folder / "repos/app/lock.yaml").revisions]


def found(site: Site, *words: str) -> list[dict[str, Any]]:
    """What the record knows of the package of the image."""
    told: list[dict[str, Any]] = site.works("find", "app", *words, "--json").json["found"]
    return told


def test_a_release_is_locked_and_built_for_both(both: Site) -> None:
    alone = both.lock()
    both.works("lock", "app")
    lock = both.lock()
    assert [line for line in alone.splitlines() if line not in lock.splitlines()] == []
    revisions = lockfile.read(both.folder / "repos/app/lock.yaml").revisions
    assert [(row.revision, row.architecture) for row in revisions] == [(1, "amd64"), (1, "arm64")]
    built = both.works("build", "app", "--json").json["images"]
    assert [one["architecture"] for one in built] == ["amd64", "arm64"]
    index, *images = json.loads((both.folder / "out/index.json").read_bytes())["manifests"]
    assert index["annotations"]["org.opencontainers.image.ref.name"] == "app:1-r1"
    inner = json.loads((both.folder / "out/blobs/sha256" / index["digest"].removeprefix("sha256:")).read_bytes())
    assert inner["mediaType"] == index["mediaType"] == oci.INDEX
    assert [one["platform"] for one in inner["manifests"]] == [
        {"architecture": one, "os": "linux"} for one in ("amd64", "arm64")
    ]
    assert [one["digest"] for one in inner["manifests"]] == [one["digest"] for one in images]
    assert [one["digest"] for one in images] == [one["digest"] for one in built]
    # Once more, nothing changes; and which is written first makes no difference.
    before = (both.folder / "out/index.json").read_bytes()
    both.works("build", "app", "--locked")
    assert (both.folder / "out/index.json").read_bytes() == before
    for architecture in ("arm64", "amd64"):
        both.works("build", "app", "--locked", "--to", "oci:apart", "--architecture", architecture)
    assert (both.folder / "apart/index.json").read_bytes() == before
    assert both.image().digest == built[0]["digest"]
    assert both.run("validate", "oci:out", "--json").code == 0
    copied = both.works("inspect", "app", "--json").json
    assert copied["digest"] == built[0]["digest"]
    for architecture, digest in zip(("amd64", "arm64"), (one["digest"] for one in built), strict=True):
        words = [
            "skopeo",
            "--override-arch",
            architecture,
            "inspect",
            "--raw",
            "--config",
            f"oci:{both.folder}/out:app:1-r1",
        ]
        config = json.loads(process.run(words).text)
        assert config["architecture"] == architecture
        assert digest
    # What has gone, has gone for both.
    both.works("lock", "app", "--check")


def test_a_change_of_one_raises_the_revision_of_all(both: Site) -> None:
    both.works("lock", "app")
    both.repo.add("app", "1", files={"usr/bin/app": "#!/bin/sh\nexec sleep 61\n"}, architecture="arm64")
    path = both.folder / "repos/app/lock.yaml"
    before = lockfile.read(path)
    both.edit("repos/app/component.yaml", "command: [app]", "command: [app, more]")
    both.works("lock", "app", "--architecture", "amd64")
    after = lockfile.read(path)
    assert [(row.revision, row.architecture) for row in after.revisions] == [(2, "amd64"), (2, "arm64")]
    assert after.revisions[1].content_key == before.revisions[1].content_key
    assert both.run("lock", "app", "--check").code == 3
    assert "app for arm64" in both.run("lock", "app", "--check").errors
    both.works("lock", "app")
    assert [row.revision for row in lockfile.read(path).revisions] == [3, 3]
    both.edit("repos/app/component.yaml", "command: [app, more]", "command: [app, most]")
    both.works("lock", "app")
    assert [row.revision for row in lockfile.read(path).revisions] == [4, 4]


def test_what_two_machines_have_built_becomes_one(both: Site) -> None:
    both.works("lock", "app")
    both.works("build", "app", "--attest", "--locked")
    for architecture in ("amd64", "arm64"):
        both.works(
            "build", "app", "--locked", "--attest", "--to", f"oci:{architecture}", "--architecture", architecture
        )
    both.works("copy", "oci:amd64:app", "oci:arm64")
    whole, joined = (both.folder / name / "index.json" for name in ("out", "arm64"))
    # What is attested says when it was built.
    said = [
        [(one["digest"], sorted(one["annotations"])) for one in json.loads(path.read_bytes())["manifests"]]
        for path in (whole, joined)
    ]
    assert said[0] == said[1]
    both.works("copy", "app", "oci:again")
    assert (both.folder / "again/index.json").read_bytes() == whole.read_bytes()


def test_the_index_is_published_signed_and_read(both: Site, plain: Registry, tmp_path: Path) -> None:
    both.works("lock", "app")
    team = f"{plain.host}/team"
    keys = keys_.pair(tmp_path)
    # One machine was the first, and knew of no other architecture.
    both.works("build", "app", "--locked", "--attest", "--architecture", "amd64")
    first = both.run("publish", "app", "--registry", team)
    assert (first.code, "arm64" in first.errors) == (0, True)
    alone = plain.tags("team/app")["1-r1"]
    both.works("build", "app", "--locked", "--attest")
    entries = json.loads((both.folder / "out/index.json").read_bytes())["manifests"]
    index, *images = (one["digest"] for one in entries)
    assert alone == images[0]
    dry = both.works("publish", "app", "--registry", team, "--sign", str(keys.private), "--dry-run", "--json")
    assert plain.tags("team/app")["1-r1"] == alone
    done = both.works("publish", "app", "--registry", team, "--sign", str(keys.private), "--json")
    (told,) = done.json["images"]
    assert dry.json["images"][0]["digest"] == told["digest"] == index
    assert set(told["tags"]) == {"1-r1", "1"}
    assert {plain.tags("team/app")[tag] for tag in ("1-r1", "1")} == {index}
    (again,) = both.works("publish", "app", "--registry", team, "--sign", str(keys.private), "--json").json["images"]
    assert (again["status"], again["bytes"], again["signed"], again["attested"]) == ("there", 0, "there", [])
    # A part of it does not take the place of the whole.
    both.works("build", "app", "--locked", "--to", "oci:part", "--architecture", "arm64")
    assert "imgbuild copy" in both.run("publish", "app", "--registry", team, "--from", "oci:part").errors
    # Each machine gets its own.
    for architecture, digest in zip(("amd64", "arm64"), images, strict=True):
        skopeo = ["skopeo", "--override-arch", architecture, "inspect", "--tls-verify=false", "--config"]
        said = json.loads(process.run([*skopeo, f"docker://{team}/app:1"]).text)
        assert said["architecture"] == architecture
        assert digest
    for place in (f"registry:{team}/app", "oci:out"):
        verified = both.works("verify", place, "--signed-by", str(keys.public), "--json").json["images"]
        assert [one["digest"] for one in verified] == [*images, index]
        assert [one["verified"] for one in verified] == [True] * 3
        assert len(both.works("validate", place, "--json").json) == 2
    # From place to place it stays one.
    both.works("pull", "app", "--registry", team, "--to", "oci:pulled")
    both.works("copy", f"registry:{team}/app", f"registry:{plain.host}/other")
    assert plain.tags("other/app")["1-r1"] == index
    pulled = json.loads((both.folder / "pulled/index.json").read_bytes())["manifests"]
    assert [one["digest"] for one in pulled] == [index, *images]
    both.works("verify", "oci:pulled", "--signed-by", str(keys.public))
    both.works("verify", f"registry:{plain.host}/other/app", "--signed-by", str(keys.public))
    # What goes, goes whole.
    both.edit("repos/app/component.yaml", "command: [app]", "command: [app, more]")
    both.works("lock", "app")
    both.works("build", "app", "--locked")
    both.works("publish", "app", "--registry", team)
    for place in ("oci:out", f"registry:{team}/app"):
        planned = both.works("prune", place, "--keep", "1", "--yes", "--json").json
        assert [(one["digest"], one["stays"]) for one in planned["images"]][:1] == [(index, False)]
        assert len(both.works("validate", place, "--json").json) == 2
    assert set(plain.tags("team/app")) & {"1-r1", "1-r2", "1"} == {"1-r2", "1"}
    blobs = {path.name for path in (both.folder / "out/blobs/sha256").iterdir()}
    assert not blobs & {one.removeprefix("sha256:") for one in (index, *images)}


def test_an_archive_brings_it_whole(both: Site, plain: Registry, tmp_path: Path) -> None:
    keys, place = keys_.pair(tmp_path), f"registry:{plain.host}/in"
    both.works("lock", "app")
    both.works("build", "app", "--locked", "--attest")
    both.works("publish", "app", "--registry", f"{plain.host}/out", "--sign", str(keys.private))
    index = plain.tags("out/app")["1-r1"]
    saved = both.works("mirror", "save", "first.tar", "--json").json
    assert [(one["image"], one["digest"]) for one in saved["images"]] == [("app:1-r1", index)]
    both.works("mirror", "save", "again.tar", f"registry:{plain.host}/out/", cache=both.empty_cache())
    for archive, target in (("first.tar", "oci:site"), ("again.tar", "oci:other"), ("first.tar", place)):
        loaded = both.works("mirror", "load", archive, target, "--signed-by", str(keys.public), "--json").json
        assert [one["digest"] for one in loaded["images"]] == [index]
        name = target if target.startswith("oci:") else f"{target}/app"
        told = both.works("verify", name, "--signed-by", str(keys.public), "--json").json["images"]
        assert [one["digest"] for one in told] == [*(one.digest for one in parts(both.folder / "out").values()), index]
    assert (both.folder / "site/index.json").read_bytes() == (both.folder / "out/index.json").read_bytes()
    assert {plain.tags("in/app")[tag] for tag in ("1-r1", "1")} == {index}
    for architecture in ("amd64", "arm64"):
        words = ["skopeo", "--override-arch", architecture, "inspect", "--config"]
        said = json.loads(process.run([*words, f"oci-archive:{both.folder}/first.tar:app:1-r1"]).text)
        assert said["architecture"] == architecture
    # What the site has is left out, of whichever it has.
    before = parts(both.folder / "out")
    layers = {name: {one["digest"] for one in json.loads(x.manifest)["layers"]} for name, x in before.items()}
    both.edit("repos/app/component.yaml", "command: [app]", "command: [app, more]")
    both.works("lock", "app")
    both.works("build", "app", "--locked", "--attest")
    after = {one["digest"] for x in parts(both.folder / "out").values() for one in json.loads(x.manifest)["layers"]}
    (both.folder / "pods.txt").write_text(f"app@{before['arm64'].digest}\n")
    (both.folder / "index.txt").write_text(f"app@{index}\n")
    for since, known in (
        ("pods.txt", layers["arm64"]), ("index.txt", layers["amd64"] | layers["arm64"]),
        (place + "/", layers["amd64"] | layers["arm64"]), ("first.tar", layers["amd64"] | layers["arm64"]),
    ):  # fmt: skip
        told = both.works("mirror", "save", "next.tar", "--since", since, "--json").json
        assert told["left_out"] == len(after & known), since
    for target in ("oci:site", place):
        both.works("mirror", "load", "next.tar", target)
    plain.require_whole("in/app")
    assert len(both.works("validate", "oci:site", "--json").json) == 4
    # Half of it signed is not signed.
    both.works("build", "app", "--locked", "--attest", "--to", "oci:half", "--architecture", "amd64")
    both.works("publish", "app", "--from", "oci:half", "--registry", f"{plain.host}/half", "--sign", str(keys.private))
    both.works("build", "app", "--locked", "--attest", "--to", "oci:half", "--architecture", "arm64")
    both.works("mirror", "save", "half.tar", "oci:half")
    refused = both.run("mirror", "load", "half.tar", "oci:never", "--signed-by", str(keys.public))
    assert (refused.code, "it is not signed" in refused.errors) == (1, True)
    assert not (both.folder / "never").exists()


def test_an_archive_brings_what_both_are_built_from(apart: Site) -> None:
    apart.works("mirror", "save", "site.tar", "--for-building")
    apart.works("mirror", "load", "site.tar", "oci:images", "--building", "building", cache=apart.empty_cache())
    debs = {path.name for path in (apart.folder / "building").rglob("*.deb")}
    assert {"lib_1_amd64.deb", "lib_1_arm64.deb", "only_1_arm64.deb"} <= debs
    site = apart.folder.parent / "inside"
    process.run(["git", "clone", "--quiet", apart.folder / "building/git/site.bundle", site])
    gone = apart.mirror.rename(apart.mirror.with_name("gone"))
    env = {"IMGBUILD_MIRROR": str(apart.folder / "building"), "IMGBUILD_RECORD": str(gone / "record.sqlite")}
    cache = apart.empty_cache()
    for words in (("lock", "app", "--update"), ("build", "app", "--locked")):
        told = apart.run(*words, cwd=site, cache=cache, env=env)
        assert told.code == 0, told.errors
    assert (site / "out/index.json").read_bytes() == (apart.folder / "out/index.json").read_bytes()


@pytest.mark.parametrize("first", ["amd64", "arm64"])
def test_the_record_speaks_of_the_first(first: str, both: Site, plain: Registry, tmp_path: Path) -> None:
    """Whatever this machine is, and wherever what it is asked of was read."""
    both.env["IMGBUILD_RECORD"] = str(tmp_path / "record.sqlite")
    second = "arm64" if first == "amd64" else "amd64"
    both.edit(
        "imgbuild.yaml", DEFAULTS, f"registry: {plain.host}/team\ndefaults: {{architectures: [{first}, {second}]}}"
    )
    both.works("lock", "app")
    both.works("build", "app", "--locked")
    built = {name: one.digest for name, one in parts(both.folder / "out").items()}
    both.works("publish", "app")
    index = plain.tags("team/app")["1-r1"]
    told = found(both)
    assert [one["digest"] for one in told] == [built[first]]
    assert [one["published"][0]["tags"] for one in told] == [["1"]]
    for places in ((), (f"registry:{plain.host}/team/",), ("oci:out",)):
        both.works("record", "rebuild", *places)
        again = found(both)
        assert [one["digest"] for one in again] == [built[first]]
        if places != ("oci:out",):
            assert [one["published"][0]["tags"] for one in again] == [["1"]]
    # What runs is named by what was pulled, which is the index.
    both.works("record", "rebuild")
    (tmp_path / "pods.txt").write_text(f"{plain.host}/team/app@{index}\n")
    assert [one["image"] for one in found(both, "--releases", str(tmp_path / "pods.txt"))] == ["app:1-r1"]
    for digest in (*built.values(), index):
        (tmp_path / "pods.txt").write_text(f"app@{digest}\n")
        told = both.works("find", "app", "oci:out", "--releases", str(tmp_path / "pods.txt"), "--json").json["found"]
        assert len(told) == 1, digest
    assert both.run("security", "status", "--feed", _feed(both), "--releases", str(tmp_path / "pods.txt")).code == 0
    # So each node takes its own.
    both.write({"site.yaml": f"dsl: 1\nsite: home\nregistry: {plain.host}/team\ncomponents: [app]\n"})
    (both.folder / "out").rename(both.folder / "away")
    rendered = both.works("deploy", "render", "site.yaml", "--kubernetes", "1.31", "--json").json
    assert rendered["images"]["app"].endswith(f"@{index}")
    # A part for another architecture alone is no release that it knows by its images.
    both.works("build", "app", "--locked", "--to", "oci:part", "--architecture", second)
    both.works("record", "rebuild", "oci:part")
    assert [one["digest"] for one in found(both, "--releases", "all")] == [None]
    assert found(both, "--releases", "all")[0]["image"] == "app:1-r1"


def _feed(site: Site) -> str:
    (site.folder / "tracker.json").write_text(tracker())
    return str(site.folder / "tracker.json")


def test_an_update_moves_all(apart: Site) -> None:
    site = apart
    library(site, "1.1")
    site.repo.publish()
    site.write({"tracker.json": tracker(("lib", "CVE-2026-1", "1.1"))})
    (flaw,) = site.run("security", "status", "--json").json["open"]
    assert (flaw["package"], flaw["architecture"]) == ("lib", None)
    done = site.works("security", "update", "--report", "report.md", "--json").json
    assert [(row["definition"], row["package"], row["new"]) for row in done["moved"]] == [
        ("app", "lib", "1.1"), ("app for arm64", "lib", "1.1"),
    ]  # fmt: skip
    assert [row["advisory"] for row in done["closed"]] == ["CVE-2026-1"]
    assert {name: rows["lib"] for name, rows in locked(site).items()} == {"amd64": "1.1", "arm64": "1.1"}
    assert revisions(site) == [2, 2]
    assert [(row["before"], row["after"]) for row in done["images"]] == [("2-r1", "2-r2")]
    assert set(parts(site.folder / "out")) == {"amd64", "arm64"}
    assert "| app for arm64 | lib | 1 | 1.1 |" in (site.folder / "report.md").read_text()
    assert site.run("security", "status").code == 0
    again = site.works("security", "update", "--json").json
    assert (again["moved"], again["images"]) == ([], [])


def test_what_is_open_for_another_alone_is_told_and_closed(apart: Site) -> None:
    site = apart
    site.repo.add("only", "1.1", files={"usr/share/only": "only 1.1\n"}, architecture="arm64")
    site.repo.publish()
    site.write({"tracker.json": tracker(("only", "CVE-2026-2", "1.1"))})
    told = site.run("security", "status", "--json")
    assert (told.code, [(x["package"], x["architecture"]) for x in told.json["open"]]) == (3, [("only", "arm64")])
    assert "app/bin-00 for arm64" in site.run("security", "status").output
    newer = site.run("outdated", "--json")
    assert (newer.code, [(x["definition"], x["package"]) for x in newer.json]) == (
        3,
        [("app for arm64", "only")],
    )
    before = parts(site.folder / "out")
    done = site.works("security", "update", "--only", "only", "--json").json
    assert [(row["definition"], row["package"], row["new"]) for row in done["moved"]] == [
        ("app for arm64", "only", "1.1")
    ]
    assert (revisions(site), locked(site)["amd64"]) == ([2, 2], {"app": "1", "lib": "1"})
    after = parts(site.folder / "out")
    for name, same in (("amd64", True), ("arm64", False)):
        old, new = (json.loads(one[name].manifest)["layers"] for one in (before, after))
        assert (old == new) is same
    assert site.run("security", "status").code == 0


def test_an_update_that_was_ended_is_finished_for_all(apart: Site) -> None:
    """After the workspace's own was built, and before the other one was."""
    site = apart
    library(site, "1.1")
    site.repo.publish()
    site.works("lock", "app", "--update")
    site.works("build", "app", "--architecture", "amd64")
    assert set(parts(site.folder / "out")) == {"amd64"}
    done = site.works("security", "update", "--json").json
    assert (done["begun"], [row["after"] for row in done["images"]]) == (["app/app"], ["2-r2"])
    assert set(parts(site.folder / "out")) == {"amd64", "arm64"}


def test_a_bad_fix_goes_back_for_all(apart: Site) -> None:
    site = apart
    library(site, "1.1")
    site.repo.publish()
    site.write({"tracker.json": tracker(("lib", "CVE-2026-1", "1.1"))})
    before = parts(site.folder / "out")
    site.works("security", "update")
    commit(site)
    done = site.works("withdraw", "app:2-r2", "--because", "it hangs", "--json").json
    assert [(row["definition"], row["package"], row["new"]) for row in done["moved"]] == [
        ("app", "lib", "1"), ("app for arm64", "lib", "1"),
    ]  # fmt: skip
    assert (done["before"], done["left"], revisions(site)) == ("app:2-r1", [], [3, 3])
    assert {name: rows["lib"] for name, rows in locked(site).items()} == {"amd64": "1", "arm64": "1"}
    after = parts(site.folder / "out")
    for name in ("amd64", "arm64"):
        old, new = (json.loads(one[name].manifest)["layers"] for one in (before, after))
        assert old == new
    update = site.works("security", "update", "--json").json
    assert (list(update["held"]), update["moved"]) == (["lib"], [])


def test_one_that_joined_with_a_bad_fix_keeps_it(both: Site) -> None:
    """It has no release before to which it could go back, and that is told."""
    site = both
    site.edit("imgbuild.yaml", DEFAULTS, "defaults: {architectures: [amd64]}")
    site.repo.add("lib", "1", files={"usr/lib/lib.so": "1\n"})
    site.repo.publish()
    site.edit("repos/app/component.yaml", "packages: {apt: [app]}", "packages: {apt: [app, lib]}")
    site.write({".gitignore": "out*\n"})
    git(site, "init", "--quiet", "--initial-branch", "main")
    git(site, "config", "user.name", "Ada")
    git(site, "config", "user.email", "ada@localhost")
    site.works("build", "app")
    commit(site)
    site.edit("imgbuild.yaml", "defaults: {architectures: [amd64]}", DEFAULTS)
    site.repo.add("lib", "1.1", files={"usr/lib/lib.so": "1.1\n"})
    site.repo.publish()
    site.works("lock", "app", "--update")
    site.works("build", "app")
    commit(site)
    (last,) = {row.revision for row in lockfile.read(site.folder / "repos/app/lock.yaml").revisions}
    done = site.works("withdraw", f"app:1-r{last}", "--because", "it hangs", "--json").json
    assert [(row["definition"], row["new"]) for row in done["moved"]] == [("app", "1")]
    assert any(one.startswith("for arm64 nothing does") for one in done["left"])
    assert {name: rows["lib"] for name, rows in locked(site).items()} == {"amd64": "1", "arm64": "1.1"}


def test_each_image_is_made_again(apart: Site) -> None:
    site = apart
    digests = {name: one.digest for name, one in parts(site.folder / "out").items()}
    told = site.works("rebuild", "app", "--to", "oci:again", "--json").json["images"]
    assert [(one["same"], one["rebuilt"]) for one in told] == [(True, one) for one in digests.values()]
    assert [one["image"] for one in told] == ["app:2-r1", "app:2-r1 (arm64)"]
    assert (site.folder / "again/index.json").read_bytes() == (site.folder / "out/index.json").read_bytes()
    for one in told:
        assert site.works("inspect", one["kept"], "--json").json["digest"] == one["rebuilt"]
    # The other machine's, of other bytes: it is found out, and what tells more of it can be run.
    stored = parts(site.folder / "out")["arm64"]
    image = transports.parsed(stored)
    config = oci.dump({**image.configuration, "created": "2001-01-01T00:00:00Z"})
    changed = replace(image, config=config, manifest=oci.manifest(config, image.layers))
    notes = {name: value for name, value in stored.notes.items() if name in oci_layout.OF_RELEASE or "key" in name}
    lock = stored.beside(oci_layout.LOCK)
    assert lock
    oci_layout.write(changed, site.folder / "out", "app:2-r1", notes, {oci_layout.LOCK: lock})
    result = site.run("rebuild", "oci:out:app", "--to", "oci:third")
    assert (result.code, "app:2-r1 (arm64): not the same" in result.output) == (3, True), result.output
    (words,) = re.findall("more is shown by: imgbuild (.*)", result.output)
    assert changed.digest in words
    assert site.run(*shlex.split(words)).code in (0, 3)


def test_a_store_gets_what_both_are_made_of(apart: Site, plain: Registry) -> None:
    done = apart.works("store", "push", "--to", f"registry:{plain.host}/store", "--json").json
    shas = {one.sha256 for one in (x for lock in _locks(apart) for x in lock.artifacts())}
    assert done["packages"] == len(shas)
    tags = plain.tags("store")
    assert {f"package-{sha256}" for sha256 in shas} <= tags.keys()
    built = {row.cache_key for lock in _locks(apart) for row in lock.built if lock.architecture == "arm64"}
    assert {f"layer-{key}" for key in built} <= tags.keys()


def _locks(site: Site) -> list[Any]:
    return [x for path in sorted(site.folder.rglob("lock.yaml")) for x in lockfile.read(path).locks]
