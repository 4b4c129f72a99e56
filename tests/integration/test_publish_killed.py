"""`imgbuild publish`, killed at any moment: what is named in the registry is whole and signed, and the next run completes."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest

from tests.conftest import SEED
from tests.integration.test_interrupted import payload
from tests.kit import keys
from tests.kit.distribution import SECOND, Site
from tests.kit.project import running
from tests.kit.registry import Registry

pytestmark = pytest.mark.integration
TRIES = 3
"""After so many kills a run goes on to its end, and the next begins in a place that has nothing."""


@pytest.fixture
def signed(site: Site, tmp_path: Path) -> tuple[str, ...]:
    """What is published: two components with a layer that takes a while to send, attested; and signed by this key."""
    site.write({"repos/second/component.yaml": SECOND})
    site.repo.add("app", "2", files={"usr/bin/app": "#!/bin/sh\n", **payload()})
    site.repo.publish()
    site.works("lock", "--all", "--update")
    site.works("build", "--all", "--attest")
    keys.pair(tmp_path)
    return ("--sign", str(tmp_path / "release.key"))


@pytest.mark.parametrize("kills", [8, pytest.param(100, marks=pytest.mark.full)])
def test_killed_at_random_moments(site: Site, there: Registry, signed: tuple[str, ...], kills: int) -> None:
    chance = random.Random(SEED)
    began = time.monotonic()
    names = published(site, f"{there.host}/timed", signed)
    whole = time.monotonic() - began
    seen = {"nothing": 0, "blobs": 0, "releases": 0, "all": 0}
    place = tries = 0
    for number in range(kills):
        prefix = f"killed-{place}"
        words = ("publish", "--registry", f"{there.host}/{prefix}", *signed)
        with running(*words, cache=site.cache, cwd=site.folder, env=site.env) as run:
            if number % 2 and not tries:
                # What comes after the layers is short: half of the moments lie there.
                run.until(lambda: has_manifests(there, prefix))  # noqa: B023
                time.sleep(chance.uniform(0, 0.3 * whole))
            else:
                time.sleep(chance.uniform(0.2, 1) * whole)
            run.signal(signal.SIGKILL)
            run.end()
            assert run.left_over() == {}
        state = reached(there, prefix, names)
        seen[state] += 1
        tries += 1
        if state == "all" or tries == TRIES or number == kills - 1:
            assert published(site, f"{there.host}/{prefix}", signed) == names
            assert reached(there, prefix, names) == "all"
            key = signed[1].replace(".key", ".pub")
            words = ("verify", f"registry:{there.host}/{prefix}/", "--no-layers", "--signed-by", key)
            assert site.run(*words).code == 0
            place, tries = place + 1, 0
    if kills >= 100:
        assert all(seen.values()), f"some moments were not among them: {seen}"


def has_manifests(there: Registry, prefix: str) -> bool:
    """Whether a manifest lies there, named or not."""
    return any((there.folder / "data/docker/registry/v2/repositories" / prefix).glob("*/_manifests/revisions"))


def published(site: Site, where: str, signed: tuple[str, ...]) -> dict[str, str]:
    """Publish to the end: the digest of each release."""
    told = site.works("publish", "--registry", where, *signed, "--json").json["images"]
    assert {one["status"] for one in told} <= {"published", "there"}
    return {one["image"]: one["digest"] for one in told}


def reached(there: Registry, prefix: str, names: dict[str, str]) -> str:
    """How far a run has come; whatever has a name is whole, and a release is signed and attested before it has one."""
    found: set[str] = set()
    for name, digest in names.items():
        repository, _, tag = f"{prefix}/{name}".partition(":")
        there.require_whole(repository)
        tags = there.tags(repository)
        version = tag.rpartition("-")[0]
        mark = f"sha256-{digest.removeprefix('sha256:')}"
        if tags.get(tag):
            assert tags[tag] == digest
            assert {mark, f"{mark}.sig", f"{mark}.att"} <= tags.keys()
        floating = {one for one in tags if not one.startswith("sha256-") and one != tag}
        assert not floating or tag in tags, "a tag has moved to what is not released"
        if (there.folder / "data/docker/registry/v2/repositories" / repository / "_layers").exists():
            found.add("blobs")
        if tag in tags:
            found |= {"releases"} | ({"all"} if version in tags and tags[version] == digest else set())
        else:
            found.add("less")
    if "all" in found and "less" not in found:
        return "all"
    return "releases" if "releases" in found else "blobs" if "blobs" in found else "nothing"
