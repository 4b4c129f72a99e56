"""Releases that move at a site: only what has to do with them, in order, and back again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from builder.deploy.kubernetes import metadata, objects, target
from builder.deploy.kubernetes.objects import Rendered
from builder.deploy.workload import ConfigFile, Deployment, Step
from builder.errors import ClusterError, RolloutError, UsageError
from builder.pipeline import applying, moving
from builder.pipeline.moving import Moves
from builder.report import Silent
from tests.builder.deploy.kubernetes.kit import workload
from tests.builder.pipeline.test_applying import SITE, rendered
from tests.kit.memory_cluster import MemoryCluster


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster in memory need not be waited for."""
    monkeypatch.setattr(applying, "_PAUSE", 0.0)


def release(number: int, **more: Any) -> Rendered:
    """The web in a release of its own, by its own digest; the base stays."""
    web = workload("web")
    declared = replace(web.declared, reference=f"r.example/web:1-r{number}@sha256:{number:064}")
    return rendered(declared=replace(declared, config=rendered_config()), version=f"1-r{number}", **more)


def rendered_config() -> Any:
    """What the web says of itself, with its steps."""
    steps = {name: {"command": ["web", name]} for name in ("sync", "tidy")}
    return workload("web", declares=steps).declared.config


def roll(api: MemoryCluster, found: Moves) -> None:
    applying.apply(api, SITE, found.changes, Silent(), wait=True, seconds=5, way_on="go on")


def planned(api: MemoryCluster, found: Rendered) -> Moves:
    return moving.of(applying.plan(api, SITE, found.objects))


@pytest.fixture
def api() -> MemoryCluster:
    """A cluster on which the first release runs."""
    found = MemoryCluster(history=True)
    applying.apply(found, SITE, applying.plan(found, SITE, release(1).objects), Silent(), wait=True, seconds=5)
    found.asked.clear()
    return found


def image(api: MemoryCluster) -> str:
    return str(api.objects["Deployment", "web"]["spec"]["template"]["spec"]["containers"][0]["image"])


def test_only_what_moves_is_rolled_in_order(api: MemoryCluster) -> None:
    found = planned(api, release(2))
    assert [(one.name, one.before, one.after) for one in found.rows] == [("web", "1-r1", "1-r2")]
    assert found.order == (("web/sync",), ("web",), ("web/tidy",))
    assert found.releases == (("web", "1-r1", "1-r2"),)
    roll(api, found)
    assert [line.rsplit("-", 1)[0] for line in api.asked] == [
        "apply Job web-sync", "apply Deployment web", "apply Job web-tidy", "delete Job web-sync", "delete Job web-tidy",
    ]  # fmt: skip
    assert planned(api, release(2)).rows == ()


def test_other_changes_are_left(api: MemoryCluster) -> None:
    found = planned(api, rendered(workload("new")))
    assert found.rows == ()
    assert {one.name for one in found.left} >= {"Deployment new"}
    assert found.changes == ()
    # The configuration of what moves comes along, since its pods name it.
    file = ConfigFile("/etc/a", 0, 0, "0644", "1")
    (config,) = (
        one.name for one in planned(api, release(2, files=(file,))).changes if one.name.startswith("ConfigMap")
    )
    assert config.startswith("ConfigMap web-config-")


@pytest.mark.parametrize("failing", ["sync", "web", "tidy"])
def test_what_fails_leaves_the_old_one_and_the_next_update_goes_on(api: MemoryCluster, failing: str) -> None:
    new = release(2)
    api.broken = {
        one["metadata"]["name"] for one in new.objects if one["metadata"]["name"].startswith(f"web-{failing}-")
    } or {"web"}  # fmt: skip
    before = image(api)
    with pytest.raises(RolloutError) as failed:
        applying.apply(api, SITE, planned(api, new).changes, Silent(), wait=True, seconds=0.1, way_on="go on")
    assert failed.value.hint.endswith("; go on")
    assert (image(api) == before) == (failing == "sync")
    api.broken = set()
    again = planned(api, new)
    assert [one.name for one in again.rows] == ["web"]
    roll(api, again)
    assert planned(api, new).rows == ()
    assert image(api).endswith("2")


def upgrade(number: int) -> Rendered:
    """A release of a component whose old and new versions share a database while it rolls."""
    steps = (Step("expand", "before"), Step("contract", "after"))
    commands = {step.name: {"command": ["api", step.name]} for step in steps}
    ones = (
        workload("api", declares=commands, component="nova", after=("conductor",), steps=steps),
        workload("conductor", component="nova"),
    )
    reference = f"r.example/nova:{number}@sha256:{number:064}"
    moved = (replace(one, declared=replace(one.declared, reference=reference), version=f"{number}-r1") for one in ones)
    return objects.render(Deployment("shop", tuple(moved), "market"), target.NEWEST)


def test_nothing_is_contracted_while_an_old_version_runs() -> None:
    api = MemoryCluster()
    applying.apply(api, SITE, applying.plan(api, SITE, upgrade(1).objects), Silent(), wait=True, seconds=5)
    found = planned(api, upgrade(2))
    assert found.order == (("api/expand",), ("conductor",), ("api",), ("api/contract",))
    api.asked.clear()
    api.broken = {"api"}
    with pytest.raises(RolloutError):
        applying.apply(api, SITE, found.changes, Silent(), wait=True, seconds=0.1)
    assert [line.rpartition("-")[0] or line for line in api.asked] == [
        "apply Job api-expand", "apply Deployment conductor", "apply Deployment api",
    ]  # fmt: skip
    api.broken = set()
    roll(api, planned(api, upgrade(2)))
    assert any(line.startswith("apply Job api-contract-") for line in api.asked)


def test_back_to_what_ran_before_and_forth_again(api: MemoryCluster) -> None:
    old = image(api)
    roll(api, planned(api, release(2)))
    new = image(api)
    api.objects["Deployment", "web"]["spec"]["replicas"] = 1
    found = moving.back(api, SITE)
    assert [(one.name, one.before, one.after) for one in found.rows] == [("web", "1-r2", "1-r1")]
    assert found.order == (("web",),)
    api.asked.clear()
    roll(api, found)
    assert api.asked == ["apply Deployment web"]
    assert image(api) == old
    web = api.objects["Deployment", "web"]
    assert web["metadata"]["labels"][metadata.VERSION] == "1-r1"
    assert "pod-template-hash" not in web["spec"]["template"]["metadata"]["labels"]
    # What the locks name is an update again; and a rollback is taken back by another.
    assert planned(api, release(2)).releases == (("web", "1-r1", "1-r2"),)
    roll(api, moving.back(api, SITE))
    assert image(api) == new


def test_only_what_was_rolled_last_goes_back(api: MemoryCluster) -> None:
    roll(api, planned(api, release(2)))
    api.objects["StatefulSet", "base"]["metadata"]["annotations"][applying.ROLLED] = "2020"
    assert [one.name for one in moving.back(api, SITE).rows] == ["web"]
    with pytest.raises(UsageError, match="StatefulSet base has no version before this one"):
        moving.back(api, replace(SITE, component="base"))


def test_what_was_never_rolled_does_not_go_back(api: MemoryCluster) -> None:
    with pytest.raises(UsageError, match="nothing of shop was rolled here"):
        moving.back(api, SITE)


def test_a_definition_says_how_far_back_one_may_go(api: MemoryCluster) -> None:
    roll(api, planned(api, release(2, back_to="1")))
    assert [one.after for one in moving.back(api, SITE).rows] == ["1-r1"]
    roll(api, planned(api, release(3, back_to="1.1")))
    with pytest.raises(UsageError, match=r"web 1-r3 cannot go back to 1-r2: its definition says `back_to: 1\.1`"):
        moving.back(api, SITE)


def test_what_it_was_configured_from_must_be_there(api: MemoryCluster) -> None:
    file = ConfigFile("/etc/a", 0, 0, "0644", "1")
    roll(api, planned(api, release(2, files=(file,))))
    roll(api, planned(api, release(3)))
    (name,) = (name for kind, name in api.objects if kind == "ConfigMap")
    del api.objects["ConfigMap", name]
    with pytest.raises(ClusterError, match=f"ConfigMap {name}, which it had, is gone"):
        moving.back(api, SITE)
