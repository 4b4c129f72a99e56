"""Broken definitions: each gives exactly its errors, at their places."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from dsl import checks, loading
from dsl.catalog import UnknownTarget
from dsl.errors import DefinitionError, Problem

CASES: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("broken.yaml").read_text())
GOOD = CASES.pop("good")
REQUIREMENTS = """\
# of a page
flask ~= 3.1   # the page itself
--index-url https://example.org/simple
-r more.txt
gunicorn == 23.0.0 \\
    --hash=sha256:ec400d38950de4dfd418cff8328b2c8faed0edb0d517d3394e457c317908ca4d
uvloop --no-binary
own @ https://example.org/own.whl
click --hash=md5:00
=3
"""


def problems(folder: Path, text: str) -> tuple[Problem, ...]:
    """What is wrong with a component."""
    (folder / "component.yaml").write_text(text)
    try:
        loaded = loading.load(loading.find(folder))
        return checks.check(loaded)
    except DefinitionError as error:
        return error.problems


def test_the_good_one_is_good(tmp_path: Path) -> None:
    assert problems(tmp_path, GOOD) == ()


def test_there_are_many() -> None:
    assert len(CASES) >= 60


def found(name: str, folder: Path) -> list[str]:
    """What is told of a case."""
    case = CASES[name]
    if "text" in case:
        text = case["text"]
    else:
        assert GOOD.count(case["replace"]) == 1, "the case changes one place of the good definition"
        text = GOOD.replace(case["replace"], case["by"])
    (folder / "template.j2").write_text("{% if %}\n")
    (folder / "script").write_text("#!/bin/sh\n")
    (folder / "requirements.in").write_text(REQUIREMENTS)
    return [f"{p.place.line}:{p.place.column} {p.code}: {p.message}" for p in problems(folder, text)]


@pytest.mark.parametrize("name", CASES)
def test_broken(name: str, tmp_path: Path) -> None:
    assert found(name, tmp_path) == CASES[name]["expect"]


def test_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "component.yaml").write_bytes(b"dsl: 1\nsummary: \xff\n")
    (problem,) = loading.load(loading.find(tmp_path)).problems
    assert (problem.code, problem.place.line, problem.place.column) == ("not-utf-8", 2, 10)


def test_a_huge_file(tmp_path: Path) -> None:
    with (tmp_path / "component.yaml").open("wb") as file:
        file.truncate(100_000_000)
    (problem,) = loading.load(loading.find(tmp_path)).problems
    assert problem.code == "too-large"


def test_a_folder_in_place_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "component.yaml").mkdir()
    (problem,) = loading.load(loading.find(tmp_path)).problems
    assert problem.code == "not-a-file"


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "component.yaml")
    (problem,) = loading.load(loading.find(tmp_path)).problems
    assert problem.code == "not-a-file"


def test_a_loop_of_links(tmp_path: Path) -> None:
    (tmp_path / "imgbuild.yaml").write_text("dsl: 1\nworkspace: w\n")
    (tmp_path / "repos/x").mkdir(parents=True)
    (tmp_path / "repos/x/component.yaml").symlink_to("component.yaml")
    assert [p.code for p in loading.load(loading.find(tmp_path)).problems] in ([], ["link-loop"])


def test_a_broken_file_is_told_by_its_folders_name(tmp_path: Path) -> None:
    (tmp_path / "imgbuild.yaml").write_text("dsl: 1\nworkspace: w\n")
    for name, text in (("one", "dsl: ["), ("two", GOOD)):
        (tmp_path / "repos" / name).mkdir(parents=True)
        (tmp_path / "repos" / name / "component.yaml").write_text(text)
    loaded = loading.load(loading.find(tmp_path))
    assert [d.name for d in loaded.find("web")] == ["web"]
    with pytest.raises(DefinitionError):
        loaded.find("one")
    # Who knows what is in a file that cannot be read.
    with pytest.raises(DefinitionError):
        loaded.find("wep")
    (tmp_path / "repos/one/component.yaml").unlink()
    with pytest.raises(UnknownTarget) as raised:
        loading.load(loading.find(tmp_path)).find("wep")
    assert raised.value.hint == "did you mean 'web'?"
    assert raised.value.exit_code == 2
