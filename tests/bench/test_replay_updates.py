"""What an update costs, counted by hand."""

from __future__ import annotations

from dataclasses import replace

from bench import replay_updates
from bench.replay_updates import RECORDS, Split, cost
from tests.builder.test_formats import package

A, B, C = (replace(package(name), size=size) for name, size in (("a", 1000), ("b", 20), ("c", 3)))


def split(*names: str) -> replay_updates.Layers:
    """A layer for each name."""
    found = {"a": A, "b": B, "c": C}
    return tuple(Split(frozenset({found[name]})) for name in names)


def test_a_layer_that_images_share_is_pushed_once() -> None:
    images = {"nova-api": split("a", "b"), "nova-conductor": split("a", "c")}
    images |= {name: split("c") for name in ("nova-metadata", "nova-novncproxy", "nova-scheduler", "nova-compute")}
    found = cost(images, ((frozenset({"a"}), 7),))
    assert found.pushed == 1000 + 2 * RECORDS
    assert found.pulled == {"controller": 1000 + 2 * RECORDS, "compute": 0}
    assert found.above == {"controller": 1000 + 20 + 3 + 2 * RECORDS, "compute": 0}


def test_the_mean_is_over_updates_that_touch_an_image() -> None:
    images = {name: split("a", "b") for name in (*replay_updates.CONTROLLER, *replay_updates.COMPUTE)}
    found = cost(images, ((frozenset({"a"}), 1), (frozenset({"b"}), 3), (frozenset({"elsewhere"}), 100)))
    assert found.pushed == (1000 + 3 * 20) / 4 + 6 * RECORDS
    assert found.above["compute"] == (1020 + 3 * 20) / 4 + RECORDS


def test_images_from_one_another_are_made_anew_above() -> None:
    layers = (Split(frozenset({A})), Split(frozenset({B}), below=frozenset({A})))
    assert [layer.changes(frozenset({"a"})) for layer in layers] == [True, True]
    assert [layer.changes(frozenset({"b"})) for layer in layers] == [False, True]
