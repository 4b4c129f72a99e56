"""The differences that may be."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.compare import exceptions
from builder.compare.exceptions import Exception_
from builder.file_differences import FileDifference

DOCUMENT = Path(__file__).parents[3] / "docs/faithful.md"
FILE = {"type": "file", "mode": "0644", "content": "1"}


def rule(*paths: str, may: str = "missing", **more: str | bool) -> Exception_:
    """An exception."""
    return Exception_("x", "y", paths, frozenset(may.split()), **more)  # type: ignore[arg-type]


def missing(path: str, **facts: str) -> FileDifference:
    """A path that the image lacks."""
    return FileDifference(path, {**FILE, **facts}, {})


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("var/log/*", "var/log/x", True),
        ("var/log/*", "var/log/a/x", False),
        ("var/log/**", "var/log/a/x", True),
        ("var/log/*", "var/log", False),
        ("a/*.pyc", "a/x.pyc", True),
        ("a.c", "abc", False),
        ("dev/**", "srv/dev/x", False),
    ],
)
def test_patterns(pattern: str, path: str, matches: bool) -> None:
    assert rule(pattern).explains(missing(path)) is matches


def test_only_what_may_differ_may() -> None:
    changed = FileDifference("a", {"content": "1", "mode": "0644"}, {"content": "2", "mode": "0600"})
    assert rule("a", may="content mode").explains(changed)
    assert not rule("a", may="content").explains(changed)
    assert not rule("a", may="missing").explains(changed)
    extra = FileDifference("a", {}, FILE)
    assert rule("a", may="extra").explains(extra)
    assert not rule("a", may="missing content mode type").explains(extra)


def test_a_type_is_held_to() -> None:
    assert rule("a", type="file").explains(missing("a"))
    assert not rule("a", type="file").explains(missing("a", type="folder"))
    assert not rule("a", may="type", type="file").explains(FileDifference("a", {"type": "file"}, {"type": "link"}))
    assert rule("a", may="content", type="file").explains(FileDifference("a", {"content": "1"}, {"content": "2"}))


def test_every_line_that_differs_must_match() -> None:
    changed = FileDifference("a", {"content": "1"}, {"content": "2"})
    dated = rule("a", may="content", lines="# made on .*")
    assert dated.explains(changed, ["# made on Monday", "# made on Tuesday"])
    assert not dated.explains(changed, ["# made on Monday", "password=1"])
    assert not dated.explains(changed), "what cannot be read as text is not explained"


@pytest.mark.parametrize(
    ("path", "fact", "ordinary", "image", "reasoned"),
    [
        ("user:uuidd", "shadow", "!:day::::::", "!*:day::::::", True),
        ("user:uuidd", "shadow", "!:day::::::", "$y$j9T$x:day::::::", False),
        ("user:uuidd", "shadow", "!:day::::::", ":day::::::", False),
        ("var/lib/horizon", "owner", "horizon:#102", "horizon:horizon", True),
        ("var/lib/horizon", "owner", "horizon:#102", "horizon:root", False),
        ("run/lock", "mode", "1777", "0755", True),
        ("run/lock", "mode", "1777", "0777", False),
    ],
)
def test_a_fact_that_differs_must_match_too(path: str, fact: str, ordinary: str, image: str, reasoned: bool) -> None:
    changed = FileDifference(path, {fact: ordinary}, {fact: image})
    assert any(rule.explains(changed, [ordinary, image]) for rule in exceptions.shipped()) is reasoned


def test_a_link_must_dangle_where_that_is_the_reason() -> None:
    assert rule("a", dangling=True).explains(missing("a"), dangling=True)
    assert not rule("a", dangling=True).explains(missing("a"))


def test_the_list_that_ships_gives_reasons_and_is_told_in_the_document() -> None:
    rules = exceptions.shipped()
    assert len({rule.name for rule in rules}) == len(rules)
    for rule in rules:
        assert len(rule.reason) > 20, rule.name
        assert rule.paths
        assert rule.may <= {
            "missing",
            "extra",
            "type",
            "owner",
            "mode",
            "size",
            "content",
            "target",
            "names",
            "xattrs",
        } or all(":" in path for path in rule.paths), rule.name
    assert exceptions.table(rules) in DOCUMENT.read_text(), "write exceptions.table(exceptions.shipped()) there"
