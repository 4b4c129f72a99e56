"""Steps: once before or after a service, at each of its starts, or again and again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from builder.deploy.kubernetes import waves
from builder.deploy.kubernetes.metadata import WAVE
from builder.deploy.workload import ConfigFile, Step, Variable, Workload
from tests.builder.deploy.kubernetes.kit import declared, pod, rendered, workload

DATA = {"volumes": {"data": {"path": "/data", "uid": 7, "gid": 8, "mode": "0755"}}}
COMMANDS: dict[str, Any] = {
    name: {"command": ["web", name]} for name in ("init", "sync", "fill", "tidy", "migrate", "other")
}
STEPS = (
    Step("fill", "before", ("sync",)),
    Step("init", "start"),
    Step("migrate", "after"),
    Step("other"),
    Step("sync", "before"),
    Step("tidy", schedule="@daily"),
)


def planned(**more: Any) -> Workload:
    """A workload with steps of every kind, which needs a base."""
    return workload(run=DATA, declares=COMMANDS, **{"steps": STEPS, "needs": ("base",), **more})


def jobs(*ones: Workload, **more: Any) -> dict[str, Any]:
    """The Jobs by the names of their steps."""
    found = rendered(*ones, **more).values()
    return {one["metadata"]["annotations"]["imgbuild.org/step"]: one for one in found if one["kind"] == "Job"}


def test_each_is_what_it_says() -> None:
    found = rendered(planned())
    assert {*jobs(planned())} == {"web/fill", "web/sync", "web/migrate"}
    assert found["CronJob/web-tidy"]["spec"]["schedule"] == "@daily"
    assert found["CronJob/web-tidy"]["spec"]["timeZone"] == "Etc/UTC"
    old = rendered(planned(), version=(1, 20))["CronJob/web-tidy"]
    assert (old["apiVersion"], "timeZone" in old["spec"]) == ("batch/v1beta1", False)
    service = pod(found["StatefulSet/web"])
    (first,) = service["initContainers"]
    # What has the volume runs where it is.
    assert (first["command"], first["volumeMounts"]) == (["web", "init"], service["containers"][0]["volumeMounts"])
    job = pod(jobs(planned())["web/sync"])
    assert job["volumes"] == [{"name": "volume-data", "emptyDir": {}}]
    assert job["restartPolicy"] == "OnFailure"


def test_of_what_is_no_service_only_steps_run() -> None:
    files = (ConfigFile("/etc/tool", 0, 8, "0640", "x"),)
    tool = replace(planned(files=files), declared=declared("web", {"service": False}, COMMANDS))
    found = rendered(tool)
    kinds = {one["kind"] for one in found.values()}
    assert kinds == {"Namespace", "ServiceAccount", "NetworkPolicy", "ConfigMap", "Job", "CronJob"}


def test_they_come_in_waves() -> None:
    base = workload("base", provides=("base",))
    found = rendered(planned(), base)
    wave = {name: int(one["metadata"]["annotations"][WAVE]) for name, one in found.items()}
    wave |= {name: int(one["metadata"]["annotations"][WAVE]) for name, one in jobs(planned(), base).items()}
    order = ["Namespace/market", "Deployment/base", "web/sync", "web/fill", "StatefulSet/web", "web/migrate"]
    assert [wave[name] for name in order] == sorted({wave[name] for name in order})
    assert list(found) == sorted(found, key=lambda name: wave[name])


def test_images_of_a_component_take_turns_between_its_steps() -> None:
    steps = (Step("expand", "before"), Step("contract", "after"), Step("rows", "after", ("contract",)))
    ones = (
        workload("compute", component="nova", after=("conductor", "api", "elsewhere")),
        workload("user", needs=("nova",)),
        workload("api", component="nova", after=("conductor",), declares=_commands(steps), steps=steps),
        workload("conductor", component="nova", provides=("nova",)),
    )
    found = [one for one in rendered(*ones).values() if one["kind"] in ("Job", "Deployment")]
    names = [one["metadata"]["annotations"].get("imgbuild.org/step", one["metadata"]["name"]) for one in found]
    assert names == ["api/expand", "conductor", "api", "compute", "api/contract", "api/rows", "user"]
    assert len({one["metadata"]["annotations"][WAVE] for one in found}) == len(found)


def _commands(steps: tuple[Step, ...]) -> dict[str, Any]:
    return {step.name: {"command": ["web", step.name]} for step in steps}


def test_a_job_is_named_by_all_that_it_runs() -> None:
    one = planned()
    name = jobs(one)["web/sync"]["metadata"]["name"]
    assert name == jobs(planned())["web/sync"]["metadata"]["name"]
    image = replace(one.declared, reference="r.example/web:2@sha256:1")
    others = (
        replace(one, declared=image),
        replace(one, declared=declared("web", DATA, COMMANDS | {"sync": {"command": ["web", "more"]}})),
        replace(one, files=(ConfigFile("/etc/a", 0, 0, "0644", "1"),)),
        replace(one, steps=tuple(replace(step, given=(Variable("A", "1"),)) for step in STEPS)),
    )
    names = {name, *(jobs(other)["web/sync"]["metadata"]["name"] for other in others)}
    assert len(names) == 1 + len(others)


def test_a_step_has_the_variables_of_its_service_and_its_own() -> None:
    told = COMMANDS | {"sync": {"command": ["sync"], "env": {"OWN": "1"}, "user": "0:0"}}
    one = workload(
        run=DATA,
        declares=told,
        given=(Variable("A", "service"), Variable("B", "service")),
        steps=(Step("sync", "before", given=(Variable("B", "s3cret", ("b",)),)),),
    )
    found = rendered(one)
    container = pod(jobs(one)["web/sync"])["containers"][0]
    env = {each["name"]: each.get("value", each.get("valueFrom")) for each in container["env"]}
    assert (env["OWN"], env["A"]) == ("1", "service")
    secret = env["B"]["secretKeyRef"]["name"]
    assert found[f"Secret/{secret}"]["data"] == {"B": "czNjcmV0"}
    assert (container["securityContext"]["runAsUser"], container["securityContext"]["runAsNonRoot"]) == (0, False)


def test_what_is_done_once_is_not_done_in_each_group() -> None:
    ones = [planned(group=name) for name in ("east", "west")]
    assert len(jobs(*ones)) == 3


def test_levels() -> None:
    ones = (
        workload("c", needs=("two", "outside")),
        workload("b", needs=("one",), provides=("two",)),
        workload("a", provides=("one", "three"), needs=("three",)),
    )
    assert waves.of(ones).levels == {"a": 1, "b": 2, "c": 3}


def test_what_runs_at_each_start_runs_before_a_step_that_comes_after_it() -> None:
    steps = (Step("init", "start"), Step("sync", "before", ("init",)), Step("fill", "before", ("sync",)))
    found = jobs(planned(steps=steps))
    assert [one["command"] for one in pod(found["web/sync"])["initContainers"]] == [["web", "init"]]
    assert pod(found["web/sync"])["volumes"] == [{"name": "volume-data", "emptyDir": {}}]
    assert "initContainers" not in pod(found["web/fill"])
