"""A workload → the object that keeps it running, its volumes, and what protects it from drained nodes."""

from __future__ import annotations

from typing import Any

from builder.deploy.kubernetes import metadata, pods
from builder.deploy.kubernetes.target import Target, since_stable
from builder.deploy.kubernetes.waves import FIRST
from builder.deploy.workload import Workload

_SIZE = "1Gi"
BACK_TO = "imgbuild.org/back-to"
"""The annotation that says which version is the oldest that can run on what this one leaves behind."""


def runner(one: Workload, target: Target, template: dict[str, Any], wave: int) -> dict[str, Any]:
    """A DaemonSet for what works on its host, a StatefulSet for what keeps something, a Deployment for all else."""
    noted = {BACK_TO: one.back_to} if one.back_to else {}
    described = metadata.described(metadata.short(one.key), target, metadata.labels(one, target), wave, noted)
    selector = {"matchLabels": metadata.selector(one)}
    kept: dict[str, Any] = {"revisionHistoryLimit": 3, "selector": selector, "template": template}
    if one.each_host:
        update: dict[str, Any] = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}}
        return _object("DaemonSet", described, {"updateStrategy": update, **kept})
    if one.keeps:
        own = {"replicas": one.replicas, "serviceName": metadata.short(one.name)}
        return _object("StatefulSet", described, {**own, "podManagementPolicy": "Parallel", **kept})
    # Where a port is the host's own, the old one must go before the new one comes.
    surge, unavailable = (0, 1) if one.on_host_network else (1, 0)
    update = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}
    return _object("Deployment", described, {"replicas": one.replicas, "strategy": update, **kept})


def claims(one: Workload, target: Target) -> tuple[dict[str, Any], ...]:
    """The claims of its volumes. They are no templates of the StatefulSet, which could never be changed."""
    labels = metadata.lasting(one, target)
    found = []
    for name, called in pods.claims(one).items():
        size = pods.quantity(one.storage.get(name, _SIZE))
        mode = "ReadWriteOnce" if one.keeps else "ReadWriteMany"
        spec = {"accessModes": [mode], "resources": {"requests": {"storage": size}}}
        spec |= {"storageClassName": one.storage_class} if one.storage_class else {}
        described = metadata.described(called, target, labels, FIRST)
        found.append({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": described, "spec": spec})
    return tuple(found)


def budget(one: Workload, target: Target) -> dict[str, Any] | None:
    """Of several, only one at a time goes when nodes are drained."""
    if one.each_host or one.replicas < 2:
        return None
    version = since_stable("policy", target.version)
    described = metadata.described(metadata.short(one.key), target, metadata.lasting(one, target), FIRST)
    spec = {"maxUnavailable": 1, "selector": {"matchLabels": metadata.selector(one)}}
    return {"apiVersion": version, "kind": "PodDisruptionBudget", "metadata": described, "spec": spec}


def _object(kind: str, described: dict[str, Any], spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": described, "spec": spec}
