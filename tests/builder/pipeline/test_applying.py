"""Applying: in waves that wait, nothing twice, nothing of others removed, and stopped where a step fails."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from builder.deploy.kubernetes import metadata, objects, target
from builder.deploy.kubernetes.objects import Rendered
from builder.deploy.workload import ConfigFile, Deployment, Entrance, Step, Workload
from builder.errors import ClusterError, RolloutError
from builder.pipeline import applying
from builder.pipeline.applying import Site
from builder.report import Silent
from tests.builder.deploy.kubernetes.kit import workload
from tests.kit.memory_cluster import MemoryCluster

DATA = {"volumes": {"data": {"path": "/data", "uid": 7, "gid": 8, "mode": "0755"}}, "ports": {"base": 1}}
SITE = Site("shop", "market")
SECRET = ConfigFile("/etc/base", 0, 8, "0640", "very secret", ("base",))


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster in memory need not be waited for."""
    monkeypatch.setattr(applying, "_PAUSE", 0.0)


def rendered(*more: Workload, **changed: Any) -> Rendered:
    """A base with data and a secret, and a web that needs it, with a step before it and one after."""
    steps = (Step("sync", "before"), Step("tidy", "after"))
    commands = {step.name: {"command": ["web", step.name]} for step in steps}
    base = workload("base", run=DATA, provides=("base",), files=(SECRET,))
    web = replace(workload("web", declares=commands, needs=("base",), steps=steps), **changed)
    return objects.render(Deployment("shop", (base, web, *more), "market"), target.NEWEST)


def applied(api: MemoryCluster, found: Rendered, where: Site = SITE, **more: Any) -> list[str]:
    """Apply what is rendered: the actions of the plan, by object."""
    changes = applying.plan(api, where, applying.chosen(found, where.component))
    applying.apply(api, where, changes, Silent(), **{"wait": True, "seconds": 5, **more})
    return [f"{one.action} {one.name}" for one in changes if one.action != "keep"]


def test_what_is_needed_comes_first_and_the_same_again_does_nothing() -> None:
    api = MemoryCluster()
    found = rendered()
    applied(api, found)
    assert len(api.asked) == len(found.objects)
    assert api.asked[0] == "apply Namespace market"
    started = [line for line in api.asked if line.split()[1] in ("Job", "Deployment", "StatefulSet")]
    assert [line.partition(" Job web-")[2].partition("-")[0] or line for line in started] == [
        "apply StatefulSet base", "sync", "apply Deployment web", "tidy",
    ]  # fmt: skip
    api.asked.clear()
    assert applied(api, found) == []
    assert api.asked == []


def test_a_step_that_fails_stops_what_comes_after_it() -> None:
    api = MemoryCluster(said="no such table\n")
    found = rendered()
    (sync,) = (one["metadata"]["name"] for one in found.objects if one["metadata"]["name"].startswith("web-sync-"))
    api.broken = {sync}
    labels = {metadata.NAME: "web-sync", metadata.INSTANCE: "web-sync", metadata.SITE: "shop"}
    ended = [{"name": "sync", "state": {"terminated": {"exitCode": 1}}}]
    api.put("Pod", "p", "market", labels, status={"containerStatuses": ended})
    with pytest.raises(RolloutError, match=r"it failed: web/sync: it has failed") as failed:
        applied(api, found)
    assert "no such table" in failed.value.output
    assert "apply again" in failed.value.hint
    assert ("Deployment", "web") not in api.objects
    # The next one makes the Job that failed anew, and goes on.
    api.broken = set()
    api.asked.clear()
    applied(api, found)
    assert api.asked[:2] == [f"delete Job {sync}", f"apply Job {sync}"]
    assert ("Deployment", "web") in api.objects


def test_what_does_not_come_up_in_time_is_named_with_its_trouble() -> None:
    api = MemoryCluster(broken={"base"})
    labels = {metadata.NAME: "base", metadata.INSTANCE: "base", metadata.SITE: "shop"}
    waiting = [{"name": "base", "state": {"waiting": {"reason": "ErrImagePull", "message": "not found"}}}]
    api.put("Pod", "base-0", "market", labels, status={"containerStatuses": waiting})
    with pytest.raises(RolloutError, match=r"not there after 0 s: base: not looked at yet") as failed:
        applied(api, rendered(), seconds=0)
    assert failed.value.output == "base-0: ErrImagePull: not found"


def test_what_is_rendered_no_more_is_removed_and_nothing_else() -> None:
    api = MemoryCluster()
    applied(api, rendered(workload("old", run=DATA, files=(ConfigFile("/etc/a", 0, 0, "0644", "1"),))))
    api.put("ConfigMap", "mine", "market", {"app": "mine"})
    api.put("ConfigMap", "other-site", "market", {metadata.SITE: "other", metadata.MANAGED: metadata.MANAGER})
    owned = {"ownerReferences": [{"kind": "CronJob"}]}
    api.put(
        "Job", "of-a-cron-job", "market", metadata.of_site(target.Target((1, 31), "shop", "market")), metadata=owned
    )
    told = applied(api, rendered())
    removed = {line.partition(" ")[2] for line in told if line.startswith("remove ")}
    assert {line.split()[0] for line in removed} == {"StatefulSet", "NetworkPolicy", "Service", "ConfigMap"}
    assert ("StatefulSet", "old") not in api.objects
    # What volumes hold is never removed by the way.
    assert ("PersistentVolumeClaim", "old-data") in api.objects
    assert {("ConfigMap", "mine"), ("ConfigMap", "other-site"), ("Job", "of-a-cron-job")} <= api.objects.keys()


@pytest.mark.parametrize("known", [True, False])
def test_a_way_that_is_no_more_is_removed_also_where_there_are_no_gateways(known: bool) -> None:
    api = MemoryCluster(unknown=frozenset() if known else frozenset({"HTTPRoute"}))
    run = {"ports": {"http": 80}}
    web = {"declared": workload("web", run, {"sync": {"command": []}, "tidy": {"command": []}}).declared}
    route = Entrance("web.example", "http", gateway="public")
    applied(api, rendered(**web, entrance=replace(route, gateway="" if not known else "public")))
    kind = "HTTPRoute" if known else "Ingress"
    assert (kind, "web") in api.objects
    assert f"remove {kind} web" in applied(api, rendered(**web))
    assert (kind, "web") not in api.objects
    if not known:
        with pytest.raises(ClusterError, match="does not know"):
            applied(api, rendered(**web, entrance=route))


def test_configuration_that_may_be_rolled_back_to_stays() -> None:
    api = MemoryCluster()
    applied(api, rendered(files=(ConfigFile("/etc/a", 0, 0, "0644", "1"),)))
    (old,) = (name for kind, name in api.objects if kind == "ConfigMap")
    api.put("ReplicaSet", "web-1", "market", {metadata.SITE: "shop"}, spec={"volumes": [{"configMap": {"name": old}}]})
    applied(api, rendered(files=(ConfigFile("/etc/a", 0, 0, "0644", "2"),)))
    assert len([name for kind, name in api.objects if kind == "ConfigMap"]) == 2
    del api.objects["ReplicaSet", "web-1"]
    applied(api, rendered(files=(ConfigFile("/etc/a", 0, 0, "0644", "3"),)))
    assert len([name for kind, name in api.objects if kind == "ConfigMap"]) == 1


def test_one_component_alone() -> None:
    api = MemoryCluster()
    applied(api, rendered())
    api.asked.clear()
    changed = rendered(workload("new"), given=())
    told = applied(api, changed, replace(SITE, component="new"))
    assert told == ["create Deployment new"]
    assert api.asked == ["apply Deployment new"]


def test_a_refusal_is_told_before_anything_is_changed() -> None:
    api = MemoryCluster()
    applied(api, rendered())
    api.refused = {"web"}
    api.asked.clear()
    with pytest.raises(ClusterError, match="Deployment web cannot be applied"):
        applied(api, rendered())
    assert api.asked == []


def test_a_difference_shows_no_secret() -> None:
    api = MemoryCluster()
    found = rendered()
    said = "".join(applying.diff(one) for one in applying.plan(api, SITE, found.objects))
    assert "+kind: Secret\n" in said
    assert "characters" in said
    assert "dmVyeSBzZWNyZXQ" not in said  # base64 of it
    applied(api, found)
    changes = applying.plan(api, SITE, rendered(replicas=2).objects)
    (web,) = (one for one in changes if one.name == "Deployment web")
    assert "-  replicas: 1\n+  replicas: 2\n" in applying.diff(web)
    assert [one.name for one in changes if one.action == "create"] == ["PodDisruptionBudget web"]


def test_the_releases_that_move_are_told() -> None:
    api = MemoryCluster()
    applied(api, rendered())
    changes = applying.plan(api, SITE, rendered(version="1-r2").objects)
    told = {one.name: one.releases for one in changes if one.releases[1]}
    assert told == {"Deployment web": ("1-r1", "1-r2")}


def test_status_and_deletion() -> None:
    api = MemoryCluster()
    found = rendered()
    applied(api, found)
    rows, troubles = applying.status(api, SITE)
    assert [(row.kind, row.name, row.version, row.state.told) for row in rows] == [
        ("StatefulSet", "base", "1-r1", "1 of 1 ready"),
        ("Deployment", "web", "1-r1", "1 of 1 ready"),
        ("step", "web/sync", "1-r1", "done"),
        ("step", "web/tidy", "1-r1", "done"),
    ]
    assert troubles == ()
    api.put("ConfigMap", "mine", "market", {"app": "mine"})
    applying.delete(api, SITE, Silent(), volumes=False)
    assert {*api.objects} == {("Namespace", "market"), ("PersistentVolumeClaim", "base-data"), ("ConfigMap", "mine")}
    assert applying.delete(api, SITE, Silent(), volumes=True) == ("PersistentVolumeClaim base-data",)


def test_a_step_by_hand_runs_anew_each_time() -> None:
    steps = (Step("move"),)
    web = replace(workload("web", declares={"move": {"command": ["web", "move"]}}, steps=steps), files=(SECRET,))
    found = objects.step(Deployment("shop", (web,), "market"), target.NEWEST, web, "move")
    assert [one["kind"] for one in found] == ["Secret", "Job"]
    api = MemoryCluster(said="moved\n")
    labels = {metadata.NAME: "web-move", metadata.INSTANCE: "web-move", metadata.SITE: "shop"}
    api.put("Pod", "p", "market", labels)
    name = found[-1]["metadata"]["name"]
    assert applying.run(api, SITE, found, Silent(), seconds=5, keep=False) == "moved\n"
    assert api.asked[-2:] == [f"apply Job {name}", f"delete Job {name}"]
    assert applying.run(api, SITE, found, Silent(), seconds=5, keep=True) == "moved\n"
    api.asked.clear()
    applying.run(api, SITE, found, Silent(), seconds=5, keep=True)
    assert api.asked[1:] == [f"delete Job {name}", f"apply Job {name}"]
