"""A deployment → all its objects, in the order in which they are applied. The same input, the same objects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from builder.deploy.kubernetes import metadata, network, pods, steps, waves, workloads
from builder.deploy.kubernetes.configuration import Kept
from builder.deploy.kubernetes.target import Target
from builder.deploy.kubernetes.waves import FIRST
from builder.deploy.workload import Deployment, Workload

_ORDER = (
    "Namespace", "ServiceAccount", "NetworkPolicy", "ConfigMap", "Secret", "PersistentVolumeClaim", "Service",
    "PodDisruptionBudget", "Job", "StatefulSet", "DaemonSet", "Deployment", "CronJob", "Ingress",
    "HTTPRoute",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rendered:
    """A site's objects.

    Attributes:
        objects: in order: by their waves, then by kind and name.
        withheld: the Secrets that are left out: what each is called, and what it wants.
        notes: what is other on Kubernetes than images say.
    """

    objects: tuple[Mapping[str, Any], ...]
    withheld: tuple[tuple[str, tuple[str, ...]], ...] = ()
    notes: tuple[str, ...] = ()


def render(deployment: Deployment, version: tuple[int, int], *, unknown: Iterable[str] = ()) -> Rendered:
    """All objects of a site.

    Args:
        unknown: the names of secrets that are not known: the Secrets that want one of them are left out.

    Raises:
        CircleError: components need each other.
    """
    target = _target(deployment, version, unknown)
    order = waves.of(deployment.workloads)
    found: dict[tuple[str, str], Mapping[str, Any]] = {}
    left: dict[str, tuple[str, ...]] = {}
    for one in _all(deployment, target, order):
        if isinstance(one, Kept):
            left |= dict(one.withheld)
            found |= {key(each): each for each in one.objects}
        else:
            found[key(one)] = one
    ordered = sorted(found.values(), key=lambda each: (wave(each), _ORDER.index(each["kind"]), key(each)))
    notes = tuple(dict.fromkeys(note for one in deployment.workloads for note in pods.notes(one)))
    return Rendered(tuple(ordered), tuple(sorted(left.items())), notes)


def step(deployment: Deployment, version: tuple[int, int], one: Workload, name: str) -> tuple[Mapping[str, Any], ...]:
    """The Job of a step, at last, and what it is configured from: to be run by hand.

    Args:
        name: of a step that the workload has.
    """
    target = _target(deployment, version, ())
    found = next(each for each in one.steps if each.name == name)
    template, kept = pods.job(one, target, found)
    return (*(each for part in kept for each in part.objects), steps.job(one, target, found, template, FIRST))


def _target(deployment: Deployment, version: tuple[int, int], unknown: Iterable[str]) -> Target:
    site = metadata.short(deployment.site)
    return Target(version, site, deployment.namespace or site, deployment.pull_secrets, frozenset(unknown))


def wave(one: Mapping[str, Any]) -> int:
    """The wave of an object."""
    return int(one["metadata"].get("annotations", {}).get(metadata.WAVE, FIRST))


def file_name(one: Mapping[str, Any]) -> str:
    """A file for an object; their names are in the order of the objects."""
    kind, name = key(one)
    place = f"{wave(one):04}-{_ORDER.index(kind):02}"
    return f"{place}-{kind.lower()}-{name}.yaml"


def _all(deployment: Deployment, target: Target, order: waves.Waves) -> Iterator[Mapping[str, Any] | Kept]:
    labels = metadata.of_site(target)
    described = metadata.described(target.namespace, target, labels, FIRST)
    described.pop("namespace")
    yield {"apiVersion": "v1", "kind": "Namespace", "metadata": described}
    account = metadata.described(target.site, target, labels, FIRST)
    yield {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account, "automountServiceAccountToken": False}
    yield network.closed(target)
    seen: set[str] = set()
    for one in deployment.workloads:
        if one.declared.service:
            yield from _workload(one, target, order)
        # In several groups of hosts it is one service, and what is done once is done once.
        if one.name not in seen:
            seen.add(one.name)
            reached = (
                network.service(one, target),
                network.opened(one, target, deployment.workloads),
                network.entrance(one, target),
            )
            yield from (each for each in reached if each)
            yield from _steps(one, target, order)


def _workload(one: Workload, target: Target, order: waves.Waves) -> Iterator[Mapping[str, Any] | Kept]:
    template, kept = pods.service(one, target)
    yield from kept
    yield from workloads.claims(one, target)
    budget = workloads.budget(one, target)
    yield from (budget,) if budget else ()
    yield workloads.runner(one, target, template, order.service(one))


def _steps(one: Workload, target: Target, order: waves.Waves) -> Iterator[Mapping[str, Any] | Kept]:
    for step in one.steps:
        once = step.when in ("before", "after")
        if once or step.schedule:
            template, kept = pods.job(one, target, step)
            yield from kept
        if once:
            yield steps.job(one, target, step, template, order.step(one, step))
        if step.schedule:
            yield steps.cron(one, target, step, template, order.service(one) + 1)


def key(one: Mapping[str, Any]) -> tuple[str, str]:
    """What no other object of a namespace has: its kind and its name."""
    return one["kind"], one["metadata"]["name"]
