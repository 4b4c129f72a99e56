"""Debian's own updates: images locked against main alone get what the security suite has, and nothing else."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from builder.formats import lockfile
from tests.kit.engines import Docker
from tests.kit.fleet import Fleet
from tests.kit.project import ROOT, Run, imgbuild, project

pytestmark = [pytest.mark.e2e, pytest.mark.full]

SERVICES: Mapping[int, Mapping[str, Any]] = {
    12: {
        "web": {"packages": ["nginx"], "run": {"command": ["nginx", "-g", "daemon off;"]}},
        "cache": {"packages": ["memcached"], "run": {"command": ["memcached", "-u", "memcache"]}},
        "database": {"packages": ["mariadb-server"], "run": {"command": ["mariadbd"]}},
        "identity": {"packages": ["keystone"], "run": {"command": ["keystone-manage"]}},
        "compute": {"packages": ["nova-api"], "run": {"command": ["nova-manage"]}},
        "image": {"packages": ["glance-api"], "run": {"command": ["glance-manage"]}},
        "network": {"packages": ["neutron-server"], "run": {"command": ["neutron-server"]}},
    },
    13: {
        "web13": {"packages": ["nginx"], "run": {"command": ["nginx", "-g", "daemon off;"]}},
        "proxy13": {"packages": ["haproxy"], "run": {"command": ["haproxy", "-v"]}},
    },
}
CODENAMES = {12: "bookworm", 13: "trixie"}
SAYS = {
    "web": ("nginx", "-v"), "cache": ("memcached", "--version"), "database": ("mariadbd", "--version"),
    "identity": ("keystone-manage", "--version"), "compute": ("nova-manage", "--version"),
    "image": ("glance-manage", "--version"), "network": ("neutron-server", "--version"), "web13": ("nginx", "-v"),
    "proxy13": ("haproxy", "-v"),
}  # fmt: skip
"""What tells that an image runs."""


@dataclass(slots=True)
class Story:
    """A workspace with some services of a release of Debian, and what happened to it."""

    debian: int
    folder: Path
    cache: Path
    told: dict[str, Any] = field(default_factory=dict)

    def works(self, *words: str) -> Run:
        """Run imgbuild here; it must end well."""
        found = imgbuild(*words, cache=self.cache, cwd=self.folder)
        assert found.code == 0, found.errors + found.output
        return found

    def begin(self) -> None:
        """Definitions whose packages come from main alone."""
        project(self.folder, {"imgbuild.yaml": "dsl: 1\nworkspace: updates\n", "none.json": "{}"})
        for name, said in SERVICES[self.debian].items():
            image = {
                "summary": name,
                "extends": f"debian-{self.debian} ^1.0",
                "packages": {"apt": said["packages"]},
                "run": {**said["run"], "user": "root"},
                "allow": {"root": "a test looks at its version"},
                "generated": {"/var/lib/mysql": "initial data"} if name == "database" else {},
            }
            component = {"dsl": 1, "component": name, "summary": name, "version": "1", "images": {name: image}}
            project(self.folder, {f"repos/{name}/component.yaml": json.dumps(component)})
        self.layer({"debian"}, "1.900.0")

    def layer(self, sources: set[str], version: str) -> None:
        """The layer definition that ships, with some of its sources; its version is higher than that one's, which is there, too."""
        said = yaml.safe_load((ROOT / f"layers/debian-{self.debian}/layer.yaml").read_text())
        said["sources"] = {name: source for name, source in said["sources"].items() if name in sources}
        said["sources"]["debian"]["suites"] = [CODENAMES[self.debian]]
        said["version"] = version
        project(self.folder, {f"layers/debian-{self.debian}/layer.yaml": json.dumps(said)})

    def versions(self) -> dict[tuple[str, str], str]:
        """What is locked, by definition and package."""
        return {
            (lock.name, package.name): package.version
            for path in self.folder.glob("*/*/lock.yaml")
            for lock in lockfile.read(path).locks
            for package in lock.packages
        }

    def layers(self) -> dict[str, list[tuple[str, str]]]:
        """Kind and digest of each layer of each image."""
        return {
            name: [
                (layer["kind"], layer["digest"])
                for layer in self.works("inspect", f"oci:out:{name}", "--json").json["layers"]
            ]
            for name in SERVICES[self.debian]
        }


def told(tmp: Path, debian: int, cache: Path) -> Story:
    """The whole story: day 0 on main; openssl's fix alone; all others."""
    story = Story(debian, tmp, cache)
    story.begin()
    story.works("lock", "--all")
    story.works("build", "--all")
    story.told["day 0"] = story.versions(), story.layers()
    story.layer({"debian", "debian-security"}, "1.901.0")
    story.works("lock", "--all")
    story.told["source added"] = story.versions()
    for name, words in (("openssl", ("--only", "openssl")), ("all", ())):
        found = imgbuild(
            "security", "update", *words, "--feed", "none.json", "--report", f"{name}.md", "--json",
            cache=cache, cwd=story.folder,
        )  # fmt: skip
        story.told[name] = found, story.versions(), story.layers()
    return story


@pytest.fixture(scope="module", params=SERVICES, ids=lambda debian: f"debian-{debian}")
def story(request: pytest.FixtureRequest, fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """What happened, once for all that is to be seen of it."""
    folder = tmp_path_factory.mktemp(f"updates-{request.param}")
    yield told(folder, request.param, fleet.cache)
    shutil.rmtree(folder)


def test_a_source_that_is_added_moves_nothing(story: Story) -> None:
    before, _ = story.told["day 0"]
    assert story.told["source added"] == before


def test_openssl_alone(story: Story) -> None:
    found, after, layers = story.told["openssl"]
    before, was = story.told["day 0"]
    if after == before:
        pytest.skip(f"Debian {story.debian}'s main has the newest openssl today")
    assert found.code == 0, found.errors
    moved = {(row["definition"], row["package"]) for row in found.json["moved"]}
    assert moved == {key for key in after if after[key] != before.get(key)}
    assert found.json["sources"] == ["openssl"]
    assert {package for _, package in moved} <= {"openssl", "libssl3", "libssl3t64", "openssl-provider-legacy"}
    assert found.json["added"] == []
    for name, now in layers.items():
        new = [kind for kind, digest in now if (kind, digest) not in was[name]]
        # A state only where configuring gave something new; here it gives none.
        assert sorted(new) in (["package", "records"], ["package", "package", "records"]), name
        assert len(now) == len(was[name])
    told = {layer["layer"].partition(" ")[0] for image in found.json["images"] for layer in image["layers"]}
    assert told == {"package", "records"}
    report = (story.folder / "openssl.md").read_text()
    assert all(name in report for name in SERVICES[story.debian])


def test_all_that_the_security_suite_has(story: Story) -> None:
    found, after, _ = story.told["all"]
    _, before, _ = story.told["openssl"]
    assert found.code == 0, found.errors + found.output
    moved = {(row["definition"], row["package"]): row["new"] for row in found.json["moved"]}
    if not moved:
        pytest.skip(f"Debian {story.debian}'s main has all fixes today")
    assert {key: after[key] for key in moved} == moved
    assert {key for key in after if after[key] != before.get(key)} == moved.keys() | {
        (row["definition"], row["package"]) for row in found.json["added"]
    }
    again = imgbuild("security", "update", "--feed", "none.json", "--json", cache=story.cache, cwd=story.folder)
    assert (again.code, again.json["sources"], again.json["moved"]) == (0, [], [])
    outdated = story.works("outdated", "--json").json
    assert [row for row in json.dumps(outdated).split('"') if row.endswith("-security")] == []


def test_what_was_updated_runs(story: Story, docker: Docker) -> None:
    for name in SERVICES[story.debian]:
        built = imgbuild(
            "build",
            name,
            "--to",
            "docker:",
            "--json",
            cache=story.cache,
            cwd=story.folder,
            env={"DOCKER_HOST": docker.host},
        )
        assert built.code == 0, built.errors
        (one,) = built.json["images"]
        said = docker.says("run", "--rm", f"{one['image']}:{one['tag']}", *SAYS[name])
        assert re.search(r"\d+\.\d+", said), f"{name}: {said}"
        listed = docker(
            "run", "--rm", f"{one['image']}:{one['tag']}", "dpkg-query", "-W", "-f", "${Package} ${Version}\n"
        )
        there = dict(line.split() for line in listed.splitlines())
        locked = {package: version for (where, package), version in story.versions().items()
                  if where in (name, f"debian-{story.debian}")}  # fmt: skip
        assert there == locked
