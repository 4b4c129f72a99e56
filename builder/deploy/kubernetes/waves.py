"""Who needs what, and what comes after what → in which wave each object is applied, so that what is needed is there before."""

from __future__ import annotations

import graphlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from builder.deploy.workload import Step, Workload

FIRST = 0
"""The wave of all that starts nothing: configuration, volumes, services, rules of the network."""
_APART = 100
_SERVICE = 50


class CircleError(Exception):
    """Components that need each other.

    Args:
        names: the first one again at the end.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__(" → ".join(names))
        self.names = names


@dataclass(frozen=True, slots=True)
class Waves:
    """When the workloads of components and their steps are applied.

    Attributes:
        levels: of components.
        turns: of their images, by name: one comes after those of a lower turn.
    """

    levels: Mapping[str, int]
    turns: Mapping[str, Mapping[str, int]]

    def service(self, one: Workload) -> int:
        """The wave of a workload."""
        return self._base(one) + _SERVICE + self.turns[_component(one)][one.name]

    def step(self, one: Workload, step: Step) -> int:
        """The wave of a step: before all services of its component, or after all, in the order that steps wait for each other."""
        last = _SERVICE + max(self.turns[_component(one)].values())
        return self._base(one) + (0 if step.when == "before" else last) + 1 + _depth(one, step, step.when)

    def _base(self, one: Workload) -> int:
        return _APART * self.levels[_component(one)]


def of(workloads: Iterable[Workload]) -> Waves:
    """The waves of a site: a component comes after all that provide what it needs.

    Raises:
        CircleError: components need each other.
    """
    found = tuple(workloads)
    providers: dict[str, set[str]] = {}
    for one in found:
        for function in one.provides:
            providers.setdefault(function, set()).add(_component(one))
    needed: dict[str, set[str]] = {}
    for one in found:
        others = needed.setdefault(_component(one), set())
        for function in one.needs:
            others |= providers.get(function, set()) - {_component(one)}
    try:
        order = tuple(graphlib.TopologicalSorter(needed).static_order())
    except graphlib.CycleError as error:
        raise CircleError(tuple(reversed(error.args[1]))) from None
    levels: dict[str, int] = {}
    for name in order:
        levels[name] = 1 + max((levels[other] for other in needed[name]), default=0)
    images: dict[str, dict[str, Workload]] = {}
    for one in found:
        images.setdefault(_component(one), {})[one.name] = one
    return Waves(levels, {name: {one: _turn(known, one) for one in known} for name, known in images.items()})


def _component(one: Workload) -> str:
    return one.component or one.name


def _turn(known: Mapping[str, Workload], name: str) -> int:
    return max((1 + _turn(known, other) for other in known[name].after if other in known), default=0)


def _depth(one: Workload, step: Step, when: str) -> int:
    known = {other.name: other for other in one.steps}
    return max((1 + _depth(one, known[name], when) for name in step.after if known[name].when == when), default=0)
