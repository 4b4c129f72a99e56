"""SARIF, held against its published schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from builder.formats import sarif
from builder.formats.sarif import Result, Rule
from dsl.errors import Place
from tests.kit import schemas

ROOT = Path("/work/site")


def run(*results: Result) -> dict[str, Any]:
    told = json.loads(sarif.log(results, "1.2.3", ROOT))
    assert schemas.faults(told, sarif.SCHEMA) == []
    (found,) = told["runs"]
    return dict(found)


def result(file: str, line: int = 3, **more: Any) -> Result:
    return Result(Rule("unknown-key"), "error", "there is no key 'imags'", Place(ROOT / file, line, 2), "imags", **more)


def test_results_stand_at_their_places() -> None:
    flaw = Rule("CVE-2026-1", "a flaw", "https://security-tracker.debian.org/tracker/CVE-2026-1", 9.5)
    told = run(
        result("repos/a b/component.yaml"),
        Result(flaw, "error", "openssl", Place(Path("/elsewhere/lock.yaml")), "web openssl", "nobody calls it"),
        result("imgbuild.yaml"),
    )
    rules = told["tool"]["driver"]["rules"]
    assert [one["id"] for one in rules] == ["unknown-key", "CVE-2026-1"]
    assert rules[1]["properties"] == {"tags": ["security"], "security-severity": "9.5"}
    assert [one["ruleIndex"] for one in told["results"]] == [0, 1, 0]
    places = [one["locations"][0]["physicalLocation"] for one in told["results"]]
    assert places[0] == {
        "artifactLocation": {"uri": "repos/a%20b/component.yaml", "uriBaseId": "%SRCROOT%"},
        "region": {"startLine": 3, "startColumn": 2},
    }
    assert places[1]["artifactLocation"] == {"uri": "file:///elsewhere/lock.yaml"}
    assert told["results"][1]["suppressions"] == [{"kind": "external", "justification": "nobody calls it"}]


def test_the_same_thing_is_known_again_on_another_line() -> None:
    marks = [
        one["partialFingerprints"]["imgbuild/v1"]
        for one in run(result("a.yaml", 3), result("a.yaml", 99), result("b.yaml", 3))["results"]
    ]
    assert marks[0] == marks[1] != marks[2]


def test_nothing_wrong_is_a_log_too() -> None:
    assert run()["results"] == []


def test_any_text_can_be_told() -> None:
    odd = Result(Rule("x"), "note", "a \udc80 \x00 line", Place(ROOT / "ü\udc80.yaml"), "x")
    assert run(odd)["results"][0]["message"]["text"]


def test_the_schema_is_looked_at() -> None:
    told = json.loads(sarif.log([result("a.yaml")], "1", ROOT))
    del told["runs"][0]["tool"]
    told["runs"][0]["results"][0]["level"] = "grave"
    assert len(schemas.faults(told, sarif.SCHEMA)) == 2
