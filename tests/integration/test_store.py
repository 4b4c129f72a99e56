"""``imgbuild store push``, and builds that take packages and layers from such a store: against a real registry."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from builder.formats import lockfile
from builder.pipeline import locking
from builder.transports import oci_layout
from tests.kit.distribution import SECOND, Site
from tests.kit.faulty_proxy import Fault, FaultyProxy
from tests.kit.project import environment, running
from tests.kit.registry import Registry

pytestmark = [pytest.mark.integration, pytest.mark.sampled(2)]


@pytest.fixture
def two(site: Site) -> Site:
    """A site with two components, built."""
    site.write({"repos/second/component.yaml": SECOND})
    site.works("lock", "second")
    site.works("build", "--all")
    return site


def stocked(site: Site, registry: Registry, name: str = "team/store") -> str:
    """A store that the workspace names, filled."""
    place = f"registry:{registry.host}/{name}"
    site.edit("imgbuild.yaml", "workspace: site\n", f"workspace: site\nstores: ['{place}']\n")
    site.works("store", "push")
    return place


def without_mirror(site: Site) -> None:
    site.mirror.rename(site.mirror.with_name("gone"))


def forget_what_layers_are(site: Site) -> None:
    """As the locks are before a build has written what layers turned out to be."""
    for path in site.folder.rglob("lock.yaml"):
        file = lockfile.read(path)
        locking.write_file(path, replace(file, locks=tuple(replace(lock, built=()) for lock in file.locks)))


def digests(layout: Path) -> dict[str, str]:
    return dict(oci_layout.references(layout))


def test_locks_build_when_no_mirror_has_their_packages(two: Site, there: Registry) -> None:
    """Of packages alone: each layer is made anew."""
    stocked(two, there, "packages")
    without_mirror(two)
    forget_what_layers_are(two)
    result = two.works("build", "--all", "--locked", "--to", "oci:other", "--json", cache=two.empty_cache())
    assert digests(two.folder / "other") == digests(two.folder / "out")
    assert [one["status"] for one in result.json["images"]] == ["built", "built"]


def test_an_empty_runner_makes_no_layer_again(two: Site, there: Registry) -> None:
    """Neither mirror nor release: all that locks know comes from the store, and no package is fetched."""
    stocked(two, there, "known")
    without_mirror(two)
    result = two.works("build", "--all", "--locked", "--to", "oci:other", "--json", cache=two.empty_cache())
    assert digests(two.folder / "other") == digests(two.folder / "out")
    assert {(one["status"], one["layers_made"]) for one in result.json["images"]} == {("reused", 0)}
    assert "packages" not in result.errors


def test_layers_that_no_lock_knows_are_taken_where_stores_are_trusted(two: Site, there: Registry) -> None:
    stocked(two, there, "trusted")
    forget_what_layers_are(two)
    without_mirror(two)
    two.edit("imgbuild.yaml", "workspace: site\n", "workspace: site\ntrusted_stores: true\n")
    result = two.works("build", "--all", "--locked", "--to", "oci:other", "--json", cache=two.empty_cache())
    assert digests(two.folder / "other") == digests(two.folder / "out")
    assert {(one["status"], one["layers_made"]) for one in result.json["images"]} == {("reused", 0)}
    assert "no lock knows them" in result.errors


def test_a_second_push_sends_nothing(two: Site, there: Registry) -> None:
    place = f"registry:{there.host}/twice"
    planned = two.works("store", "push", "--to", place, "--dry-run", "--json").json
    assert there.tags("twice") == {}
    first = two.works("store", "push", "--to", place, "--json").json
    assert first == {**planned, "dry_run": False}
    assert first["packages"] > 0
    assert first["layers"] > 0
    there.require_whole("twice")
    again = two.works("store", "push", "--to", place, "--json").json
    assert (again["packages"], again["layers"], again["bytes"]) == (0, 0, 0)
    assert again["there"] == first["packages"] + first["layers"] == len(there.tags("twice"))
    # Another runner, with what it fetches alone, knows the same packages.
    other = two.works("store", "push", "app", "--to", place, "--json", cache=two.empty_cache()).json
    assert (other["packages"], other["layers"]) == (0, 0)


def test_a_fix_sends_what_is_new(two: Site, there: Registry) -> None:
    place = f"registry:{there.host}/fix"
    two.works("store", "push", "--to", place)
    two.repo.add("app", "1.1", files={"usr/bin/app": "#!/bin/sh\nexec sleep 61\n"})
    two.repo.publish()
    two.works("lock", "app", "--update")
    two.works("build", "app")
    sent = two.works("store", "push", "--to", place, "--json").json
    assert sent["packages"] == 1
    assert 1 <= sent["layers"] <= 3


def test_several_push_at_once(two: Site, plain: Registry) -> None:
    words = [sys.executable, "-m", "builder.cli.main", "store", "push", "--to", f"registry:{plain.host}/many", "--json"]
    env = environment(two.cache, two.env)
    started = [
        subprocess.Popen(words, cwd=two.folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    told = [one.communicate(timeout=120) for one in started]
    assert [one.returncode for one in started] == [0, 0, 0], [one[1][-600:] for one in told]
    plain.require_whole("many")
    there = json.loads(told[0][0])
    assert len(plain.tags("many")) == there["packages"] + there["layers"] + there["there"]


def test_a_push_that_was_killed_is_finished_by_the_next(two: Site, plain: Registry) -> None:
    place, chance = f"registry:{plain.host}/killed", random.Random(7)
    with FaultyProxy(plain.port) as proxy:
        for _ in range(4):
            before, after = len(proxy.asked), chance.randrange(2, 30)
            words = ("store", "push", "--to", f"registry:{proxy.host}/killed")
            with running(*words, cache=two.cache, cwd=two.folder, env=two.env) as started:
                while started._process.poll() is None and len(proxy.asked) < before + after:
                    time.sleep(0.002)
                if started._process.poll() is None:
                    started.signal(signal.SIGKILL)
                started.end()
            plain.require_whole("killed")
        proxy.spoil("PUT", "/manifests/", Fault(status=500), Fault(reset_after=10))
        two.works("store", "push", "--to", f"registry:{proxy.host}/killed")
    plain.require_whole("killed")
    assert two.works("store", "push", "--to", place, "--json").json["packages"] == 0


def test_a_store_that_gives_other_bytes_is_passed_over(two: Site, plain: Registry) -> None:
    """A package, and a layer that the locks know: both are had from elsewhere, or made."""
    stocked(two, plain, "lies")
    file = lockfile.read(two.folder / "repos/app/lock.yaml")
    package = next(p for lock in file.locks for p in lock.packages if p.name == "app")
    layer = next(one for lock in file.locks for one in lock.built)
    for digest in (f"sha256:{package.sha256}", layer.digest):
        path = plain.blob(digest)
        path.write_bytes(b"x" * path.stat().st_size)
    result = two.works("build", "--all", "--locked", "--to", "oci:other", cache=two.empty_cache())
    assert digests(two.folder / "other") == digests(two.folder / "out")
    assert "has the digest" in result.errors


def test_a_layer_of_another_content_than_the_lock_says_is_not_taken_by_its_key(two: Site, plain: Registry) -> None:
    """However much the store is trusted."""
    stocked(two, plain, "poison")
    two.edit("imgbuild.yaml", "workspace: site\n", "workspace: site\ntrusted_stores: true\n")
    locks = [lock for path in two.folder.rglob("lock.yaml") for lock in lockfile.read(path).locks]
    known = {f"layer-{one.cache_key}": one.digest for lock in locks for one in lock.built}
    one, other = [tag for tag in plain.tags("poison") if tag in known][:2]
    # What the lock says is not there, and under its key there is another.
    plain.forget("poison", known[one])
    manifests = plain.folder / "data/docker/registry/v2/repositories/poison/_manifests/tags"
    (manifests / one / "current/link").write_text((manifests / other / "current/link").read_text())
    result = two.works("build", "--all", "--locked", "--to", "oci:other", "--json", cache=two.empty_cache())
    assert digests(two.folder / "other") == digests(two.folder / "out")
    assert any(one["layers_made"] for one in result.json["images"])


def test_a_store_that_does_not_answer_is_done_without(two: Site) -> None:
    two.edit("imgbuild.yaml", "workspace: site\n", "workspace: site\nstores: ['registry:127.0.0.1:1/store']\n")
    result = two.works("build", "--all", "--locked", "--to", "oci:other", cache=two.empty_cache())
    assert digests(two.folder / "other") == digests(two.folder / "out")
    assert "from there" in result.errors


def test_a_locked_package_that_is_nowhere_is_told_and_all_else_is_sent(two: Site, there: Registry) -> None:
    file = lockfile.read(two.folder / "repos/app/lock.yaml")
    package = next(p for lock in file.locks for p in lock.packages if p.name == "app")
    (two.cache / "imgbuild/blobs/sha256" / package.sha256).unlink()
    two.repo.vanish("app", "1")
    two.repo.publish()
    result = two.run("store", "push", "--to", f"registry:{there.host}/partly", "--json")
    assert result.code == 1
    assert result.json["gone"] == ["app 1"]
    assert result.json["packages"] > 0
    assert "nowhere to be had any more" in result.errors
    assert f"package-{package.sha256}" not in there.tags("partly")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "no store in a registry is named"),
        (("--to", "oci:out"), "'oci:out' is no store in a registry"),
        (("--to", "registry:r.example/store:tag"), "is no store in a registry"),
        (("--to", "registry:r.example/"), "is no store in a registry"),
        (("nothing", "--to", "registry:r.example/store"), "'nothing'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_wrong_input(two: Site, words: tuple[str, ...], said: str) -> None:
    result = two.run("store", "push", *words)
    assert result.code == 2
    assert said in result.errors
