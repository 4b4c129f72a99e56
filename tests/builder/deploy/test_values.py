"""Layered values: the last word holds, and every place where something was said is kept."""

from __future__ import annotations

from pathlib import Path

from builder.deploy import values
from builder.deploy.values import Value
from dsl.errors import Place

COMPONENT, SITE, GROUP = (Place(Path(name), 1) for name in ("component.yaml", "site.yaml", "site.yaml#group"))


def test_the_last_word_holds() -> None:
    found = values.merged(
        (
            {"region": Value("one", COMPONENT), "debug": Value(False, COMPONENT)},
            {"region": Value("two", SITE), "list": Value([1], SITE)},
            {"region": Value("three", GROUP), "list": Value([2], GROUP)},
        )
    )
    assert found == {
        "debug": Value(False, COMPONENT),
        "list": Value([2], GROUP, (SITE,)),
        "region": Value("three", GROUP, (SITE, COMPONENT)),
    }
    assert list(found) == sorted(found)
    assert values.plain(found) == {"debug": False, "list": [2], "region": "three"}
