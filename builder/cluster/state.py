"""An object as the cluster has it → whether it is what it is to be, cannot become so, or what is missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class State:
    """How an object is.

    Attributes:
        done: it is what it is to be: rolled out, ended well.
        failed: it will not become so by itself.
        told: in a few words: ``1 of 2 ready``.
    """

    done: bool
    told: str = ""
    failed: bool = False


def of(one: Mapping[str, Any]) -> State:
    """The state of an object."""
    status = one.get("status") or {}
    if one["kind"] == "Job":
        return _job(status)
    if one["kind"] not in ("Deployment", "StatefulSet", "DaemonSet"):
        return State(True)
    if status.get("observedGeneration", 0) < one["metadata"].get("generation", 0):
        return State(False, "not looked at yet")
    if one["kind"] == "DaemonSet":
        wanted = status.get("desiredNumberScheduled", 0)
        return _rolled(wanted, status.get("updatedNumberScheduled", 0), status.get("numberAvailable", 0), wanted)
    wanted = one["spec"].get("replicas", 1)
    updated, there = status.get("updatedReplicas", 0), status.get("replicas", 0)
    if one["kind"] == "StatefulSet":
        # It does not count what is updated once all are.
        if status.get("currentRevision") == status.get("updateRevision"):
            updated = max(updated, status.get("currentReplicas", 0))
        return _rolled(wanted, updated, status.get("readyReplicas", 0), there)
    late = any(one["type"] == "Progressing" and one["status"] == "False" for one in status.get("conditions") or ())
    found = _rolled(wanted, updated, status.get("availableReplicas", 0), there)
    return State(found.done, found.told, failed=late and not found.done)


def troubles(pods: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """Why pods do not run, in the platform's own words, each once."""
    found: dict[str, None] = {}
    for pod in pods:
        name = pod["metadata"]["name"]
        for condition in pod.get("status", {}).get("conditions") or ():
            if condition["type"] == "PodScheduled" and condition["status"] == "False":
                found[f"{name}: {condition.get('message') or condition.get('reason')}"] = None
        for container in _containers(pod):
            waiting = (container.get("state") or {}).get("waiting") or {}
            if waiting.get("reason") not in (None, "PodInitializing", "ContainerCreating"):
                found[f"{name}: {waiting['reason']}{_colon(waiting.get('message'))}"] = None
    return tuple(found)


def failing(pod: Mapping[str, Any]) -> str:
    """The container of a pod that ended badly last; empty if none did."""
    for container in _containers(pod):
        for key in ("state", "lastState"):
            ended = (container.get(key) or {}).get("terminated") or {}
            if ended.get("exitCode", 0) != 0:
                return str(container["name"])
    return ""


def _containers(pod: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    status = pod.get("status") or {}
    return (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ()))


def _colon(text: str | None) -> str:
    return f": {text}" if text else ""


def _job(status: Mapping[str, Any]) -> State:
    for condition in status.get("conditions") or ():
        if condition["status"] == "True" and condition["type"] == "Complete":
            return State(True, "done")
        if condition["status"] == "True" and condition["type"] == "Failed":
            return State(False, condition.get("message") or "failed", failed=True)
    tried = status.get("failed", 0)
    return State(False, f"runs, failed {tried} times before" if tried else "runs")


def _rolled(wanted: int, updated: int, ready: int, there: int) -> State:
    if updated < wanted:
        return State(False, f"{updated} of {wanted} updated")
    if there > wanted:
        return State(False, f"{there - wanted} old to go")
    if ready < wanted:
        return State(False, f"{ready} of {wanted} ready")
    return State(True, f"{ready} of {wanted} ready")
