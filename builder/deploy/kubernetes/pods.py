"""A workload → its pod: containers, volumes, what they may do."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from builder.deploy import workload as workloads
from builder.deploy.kubernetes import configuration, metadata, probes, security
from builder.deploy.kubernetes.configuration import Kept
from builder.deploy.kubernetes.target import Target
from builder.deploy.workload import Step, Workload
from dsl import quantities

_FIELDS = {
    "POD_IP": "status.podIP",
    "POD_NAME": "metadata.name",
    "POD_NAMESPACE": "metadata.namespace",
    "NODE_NAME": "spec.nodeName",
    "HOST_IP": "status.hostIP",
}
"""What arguments and variables may name by ``$(POD_IP)``: only a pod knows it."""
_REFERENCE = re.compile(rf"\$\(({'|'.join(_FIELDS)})\)")
_DOLLAR = re.compile(rf"\$(?!\(({'|'.join(_FIELDS)})\))")

_LEAVES = 5
_SLEEP = (1, 30)
"""The first release that waits by itself; before it the image's own program does, if it has one."""


def service(one: Workload, target: Target) -> tuple[dict[str, Any], tuple[Kept, ...]]:
    """The pod template of a service, and what its pods are configured from.

    Steps that run at each start are its init containers: they have its volumes, which nobody else could have then.
    """
    files = configuration.files(one, target)
    given = configuration.variables(one, target, "env", one.given)
    starting = _starting(one)
    init = [_step(one, target, step, files) for step in starting]
    main = {
        **_container(one, target, one.name, one.declared.config["Cmd"], (), given),
        **_ports(one),
        **probes.of(one.declared),
        **_leaving(one, target),
        **_resources(one),
        "securityContext": security.container(one.declared, target),
        **_mounts([*_volume_mounts(one), *_writable_mounts(one, ()), *files.mounts]),
    }
    volumes = [*_volumes(one), *_writable(one, starting), *files.volumes]
    seconds = quantities.nanoseconds(one.declared.run.get("stop_grace", "30s")) // 10**9
    seconds += _LEAVES if _leaving(one, target) else 0
    spec = {
        **_pod(one, target),
        **_spread(one),
        "terminationGracePeriodSeconds": seconds,
        **({"initContainers": [each for each, _ in init]} if init else {}),
        "containers": [main],
        **({"volumes": volumes} if volumes else {}),
    }
    return _template(one, target, metadata.labels(one, target), spec), (files, given, *(kept for _, kept in init))


def job(one: Workload, target: Target, step: Step) -> tuple[dict[str, Any], tuple[Kept, ...]]:
    """The pod template of a step that runs by itself: with the configuration of its service, on empty volumes.

    What it comes after and what runs at each start runs here, too, right before it.
    """
    files = configuration.files(one, target)
    first = [other for other in _starting(one) if other.name in step.after]
    init = [_step(one, target, other, files) for other in first]
    container, variables = _step(one, target, step, files)
    volumes = [*_volumes(one, empty=True), *_writable(one, [*first, step]), *files.volumes]
    spec = {
        **_pod(one, target, network=False),
        "restartPolicy": "OnFailure",
        **({"initContainers": [each for each, _ in init]} if init else {}),
        "containers": [container],
        **({"volumes": volumes} if volumes else {}),
    }
    return _template(one, target, metadata.of_step(one, target, step), spec), (
        files,
        variables,
        *(kept for _, kept in init),
    )


def _leaving(one: Workload, target: Target) -> dict[str, Any]:
    """Let who is asked go on for a moment after its end is decided: nodes hear only then that others are to be asked."""
    if one.each_host or one.keeps or not one.declared.ports:
        return {}
    own = {"sleep": {"seconds": _LEAVES}}
    return {
        "lifecycle": {"preStop": own if target.version >= _SLEEP else {"exec": {"command": ["sleep", str(_LEAVES)]}}}
    }


def words(text: str) -> tuple[str, ...]:
    """What a text has of what only a pod knows: ``$(HOST_IP)``."""
    return tuple(dict.fromkeys(found[0] for found in _REFERENCE.finditer(text)))


def claims(one: Workload) -> dict[str, str]:
    """The volumes that are claimed of a cluster: the names of their claims."""
    if one.each_host:
        return {}
    return {name: metadata.short(f"{one.key}-{name}") for name in one.declared.run.get("volumes", {})}


def notes(one: Workload) -> Iterable[str]:
    """What is other on Kubernetes than an image says."""
    platform = one.declared.platform
    if security.privileged(one.declared) and not platform.get("privileged"):
        why = [key for key in ("unmasked", "shared", "devices") if platform.get(key)]
        yield f"{one.name} runs privileged: Kubernetes has nothing less for `{'`, `'.join(why)}`"


def _starting(one: Workload) -> tuple[Step, ...]:
    found = {step.name: step for step in one.steps if step.when == "start"}
    ordered: dict[str, Step] = {}

    def put(step: Step) -> None:
        for name in step.after:
            if name in found:
                put(found[name])
        ordered.setdefault(step.name, step)

    for step in found.values():
        put(step)
    return tuple(ordered.values())


def _template(one: Workload, target: Target, labels: Mapping[str, str], spec: dict[str, Any]) -> dict[str, Any]:
    names = tuple(each["name"] for each in (*spec.get("initContainers", ()), *spec["containers"]))
    noted = security.noted(one.declared, target, names)
    return {"metadata": {"labels": dict(labels), **({"annotations": noted} if noted else {})}, "spec": spec}


def _pod(one: Workload, target: Target, *, network: bool = True) -> dict[str, Any]:
    platform = one.declared.platform
    host = [space for space in platform.get("host", ()) if network or space != "network"]
    found: dict[str, Any] = {"serviceAccountName": target.site, "automountServiceAccountToken": False}
    found["enableServiceLinks"] = False
    found |= {f"host{'IPC' if space == 'ipc' else 'PID' if space == 'pid' else 'Network'}": True for space in host}
    if "network" in host:
        found["dnsPolicy"] = "ClusterFirstWithHostNet"
    if platform.get("reaper") and "pid" not in host:
        found["shareProcessNamespace"] = True  # its first process, of the platform's own, takes care of orphans
    found |= {"nodeSelector": dict(one.nodes)} if one.nodes else {}
    found |= {"tolerations": [_toleration(taint) for taint in one.tolerates]} if one.tolerates else {}
    found |= {"imagePullSecrets": [{"name": name} for name in target.pull_secrets]} if target.pull_secrets else {}
    return {**found, "securityContext": security.pod(one.declared)}


def _toleration(taint: str) -> dict[str, Any]:
    named, _, effect = taint.partition(":")
    key, equals, value = named.partition("=")
    told = {"operator": "Equal", "value": value} if equals else {"operator": "Exists"}
    return {"key": key, **told, **({"effect": effect} if effect else {})}


def _spread(one: Workload) -> dict[str, Any]:
    if one.replicas < 2 or one.each_host:
        return {}
    apart = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": metadata.selector(one)}}
    term = {"weight": 100, "podAffinityTerm": apart}
    return {"affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [term]}}}


def _container(
    one: Workload, target: Target, name: str, command: Sequence[str], own: Iterable[tuple[str, str]], given: Kept
) -> dict[str, Any]:
    words = [_DOLLAR.sub("$$", word) for word in command]
    names = {each["name"] for each in given.env}
    told = [{"name": key, "value": _DOLLAR.sub("$$", value)} for key, value in own if key not in names]
    told += [
        {**each, "value": _DOLLAR.sub("$$", each["value"])} if "value" in each else each for each in given.env
    ]  # fmt: skip
    texts = [*words, *(each.get("value", "") for each in told)]
    wanted = {found for text in texts for found in _REFERENCE.findall(text)}
    env = [
        {"name": each, "valueFrom": {"fieldRef": {"fieldPath": path}}}
        for each, path in _FIELDS.items()
        if each in wanted
    ]
    return {
        "name": metadata.short(name),
        "image": one.declared.reference,
        "imagePullPolicy": "IfNotPresent",
        "command": words,
        **({"env": [*env, *told]} if env or told else {}),
    }


def _step(one: Workload, target: Target, step: Step, files: Kept) -> tuple[dict[str, Any], Kept]:
    told = one.declared.step(step.name)
    variables = configuration.variables(one, target, step.name, workloads.given(one, step.name))
    own = told.get("env", {}).items()
    container = {
        **_container(one, target, step.name, told["command"], own, variables),
        **_resources(one),
        "securityContext": security.container(one.declared, target, told.get("user", "")),
        **_mounts([*_volume_mounts(one), *_writable_mounts(one, [step]), *files.mounts]),
    }
    return container, variables


def _ports(one: Workload) -> dict[str, Any]:
    found = [
        {"name": port_name(name, number), "containerPort": number, "protocol": protocol.upper()}
        for name, (number, protocol) in one.declared.ports.items()
    ]
    return {"ports": found} if found else {}


def port_name(name: str, number: int) -> str:
    """A port's name, as Kubernetes takes one: 15 characters at most, with a letter among them."""
    plain = name.replace("_", "-")
    fits = len(plain) <= 15 and "--" not in plain and re.search("[a-z]", plain)
    return plain if fits else f"port-{number}"


def _resources(one: Workload) -> dict[str, Any]:
    told = one.declared.run.get("limits", {})
    limits = {"cpu": told["cpus"]} if "cpus" in told else {}
    limits |= {"memory": quantity(told["memory"])} if "memory" in told else {}
    return {"resources": {"limits": limits}} if limits else {}


def quantity(text: str) -> str:
    """An amount of memory as Kubernetes writes it: a thousand is a small k there."""
    return f"{text[:-1]}k" if text.endswith("K") else text


def _mounts(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {"volumeMounts": list(found)} if found else {}


def _volumes(one: Workload, *, empty: bool = False) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for name, told in one.declared.run.get("volumes", {}).items():
        if empty:
            source: dict[str, Any] = {"emptyDir": {}}
        elif one.each_host:
            # Where it lies in the image is where it lies on the host: others of the host find it there.
            source = {"hostPath": {"path": told["path"], "type": "DirectoryOrCreate"}}
        else:
            source = {"persistentVolumeClaim": {"claimName": claims(one)[name]}}
        found.append({"name": f"volume-{metadata.short(name)}", **source})
    for index, path in enumerate(_host_paths(one)):
        kind = "" if path in one.declared.platform.get("devices", ()) else "DirectoryOrCreate"
        found.append({"name": f"host-{index}", "hostPath": {"path": path, "type": kind}})
    return found


def _volume_mounts(one: Workload) -> list[dict[str, Any]]:
    platform = one.declared.platform
    found: list[dict[str, Any]] = [
        {"name": f"volume-{metadata.short(name)}", "mountPath": told["path"]}
        for name, told in one.declared.run.get("volumes", {}).items()
    ]
    for index, path in enumerate(_host_paths(one)):
        shared = {"mountPropagation": "Bidirectional"} if path in platform.get("shared", ()) else {}
        found.append({"name": f"host-{index}", "mountPath": path, **shared})
    return found


def _host_paths(one: Workload) -> tuple[str, ...]:
    platform = one.declared.platform
    return tuple(path for key in ("mounts", "shared", "devices") for path in platform.get(key, ()))


def _places(one: Workload, steps: Iterable[Step]) -> dict[str, str]:
    """Folders that are empty at a start, each with its size: those of the service, and those of steps."""
    told = [*one.declared.run.get("writable", ())]
    for step in steps:
        told += one.declared.step(step.name).get("writable", ())
    return {place["path"]: place.get("size", "") for place in told}


def _writable(one: Workload, steps: Iterable[Step]) -> list[dict[str, Any]]:
    return [
        {"name": _empty(path), "emptyDir": {"sizeLimit": quantity(size)} if size else {}}
        for path, size in _places(one, steps).items()
    ]


def _writable_mounts(one: Workload, steps: Iterable[Step]) -> list[dict[str, Any]]:
    return [{"name": _empty(path), "mountPath": path} for path in _places(one, steps)]


def _empty(path: str) -> str:
    return metadata.short(f"empty{path.replace('/', '-')}")
