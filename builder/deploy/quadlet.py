"""A deployment → units of podman's Quadlet (podman-systemd.unit(5)), by which systemd runs its containers.

A step is a unit that runs once, when it is started. Keys are those of podman 4.6 and newer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from builder.deploy import workload as workloads
from builder.deploy.engine_words import cpus
from builder.deploy.workload import Deployment, Workload
from dsl import quantities

_HEAD = "# Rendered by `imgbuild deploy render`: change the site's file, not this one."
Pairs = list[tuple[str, str]]


def units(deployment: Deployment, folder: str) -> dict[str, str]:
    """The text of each unit by its file's name.

    Args:
        folder: where rendered files of configuration lie when the units run, absolute.
    """
    network = f"{deployment.site}.network"
    found = {network: _unit({"Network": [("NetworkName", deployment.site)]})}
    for one in deployment.workloads:
        if one.declared.service:
            found[f"{one.name}.container"] = _service(one, network, folder)
        for step in one.declared.steps:
            found[f"{one.name}-{step}.container"] = _step(one, step, network, folder)
        for name in one.declared.run.get("volumes", {}):
            found[f"{one.name}-{name}.volume"] = _unit({"Volume": [("VolumeName", f"{one.name}-{name}")]})
    return found


def _service(one: Workload, network: str, folder: str) -> str:
    ports = one.declared.ports
    container = _common(one, one.name, network, folder, {"env": {each.name: each.text for each in one.given}})
    if not one.on_host_network:
        container += [("PublishPort", f"{at}:{ports[name][0]}/{ports[name][1]}") for name, at in one.publish.items()]
    grace = quantities.nanoseconds(one.declared.run.get("stop_grace", "30s")) // 10**9
    container.append(("PodmanArgs", f"--stop-timeout={grace}"))
    service = [("Restart", "always"), ("TimeoutStopSec", str(grace + 30))]
    return _unit(
        {
            "Unit": [("Description", one.declared.summary)],
            "Container": container,
            "Service": service,
            "Install": [("WantedBy", "multi-user.target default.target")],
        }
    )


def _step(one: Workload, step: str, network: str, folder: str) -> str:
    told = one.declared.step(step)
    told["env"] = {**told.get("env", {}), **{each.name: each.text for each in workloads.given(one, step)}}
    container = _common(one, f"{one.name}-{step}", network, folder, told)
    container.append(("Exec", " ".join(_quoted(word) for word in told["command"])))
    description = f"{step} of {one.name}"
    return _unit({"Unit": [("Description", description)], "Container": container, "Service": [("Type", "oneshot")]})


def _common(one: Workload, name: str, network: str, folder: str, step: Mapping[str, Any]) -> Pairs:
    declared, run, platform = one.declared, one.declared.run, one.declared.platform
    limits = run.get("limits", {})
    found: Pairs = [("ContainerName", name), ("Image", declared.reference), ("Pull", "missing"), ("ReadOnly", "true")]
    found.append(("ReadOnlyTmpfs", "false"))  # it would make more writable than is declared
    if platform.get("privileged"):
        found.append(("PodmanArgs", "--privileged"))
    else:
        rules = (
            ("PodmanArgs", "--security-opt=apparmor=unconfined") if declared.may_mount else ("NoNewPrivileges", "true")
        )
        found += [("DropCapability", "all"), rules]
        found += [("Unmask", "ALL")] if platform.get("unmasked") else []
        found += [("AddCapability", capability) for capability in platform.get("capabilities", ())]
    found += [("RunInit", "true")] if platform.get("reaper") else []
    found.append(("Network", "host" if one.on_host_network else network))
    found += [("PodmanArgs", f"--{space}=host") for space in platform.get("host", ()) if space != "network"]
    found += [("AddDevice", path) for path in platform.get("devices", ())]
    found += [("GroupAdd", str(number)) for number in run.get("groups", ())]
    if "user" in step:
        user, _, group = str(step["user"]).partition(":")
        found += [("User", user), *([("Group", group)] if group else [])]
    found += [("Environment", _quoted(f"{key}={value}")) for key, value in step.get("env", {}).items()]
    for volume, told in run.get("volumes", {}).items():
        found.append(("Volume", f"{one.name}-{volume}.volume:{told['path']}"))
    found += [("Volume", f"{path}:{path}") for path in platform.get("mounts", ())]
    found += [("Volume", f"{path}:{path}:rshared") for path in platform.get("shared", ())]
    found += [("Volume", f"{folder}/{workloads.place(one, file)}:{file.path}:ro") for file in one.files]
    # A tmpfs of podman knows no owner; a volume without a name has the owner and mode of the image's folder.
    found += [("Volume", str(place["path"])) for place in (*run.get("writable", ()), *step.get("writable", ()))]
    found += [("PodmanArgs", f"--memory={quantities.octets(limits['memory'])}")] if "memory" in limits else []
    found += [("PodmanArgs", f"--cpus={cpus(limits['cpus'])}")] if "cpus" in limits else []
    found += [("PidsLimit", str(limits["pids"]))] if "pids" in limits else []
    found += [("Ulimit", f"nofile={limits['files']}")] if "files" in limits else []
    return found


def _unit(sections: Mapping[str, Iterable[tuple[str, str]]]) -> str:
    lines = [_HEAD]
    for section, pairs in sections.items():
        lines += ["", f"[{section}]", *(f"{key}={value}" for key, value in pairs)]
    return "\n".join(lines) + "\n"


def _quoted(word: str) -> str:
    """A word of a unit (systemd.syntax(7)): quoted where it has blanks, its specifiers and variables doubled."""
    word = word.replace("\\", "\\\\").replace("%", "%%").replace("$", "$$")
    if word and not any(mark in word for mark in " \t\n'\""):
        return word
    inner = word.replace('"', '\\"').replace("\n", "\\n")
    return f'"{inner}"'
