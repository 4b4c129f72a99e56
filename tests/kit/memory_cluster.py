"""A cluster in memory: keeps what is applied, and lets workloads come up and Jobs end as a test says."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from builder.cluster.api import MANAGER
from builder.errors import ClusterError

Object = Mapping[str, Any]


@dataclass
class MemoryCluster:
    """What is asked of a cluster, answered from memory.

    Attributes:
        objects: by kind and name.
        asked: every change that was asked for, in order: ``apply Job a``.
        broken: the names of what never comes up; of Jobs, what fails.
        refused: the names of what the server does not take.
        unknown: kinds that it does not know.
        said: what failing containers say.
        history: whether it keeps what the pods of workloads were before.
    """

    version: tuple[int, int] = (1, 31)
    objects: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    unknown: frozenset[str] = frozenset()
    said: str = ""
    history: bool = False
    _looked: dict[tuple[str, str], int] = field(default_factory=dict)

    def get(self, one: Object) -> Object | None:
        """An object; each look brings it on a bit."""
        self._require_known(one["kind"])
        found = self.objects.get(_key(one))
        if found is None:
            return None
        looks = self._looked[_key(one)] = self._looked.get(_key(one), 0) + 1
        if looks > 1:
            self._come_up(found)
        return copy.deepcopy(found)

    def apply(self, one: Object, *, dry: bool = False, force: bool = False, manager: str = MANAGER) -> Object:
        """What it is then: what the server gives of its own accord is kept."""
        if one["metadata"]["name"] in self.refused and not force:
            raise ClusterError(f"{one['kind']} {one['metadata']['name']} cannot be applied: no", status=409)
        before = self.objects.get(_key(one), {})
        if manager != MANAGER:
            before["metadata"]["annotations"].update(one["metadata"]["annotations"])
            return copy.deepcopy(before)
        made = copy.deepcopy(dict(one))
        changed = any(before.get(key) != value for key, value in made.items() if key != "metadata")
        generation = before.get("metadata", {}).get("generation", 0) + changed
        said: dict[str, Any] = {"f:spec": {}, "f:data": {}, "f:metadata": {"f:labels": {}, "f:annotations": {}}}
        for key in made["metadata"].get("annotations", {}):
            said["f:metadata"]["f:annotations"][f"f:{key}"] = {}
        told = {
            "uid": "/".join(_key(one)),
            "resourceVersion": "1",
            "generation": generation,
            "managedFields": [{"manager": MANAGER, "operation": "Apply", "fieldsV1": said}],
        }
        noted = {**before.get("metadata", {}).get("annotations", {}), **made["metadata"].get("annotations", {})}
        made["metadata"] = {**made["metadata"], **told, **({"annotations": noted} if noted else {})}
        if "status" in before:
            made["status"] = before["status"]
        if not dry:
            self.asked.append(f"apply {one['kind']} {one['metadata']['name']}")
            self.objects[_key(one)] = made
            self._looked[_key(one)] = 0
            if self.history and "template" in made.get("spec", {}) and made["kind"] != "Job":
                self._remember(made)
        return copy.deepcopy(made)

    def delete(self, one: Object) -> bool:
        """Gone at once."""
        self.asked.append(f"delete {one['kind']} {one['metadata']['name']}")
        return self.objects.pop(_key(one), None) is not None

    def find(self, version: str, kind: str, namespace: str, selector: str) -> tuple[Object, ...]:
        """Those of a kind with some labels."""
        self._require_known(kind)
        wanted = dict(pair.split("=", 1) for pair in selector.split(","))
        return tuple(
            copy.deepcopy(one)
            for one in self.objects.values()
            if one["kind"] == kind
            and one["metadata"].get("namespace") == namespace
            and wanted.items() <= one["metadata"].get("labels", {}).items()
        )

    def logs(self, pod: Object, container: str, lines: int = 20) -> str:
        """What a failing container said."""
        return self.said

    def put(self, kind: str, name: str, namespace: str, labels: Mapping[str, str], **more: Any) -> None:
        """Something that is there already."""
        told = {"name": name, "namespace": namespace, "labels": dict(labels), **more.pop("metadata", {})}
        self.objects[kind, name] = {"apiVersion": "v1", "kind": kind, "metadata": told, **more}

    def _require_known(self, kind: str) -> None:
        if kind in self.unknown:
            raise ClusterError(f"this cluster does not know such objects: {kind}", status=404)

    def _remember(self, one: dict[str, Any]) -> None:
        """Its pods' template as the newest version, as controllers keep it."""
        told, template = one["metadata"], one["spec"]["template"]
        number = sum(kind in ("ReplicaSet", "ControllerRevision") for kind, _ in self.objects) + 1
        owned: dict[str, Any] = {"ownerReferences": [{"kind": one["kind"], "uid": told["uid"]}]}
        labels = template["metadata"]["labels"]
        if one["kind"] == "Deployment":
            owned["annotations"] = {"deployment.kubernetes.io/revision": str(number)}
            named = {**template, "metadata": {"labels": {**labels, "pod-template-hash": str(number)}}}
            kept: dict[str, Any] = {"spec": {"template": named}}
            kind = "ReplicaSet"
        else:
            kept = {"revision": number, "data": {"spec": {"template": {**template, "$patch": "replace"}}}}
            kind = "ControllerRevision"
        self.put(kind, f"{told['name']}-{number}", told["namespace"], labels, metadata=owned, **kept)

    def _come_up(self, one: dict[str, Any]) -> None:
        broken = one["metadata"]["name"] in self.broken
        status: dict[str, Any] = {"observedGeneration": one["metadata"].get("generation", 0)}
        if one["kind"] == "Job" and "conditions" in one.get("status", {}):
            return  # it has ended
        if one["kind"] == "Job":
            kind = "Failed" if broken else "Complete"
            status["conditions"] = [{"type": kind, "status": "True", "message": "it has failed" if broken else ""}]
        elif one["kind"] in ("Deployment", "StatefulSet"):
            wanted = one["spec"]["replicas"]
            ready = 0 if broken else wanted
            status |= {
                "replicas": wanted,
                "updatedReplicas": wanted,
                "readyReplicas": ready,
                "availableReplicas": ready,
            }
        elif one["kind"] == "DaemonSet":
            status |= {"desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 0 if broken else 2}
        one["status"] = status


def _key(one: Object) -> tuple[str, str]:
    return one["kind"], one["metadata"]["name"]
