"""Deployments of few lines, and their objects by kind and name."""

from __future__ import annotations

import json
from typing import Any

from builder.declared import Declared
from builder.deploy.kubernetes import objects
from builder.deploy.kubernetes.target import NEWEST
from builder.deploy.workload import Deployment, Workload

Objects = dict[str, Any]


def declared(
    name: str, run: dict[str, Any] | None = None, steps: dict[str, Any] | None = None, user: str = "7:8"
) -> Declared:
    """What an image says of itself."""
    labels = {"org.opencontainers.image.title": name, "org.imgbuild.run": json.dumps(run or {})}
    labels |= {f"org.imgbuild.step.{step}": json.dumps(told) for step, told in (steps or {}).items()}
    return Declared(
        f"r.example/{name}:1-r1@sha256:{'0' * 64}", {"User": user, "Cmd": [name, "--serve"], "Labels": labels}
    )


def workload(
    name: str = "web",
    run: dict[str, Any] | None = None,
    declares: dict[str, Any] | None = None,
    user: str = "7:8",
    **more: Any,
) -> Workload:
    """A workload of an image.

    Args:
        declares: the steps that the image says it has.
        more: what the site knows of it.
    """
    return Workload(name, declared(name, run, declares, user), **{"component": name, "version": "1-r1", **more})


def rendered(*workloads: Workload, version: tuple[int, int] = NEWEST) -> Objects:
    """The objects of a site, by ``Kind/name``."""
    found = objects.render(Deployment("shop", workloads, "market"), version)
    return {f"{one['kind']}/{one['metadata']['name']}": one for one in found.objects}


def pod(of: Objects) -> Any:
    """The specification of an object's pods."""
    spec = of["spec"]
    return spec.get("jobTemplate", {}).get("spec", spec)["template"]["spec"]
