"""What the objects of a cluster say of how they are."""

from __future__ import annotations

from typing import Any

import pytest

from builder.cluster import state


def status(kind: str, told: dict[str, Any], replicas: int = 2, generation: int = 1) -> state.State:
    """The state of an object with some status."""
    spec = {"replicas": replicas}
    return state.of({"kind": kind, "metadata": {"generation": generation}, "spec": spec, "status": told})


@pytest.mark.parametrize(
    ("kind", "told", "said", "done"),
    [
        ("Service", {}, "", True),
        ("Deployment", {}, "not looked at yet", False),
        ("Deployment", {"observedGeneration": 1, "updatedReplicas": 1}, "1 of 2 updated", False),
        ("Deployment", {"observedGeneration": 1, "updatedReplicas": 2, "replicas": 3}, "1 old to go", False),
        ("Deployment", {"observedGeneration": 1, "updatedReplicas": 2, "replicas": 2}, "0 of 2 ready", False),
        (
            "Deployment", {"observedGeneration": 1, "updatedReplicas": 2, "replicas": 2, "availableReplicas": 2},
            "2 of 2 ready", True,
        ),
        (
            "StatefulSet",
            {
                "observedGeneration": 1, "currentRevision": "a", "updateRevision": "a", "currentReplicas": 2,
                "replicas": 2, "readyReplicas": 2,
            },
            "2 of 2 ready", True,
        ),
        (
            "StatefulSet",
            {
                "observedGeneration": 1, "currentRevision": "a", "updateRevision": "b", "currentReplicas": 1,
                "updatedReplicas": 1, "replicas": 2, "readyReplicas": 2,
            },
            "1 of 2 updated", False,
        ),
        (
            "DaemonSet",
            {"observedGeneration": 1, "desiredNumberScheduled": 3, "updatedNumberScheduled": 3, "numberAvailable": 2},
            "2 of 3 ready", False,
        ),
        ("Job", {}, "runs", False),
        ("Job", {"failed": 2}, "runs, failed 2 times before", False),
        ("Job", {"conditions": [{"type": "Complete", "status": "True"}]}, "done", True),
    ],
)  # fmt: skip
def test_states(kind: str, told: dict[str, Any], said: str, done: bool) -> None:
    assert status(kind, told) == state.State(done, said)


def test_what_has_failed() -> None:
    late = {"observedGeneration": 1, "conditions": [{"type": "Progressing", "status": "False"}]}
    assert status("Deployment", late).failed
    assert status("Job", {"conditions": [{"type": "Failed", "status": "True"}]}).failed


def test_troubles_of_pods() -> None:
    unplaced = {"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available"}
    pods: list[dict[str, Any]] = [
        {"metadata": {"name": "a"}, "status": {"conditions": [unplaced]}},
        {
            "metadata": {"name": "b"},
            "status": {
                "initContainerStatuses": [{"name": "i", "state": {"waiting": {"reason": "PodInitializing"}}}],
                "containerStatuses": [
                    {
                        "name": "c",
                        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                        "lastState": {"terminated": {"exitCode": 3}},
                    }
                ],
            },
        },
        {"metadata": {"name": "c"}},
    ]
    assert state.troubles(pods) == ("a: 0/1 nodes are available", "b: CrashLoopBackOff")
    assert [state.failing(pod) for pod in pods] == ["", "c", ""]
