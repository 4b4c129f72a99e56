"""What indexes tell about updates."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from bench import learn_sources


def index(*packages: tuple[str, str]) -> str:
    """An index of packages, ``name[ source[ (source version)]]`` and version."""
    found = []
    for name, version in packages:
        binary, _, source = name.partition(" ")
        found.append(
            f"Package: {binary}\n" + (f"Source: {source}\n" if source else "") + f"Version: {version}\nSize: 9\n"
        )
    return "\n".join(found)


@pytest.mark.parametrize(
    ("main", "security", "count"),
    [
        ("1.0-1+deb13u2", "1.0-1+deb13u5", 5),
        ("1.0-1+deb13u5", "1.0-1+deb13u2", 5),
        ("3.5.9-1~deb13u1", "3.5.7-1~deb13u3", 4),
        ("1.0-1", "1.0-1+deb13u1", 1),
        ("1.0-1", "1.0-1", 0),
        ("1.0-1+b3", "1.0-1+b3", 0),
    ],
)
def test_versions_tell_how_often(main: str, security: str, count: int) -> None:
    assert learn_sources.updates(index(("x", main)), index(("x", security)))["x"] == count


def test_the_source_package_is_counted_once() -> None:
    text = index(("a s (1.0-1+deb13u4)", "7"), ("b s", "1.0-1+deb13u4"), ("c", "1.0-1+deb13u2"))
    assert learn_sources.updates(text, "") == {"s": 4, "c": 2}


def test_what_security_has_newer() -> None:
    main = index(("new", "1-1"), ("same", "1-1+deb13u1"), ("old", "2-1"))
    security = index(("new", "1-1+deb13u1"), ("same", "1-1+deb13u1"), ("old", "1-1+deb13u9"), ("only", "1"))
    assert learn_sources.ahead(main, security) == {"new"}


def test_the_table_is_sorted_by_updates_per_byte(tmp_path: Path) -> None:
    text = "Package: big\nVersion: 1+deb13u9\nSize: 9000000\n\nPackage: small\nVersion: 1+deb13u3\nSize: 60000\n"
    more = "\nPackage: small-dev\nSource: small\nVersion: 1+deb13u3\nSize: 90000000\n\nPackage: once\nVersion: 1+deb13u1\nSize: 1\n"
    learn_sources.write(tmp_path / "t", learn_sources.updates(text + more, ""), text + more)
    assert list(yaml.safe_load((tmp_path / "t").read_text())["sources"].items()) == [("small", 3), ("big", 9)]
