"""Wheels → layers: the large alone, the others in bins, and none ever moves."""

from __future__ import annotations

from builder.model.lock import LockedEnvironment
from builder.plan import groups

SMALL = {f"small-{number}": 100_000 for number in range(40)}


def test_few_small_ones_share_one_layer() -> None:
    bins, layers = groups.wheels({"flask": 100_000, "click": 120_000}, {}, None)
    assert (bins, layers) == (1, {"flask": "bin-00", "click": "bin-00"})


def test_a_large_one_stands_alone() -> None:
    bins, layers = groups.wheels({**SMALL, "numpy": 20_000_000}, {}, None)
    assert layers.pop("numpy") == "numpy"
    assert bins == round(4_000_000 / groups.BIN_BYTES)
    assert set(layers.values()) <= {f"bin-{number:02}" for number in range(bins)}


def test_there_is_a_budget() -> None:
    many = {f"large-{number:02}": 5_000_000 + number for number in range(30)} | SMALL
    bins, layers = groups.wheels(many, {}, None)
    assert len(set(layers.values())) <= groups.WHEEL_BUDGET
    alone = {name for name, layer in layers.items() if name == layer}
    assert alone == {f"large-{number:02}" for number in range(24, 30)}
    assert bins + len(alone) <= groups.WHEEL_BUDGET


def test_what_is_locked_stays_and_what_joins_finds_its_place() -> None:
    bins, before = groups.wheels({**SMALL, "numpy": 20_000_000}, {}, None)
    old = LockedEnvironment("web", "3.13", bins)
    # numpy has shrunk, a small one has grown, others have come.
    now = {**SMALL, "numpy": 10, "small-0": 9_000_000, "torch": 9_000_000, "new": 1}
    again, after = groups.wheels(now, before, old)
    assert again == bins
    assert {name: after[name] for name in before} == before
    assert after["torch"] == "torch"
    assert after["new"].startswith("bin-")
