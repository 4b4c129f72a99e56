"""What an image declares → the words of ``docker run`` and ``podman run`` that give it that, and nothing more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from builder.declared import Declared
from builder.transports.engine import Kind
from dsl import quantities


@dataclass(frozen=True, slots=True)
class Place:
    """Where and as what an image runs: what the site adds to the image's own word.

    Attributes:
        name: of the container; what its volumes begin with, too.
        network: an engine's network; the engine's own if empty.
        publish: host ports by port name, 0 for a free one; ports that are not named are not published.
        env: beside the image's own.
        config: files of this machine by the paths where the image expects them.
    """

    name: str
    network: str = ""
    publish: Mapping[str, int] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Path] = field(default_factory=dict)


def words(declared: Declared, kind: Kind, place: Place, step: str = "") -> tuple[str, ...]:
    """All words after ``run``, up to and with the image and its command.

    The root is read-only, no capability is left but those declared, and only the declared folders can be written to.

    Args:
        step: run this step in place of the service.

    Raises:
        UsageError: there is no such step.
    """
    told = declared.step(step) if step else {}
    found = [*confined(declared, kind, place.name, told)]
    host = "network" in declared.run.get("platform", {}).get("host", ())
    if place.network and not host:
        found += ["--network", place.network]
    if not step and not host:
        found += [_published(*declared.ports[name], number) for name, number in place.publish.items()]
    for name, value in place.env.items():
        found += ["--env", f"{name}={value}"]
    for path, file in place.config.items():
        found += ["--volume", f"{file.absolute()}:{path}:ro"]
    return (*found, declared.reference, *told.get("command", ()))


def confined(declared: Declared, kind: Kind, volumes: str, told: Mapping[str, Any]) -> Iterator[str]:
    """The options that give an image what it declares.

    Args:
        volumes: what the names of its volumes begin with.
        told: a step of it; empty for the service.
    """
    run = declared.run
    platform, limits = run.get("platform", {}), run.get("limits", {})
    yield "--read-only"
    if kind == "podman":
        yield "--read-only-tmpfs=false"  # it would make more writable than is declared
    yield f"--stop-timeout={quantities.nanoseconds(run.get('stop_grace', '30s')) // 10**9}"
    if platform.get("privileged"):
        yield "--privileged"
    else:
        yield "--cap-drop=ALL"
        yield f"--security-opt={'apparmor=unconfined' if declared.may_mount else 'no-new-privileges'}"
        yield from (f"--cap-add={name}" for name in platform.get("capabilities", ()))
    if platform.get("unmasked") and not platform.get("privileged"):
        yield f"--security-opt={'unmask=ALL' if kind == 'podman' else 'systempaths=unconfined'}"
    if platform.get("reaper"):
        yield "--init"
    yield from (f"--{space}=host" for space in platform.get("host", ()))
    yield from (f"--device={path}" for path in platform.get("devices", ()))
    for path in platform.get("mounts", ()):
        yield from ("--volume", f"{path}:{path}")
    for path in platform.get("shared", ()):
        yield from ("--volume", f"{path}:{path}:rshared")
    yield from (f"--group-add={number}" for number in run.get("groups", ()))
    if "user" in told:
        yield from ("--user", told["user"])
    for name, value in told.get("env", {}).items():
        yield from ("--env", f"{name}={value}")
    for name, volume in run.get("volumes", {}).items():
        yield from ("--volume", f"{volumes}-{name}:{volume['path']}")
    for empty in (*run.get("writable", ()), *told.get("writable", ())):
        yield from _empty(empty, kind)
    if "memory" in limits:
        yield f"--memory={quantities.octets(limits['memory'])}"
    if "cpus" in limits:
        yield f"--cpus={cpus(limits['cpus'])}"
    if "pids" in limits:
        yield f"--pids-limit={limits['pids']}"
    if "files" in limits:
        yield f"--ulimit=nofile={limits['files']}"


def cpus(quantity: str) -> str:
    """How many processors an amount of them is: ``1.5`` of ``1500m``."""
    return f"{float(quantity[:-1]) / 1000:g}" if quantity.endswith("m") else quantity


def _published(port: int, protocol: str, number: int) -> str:
    return f"--publish=127.0.0.1:{number or ''}:{port}/{protocol}"


def _empty(place: Mapping[str, Any], kind: Kind) -> tuple[str, ...]:
    # podman 4 knows no owner of a tmpfs; a volume without a name has the owner and mode of the image's folder.
    return ("--volume", str(place["path"])) if kind == "podman" else ("--tmpfs", tmpfs(place))


def tmpfs(place: Mapping[str, Any]) -> str:
    """A folder that is empty when a container begins, as docker's ``--tmpfs`` takes it."""
    limit = f",size={quantities.octets(place['size'])}" if "size" in place else ""
    return f"{place['path']}:uid={place['uid']},gid={place['gid']},mode={place['mode']}{limit}"
