"""Which release is meant by a name."""

from __future__ import annotations

import random

import pytest

from builder.transports import naming

IN_ORDER = [
    "web:2.0-dev",
    "web:1.0-rc1-r7",
    "web:1.0-r1",
    "web:1.0-r9",
    "web:1.0-r10",
    "web:1.0.1-r1",
    "web:1.0a-r1",
    "web:1.2-r1",
    "web:1.10-r1",
    "web:31.0.0-r1",
]


def test_releases_are_in_order() -> None:
    shuffled = IN_ORDER[:]
    random.Random(1).shuffle(shuffled)
    assert list(naming.matching("web", shuffled)) == IN_ORDER


@pytest.mark.parametrize(
    ("asked", "newest"),
    [
        ("web", "web:31.0.0-r1"),
        ("web:1.0", "web:1.0.1-r1"),
        ("web:1.0.1", "web:1.0.1-r1"),
        ("web:1.0-r9", "web:1.0-r9"),
        ("web:1", "web:1.10-r1"),
        ("web:31", "web:31.0.0-r1"),
        ("web:3", None),
        ("web:1.0-r", None),
        ("we", None),
        ("docker.io/library/web:1.0-r1", "web:1.0-r1"),
    ],
)
def test_a_part_of_a_version_is_enough(asked: str, newest: str | None) -> None:
    assert (naming.matching(asked, IN_ORDER) or (None,))[-1] == newest


def test_streams_are_by_themselves() -> None:
    known = ["web:2.0-r1", "web:bookworm-1.0-r2", "web:bookworm-1.1-r1", "web:vendor-3.0-r1", "web:1.0-rc1-r1"]
    newest = {
        asked: naming.newest(asked, known, "here") for asked in ("web", "web:bookworm", "web:bookworm-1.0", "web:3")
    }
    assert newest == {
        "web": "web:2.0-r1", "web:bookworm": "web:bookworm-1.1-r1", "web:bookworm-1.0": "web:bookworm-1.0-r2", "web:3": "web:3",
    }  # fmt: skip
    assert [naming.stream(one) for one in known] == ["", "bookworm", "bookworm", "vendor", ""]


def test_engines_add_registries() -> None:
    known = ["docker.io/library/web:1-r1", "localhost/web:1-r2", "registry:5000/web:1-r3", "other"]
    assert naming.matching("web", known) == ("docker.io/library/web:1-r1", "localhost/web:1-r2")
    assert naming.matching("web:1-r1", known) == ("docker.io/library/web:1-r1",)
    assert naming.matching("registry:5000/web", known) == ("registry:5000/web:1-r3",)
    assert naming.matching("other", known) == ("other",)
    assert naming.images(known) == ("other", "registry:5000/web", "web")
