"""Steps → Jobs that run once for what they do, and CronJobs.

A Job cannot be changed: its name carries a hash of all that it runs, so another image, command or configuration is another
Job, and the same is the same.
"""

from __future__ import annotations

from typing import Any

from builder.deploy.kubernetes import metadata
from builder.deploy.kubernetes.target import Target, since_stable
from builder.deploy.workload import Step, Workload

_TIME_ZONE = (1, 27)
STEP = "imgbuild.org/step"
"""The annotation that says whose step it is: ``keystone/db-sync``."""


def job(one: Workload, target: Target, step: Step, template: dict[str, Any], wave: int) -> dict[str, Any]:
    """The Job of a step. It is tried again for half an hour: what it needs may come later."""
    name = metadata.marked(f"{one.key}-{step.name}", template)
    described = metadata.described(name, target, metadata.of_step(one, target, step), wave, _noted(one, step))
    spec = {"backoffLimit": 10, "template": template}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": described, "spec": spec}


def cron(one: Workload, target: Target, step: Step, template: dict[str, Any], wave: int) -> dict[str, Any]:
    """The CronJob of a step."""
    version = since_stable("batch", target.version)
    name = metadata.short(f"{one.key}-{step.name}")
    name = name if len(name) <= 52 else f"{name[:43].rstrip('-')}-{metadata.hashed(name)}"  # its Jobs add to it
    described = metadata.described(name, target, metadata.of_step(one, target, step), wave, _noted(one, step))
    spec = {
        "schedule": step.schedule,
        **({"timeZone": "Etc/UTC"} if target.version >= _TIME_ZONE else {}),
        "concurrencyPolicy": "Forbid",
        "successfulJobsHistoryLimit": 1,
        "failedJobsHistoryLimit": 3,
        "jobTemplate": {"spec": {"backoffLimit": 2, "template": template}},
    }
    return {"apiVersion": version, "kind": "CronJob", "metadata": described, "spec": spec}


def _noted(one: Workload, step: Step) -> dict[str, str]:
    return {STEP: f"{one.key}/{step.name}"}
