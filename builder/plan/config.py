"""How an image runs, as the ``config`` member of an OCI config (image-spec, config.md#properties)."""

from __future__ import annotations

import json
from typing import Any

from builder.model.digest import Digest
from builder.plan.accounts import Numbers
from dsl import model, quantities
from dsl.catalog import CatalogComponent, Definition

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def describe(
    component: CatalogComponent, definition: Definition, numbers: Numbers, defaults: model.Defaults, lock: Digest
) -> dict[str, Any]:
    """The config of an image, all but the label of its version.

    Args:
        lock: the digest of its lock, by which the image leads back to it.
    """
    image = definition.model
    assert isinstance(image, model.ImageDefinition), "only images run"
    run = image.run
    uid, gid = numbers.uid(run.user), numbers.gid(run.group) if run.group else numbers.primary_gid(run.user)
    described: dict[str, Any] = {
        "User": f"{uid}:{gid}",
        "Cmd": list(run.command),
        "Env": sorted(f"{name}={value}" for name, value in {"PATH": PATH, **run.env}.items()),
        "WorkingDir": run.workdir,
        "StopSignal": run.stop_signal,
        "Labels": {**_labels(component, definition, image, numbers, defaults), "org.imgbuild.lock": lock},
    }
    if run.ports:
        described["ExposedPorts"] = {_port(port): {} for port in run.ports.values()}
    if run.volumes:
        described["Volumes"] = {v if isinstance(v, str) else v.path: {} for v in run.volumes.values()}
    if run.health and run.health.exec:
        described["Healthcheck"] = {
            "Test": ["CMD", *run.health.exec],
            "Interval": quantities.nanoseconds(run.health.interval),
            "Timeout": quantities.nanoseconds(run.health.timeout),
            "StartPeriod": quantities.nanoseconds(run.health.start),
            "Retries": run.health.retries,
        }
    return described


def with_version(described: dict[str, Any], tag: str) -> dict[str, Any]:
    """The config with its last label."""
    labels = {**described["Labels"], "org.opencontainers.image.version": tag}
    return {**described, "Labels": dict(sorted(labels.items()))}


def _labels(
    component: CatalogComponent,
    definition: Definition,
    image: model.ImageDefinition,
    numbers: Numbers,
    defaults: model.Defaults,
) -> dict[str, str]:
    product = component.model
    labels = {
        "org.opencontainers.image.title": definition.name,
        "org.opencontainers.image.description": image.summary,
        "org.opencontainers.image.url": product.homepage,
        "org.opencontainers.image.licenses": product.license,
        "org.opencontainers.image.authors": product.maintainer or defaults.maintainer,
        "org.imgbuild.component": component.name,
        "org.imgbuild.run": _json(_run(image.run, numbers)),
    }
    for name, step in image.steps.items():
        labels[f"org.imgbuild.step.{name}"] = _json(_step(step, image.run, numbers))
    if image.config:
        labels["org.imgbuild.config"] = _json({path: _config(file, numbers) for path, file in image.config.items()})
    for text in (defaults.labels, product.labels, *(x.model.labels for x in definition.chain())):
        labels |= text
    return {name: value for name, value in sorted(labels.items()) if value is not None}


# What OCI has no field for; a platform reads it here, or a person from `imgbuild inspect`. With numbers for names,
# since a platform knows no names of the image.


def _run(run: model.Run, numbers: Numbers) -> dict[str, Any]:
    plain = ("service", "ports", "limits", "platform", "health", "stop_grace")
    described = {key: value for key, value in run.said().items() if key in plain}
    if run.groups:
        described["groups"] = [numbers.gid(name) for name in run.groups]
    if run.volumes:
        described["volumes"] = {name: _place(volume, run, numbers) for name, volume in run.volumes.items()}
    if run.writable:
        described["writable"] = [_place(place, run, numbers) for place in run.writable]
    return described


def _step(step: model.Step, run: model.Run, numbers: Numbers) -> dict[str, Any]:
    described = {key: value for key, value in step.said().items() if key in ("command", "env", "needs")}
    if step.user:
        described["user"] = f"{numbers.uid(step.user)}:{numbers.primary_gid(step.user)}"
    if step.writable:
        described["writable"] = [_place(place, run, numbers) for place in step.writable]
    return described


def _config(file: str | model.ConfigFile, numbers: Numbers) -> dict[str, Any]:
    told = model.ConfigFile() if isinstance(file, str) else file
    uid, gid = numbers.of(told.owner, told.group)
    return {"uid": uid, "gid": gid, "mode": told.mode, **({"optional": True} if told.optional else {})}


def _place(place: str | model.Volume | model.Writable, run: model.Run, numbers: Numbers) -> dict[str, Any]:
    if isinstance(place, str):
        return {"path": place, "uid": numbers.uid(run.user), "gid": numbers.primary_gid(run.user), "mode": "0755"}
    uid, gid = numbers.of(place.owner, place.group)
    size = {"size": place.size} if isinstance(place, model.Writable) and place.size else {}
    return {"path": place.path, "uid": uid, "gid": gid, "mode": place.mode, **size}


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _port(port: int | model.ListeningPort) -> str:
    return f"{port}/tcp" if isinstance(port, int) else f"{port.port}/{port.protocol}"
