"""What is said of a value in several places → what holds, and where that was said: the last one wins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dsl.errors import Place


@dataclass(frozen=True, slots=True)
class Value:
    """A value that templates ask for.

    Attributes:
        place: where it was said.
        over: where else it was said, which does not hold here; the nearest first.
    """

    value: Any
    place: Place
    over: tuple[Place, ...] = ()


Values = Mapping[str, Value]


def merged(layers: Iterable[Values]) -> dict[str, Value]:
    """Values of several layers, the lowest first: a component's, the site's, a group's.

    A value takes the place of the one below as a whole: what a list or a mapping holds is never mixed.
    """
    found: dict[str, Value] = {}
    for layer in layers:
        for name, one in layer.items():
            below = found.get(name)
            found[name] = Value(one.value, one.place, (below.place, *below.over) if below else ())
    return dict(sorted(found.items()))


def plain(values: Values) -> dict[str, Any]:
    """The values without where they come from."""
    return {name: one.value for name, one in values.items()}
