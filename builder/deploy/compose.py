"""A deployment → a file for docker compose (the Compose Specification), whose services have what their images declare.

Steps are services of the profile ``steps``: nothing starts them but ``docker compose run``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from builder.deploy import workload as workloads
from builder.deploy.engine_words import cpus, tmpfs
from builder.deploy.workload import Deployment, Variable, Workload
from dsl import quantities

_HEAD = """# Rendered by `imgbuild deploy render`: change the site's file, not this one.
# docker compose up -d        docker compose run --rm IMAGE-STEP
"""


def text(deployment: Deployment) -> str:
    """The text of ``compose.yaml``."""
    services: dict[str, Any] = {}
    volumes: dict[str, Any] = {}
    for one in deployment.workloads:
        if one.declared.service:
            services[one.name] = {**_common(one), **_service(one)}
        for step in one.declared.steps:
            services[f"{one.name}-{step}"] = {**_common(one, one.declared.step(step)), **_step(one, step)}
        volumes |= {f"{one.name}-{name}": {} for name in one.declared.run.get("volumes", {})}
    described = {"services": services, **({"volumes": volumes} if volumes else {})}
    return _HEAD + yaml.safe_dump(described, sort_keys=False, allow_unicode=True, width=120)


def _service(one: Workload) -> dict[str, Any]:
    declared = one.declared
    grace = quantities.nanoseconds(declared.run.get("stop_grace", "30s")) // 10**9
    ports = [f"{at}:{declared.ports[name][0]}/{declared.ports[name][1]}" for name, at in one.publish.items()]
    return {
        "container_name": one.name,
        **_environment({}, one.given),
        "restart": "unless-stopped",
        "stop_grace_period": f"{grace}s",
        **({"ports": ports} if ports and not one.on_host_network else {}),
    }


def _step(one: Workload, name: str) -> dict[str, Any]:
    told = one.declared.step(name)
    return {
        "profiles": ["steps"],
        "command": _plain(told["command"]),
        **({"user": told["user"]} if "user" in told else {}),
        **_environment(told.get("env", {}), workloads.given(one, name)),
    }


def _environment(own: Mapping[str, str], given: Iterable[Variable]) -> dict[str, Any]:
    found = {**own, **{one.name: one.text for one in given}}
    return {"environment": {name: _dollars(value) for name, value in found.items()}} if found else {}


def _common(one: Workload, step: Mapping[str, Any] | None = None) -> dict[str, Any]:
    declared, run, platform = one.declared, one.declared.run, one.declared.platform
    limits = run.get("limits", {})
    found: dict[str, Any] = {"image": declared.reference, "read_only": True}
    if platform.get("privileged"):
        found["privileged"] = True
    else:
        rules = ["apparmor=unconfined" if declared.may_mount else "no-new-privileges:true"]
        rules += ["systempaths=unconfined"] if platform.get("unmasked") else []
        found |= {"cap_drop": ["ALL"], "security_opt": rules}
        found |= {"cap_add": list(platform["capabilities"])} if platform.get("capabilities") else {}
    found |= {"init": True} if platform.get("reaper") else {}
    for space in platform.get("host", ()):
        found |= {"network_mode": "host"} if space == "network" else {space: "host"}
    found |= {"devices": [f"{path}:{path}" for path in platform["devices"]]} if platform.get("devices") else {}
    found |= {"group_add": [str(number) for number in run["groups"]]} if run.get("groups") else {}
    mounts = [f"{one.name}-{name}:{volume['path']}" for name, volume in run.get("volumes", {}).items()]
    mounts += [f"{path}:{path}" for path in platform.get("mounts", ())]
    mounts += [f"{path}:{path}:rshared" for path in platform.get("shared", ())]
    mounts += [f"./{workloads.place(one, file)}:{file.path}:ro" for file in one.files]
    found |= {"volumes": mounts} if mounts else {}
    empty = [tmpfs(place) for place in (*run.get("writable", ()), *(step or {}).get("writable", ()))]
    found |= {"tmpfs": empty} if empty else {}
    found |= {"mem_limit": quantities.octets(limits["memory"])} if "memory" in limits else {}
    found |= {"cpus": float(cpus(limits["cpus"]))} if "cpus" in limits else {}
    found |= {"pids_limit": limits["pids"]} if "pids" in limits else {}
    found |= {"ulimits": {"nofile": limits["files"]}} if "files" in limits else {}
    return found


def _plain(command: list[str]) -> list[str]:
    return [_dollars(word) for word in command]


def _dollars(text_: str) -> str:
    # Compose puts variables of its own environment in place of a single one.
    return text_.replace("$", "$$")
