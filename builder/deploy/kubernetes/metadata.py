"""Names and labels of objects."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from builder.deploy.kubernetes.target import Target
from builder.deploy.workload import Step, Workload

MANAGER = "imgbuild"
"""Who manages the objects, as their label says."""
_PREFIX = "app.kubernetes.io"
SITE = f"{_PREFIX}/part-of"
MANAGED = f"{_PREFIX}/managed-by"
NAME, INSTANCE, VERSION, COMPONENT = (f"{_PREFIX}/{name}" for name in ("name", "instance", "version", "component"))
WAVE = "argocd.argoproj.io/sync-wave"
_LONGEST = 63


def of_site(target: Target) -> dict[str, str]:
    """The labels of everything that belongs to a site: it is found by them."""
    return {SITE: target.site, MANAGED: MANAGER}


def labels(one: Workload, target: Target) -> dict[str, str]:
    """The labels of what belongs to a workload."""
    return {
        **selector(one),
        COMPONENT: label(one.component or one.name),
        VERSION: label(one.version),
        **of_site(target),
    }


def lasting(one: Workload, target: Target) -> dict[str, str]:
    """The labels of what no release makes a difference to."""
    return {name: value for name, value in labels(one, target).items() if name != VERSION}


def of_step(one: Workload, target: Target, step: Step) -> dict[str, str]:
    """The labels of what runs a step: its pods are not those of the service."""
    name = short(f"{one.key}-{step.name}")
    return {**labels(one, target), NAME: name, INSTANCE: name}


def selector(one: Workload) -> dict[str, str]:
    """The labels by which a workload's own pods are found; they never change."""
    return {NAME: short(one.name), INSTANCE: short(one.key)}


def label(text: str) -> str:
    """A text as the value of a label."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", text)[:_LONGEST].strip("-_.")


def described(
    name: str, target: Target, labels_: Mapping[str, str], wave: int, annotations: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The metadata of an object.

    Args:
        wave: when it is applied: Argo CD's sync waves, and ours.
    """
    noted = {WAVE: str(wave), **(annotations or {})}
    return {"name": name, "namespace": target.namespace, "labels": dict(labels_), "annotations": noted}


def short(name: str) -> str:
    """A name that an object and a label may have: lower case, 63 characters, long ones told apart by their hash."""
    plain = re.sub(r"[^a-z0-9-]", "-", name.lower()).strip("-")
    return plain if len(plain) <= _LONGEST else f"{plain[: _LONGEST - 9].rstrip('-')}-{hashed(name)}"


def marked(name: str, value: Any) -> str:
    """A name that says what an object holds: another value gives another object."""
    return f"{short(name)[: _LONGEST - 9].rstrip('-')}-{hashed(value)}"


def hashed(value: Any) -> str:
    """Eight digits of what a value is."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:8]
