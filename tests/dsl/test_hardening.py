"""Input that was once mishandled: nesting that ends the process, overlays that are passed over, loops of links."""

from __future__ import annotations

from pathlib import Path

import pytest

from dsl import document, loading
from dsl.errors import DefinitionError
from tests.dsl.test_broken import GOOD
from tests.dsl.test_language import OVERLAY, workspace


@pytest.mark.parametrize("text", ["[" * 100_000, "{a: " * 100_000, "- " * 100_000 + "x"])
def test_deep_nesting_is_told(text: str) -> None:
    with pytest.raises(DefinitionError) as raised:
        document.parse(text, Path("x"))
    assert [p.code for p in raised.value.problems] == ["too-deep"]


def test_nesting_by_lines_is_told() -> None:
    with pytest.raises(DefinitionError) as raised:
        document.parse("\n".join(" " * n + "a:" for n in range(2000)), Path("x"))
    assert [p.code for p in raised.value.problems] == ["too-deep"]


def test_a_loop_of_links_is_told_at_its_place(tmp_path: Path) -> None:
    (tmp_path / "imgbuild.yaml").write_text("dsl: 1\nworkspace: w\n")
    (tmp_path / "repos/x").mkdir(parents=True)
    (tmp_path / "repos/x/component.yaml").symlink_to("component.yaml")
    with pytest.raises(DefinitionError) as raised:
        loading.load(loading.find(tmp_path)).find("x")
    assert [p.code for p in raised.value.problems] == ["link-loop"]


def test_a_broken_overlay_is_told_and_not_passed_over(tmp_path: Path) -> None:
    loaded = workspace(tmp_path, "dsl: 1\noverlay: [\n")
    with pytest.raises(DefinitionError):
        loaded.find("web")


def test_an_overlay_of_nothing_is_told(tmp_path: Path) -> None:
    (problem,) = workspace(tmp_path, OVERLAY.replace("  web:\n    license", "  wep:\n    license")).problems
    assert (problem.code, problem.place.line, problem.hint) == ("unknown-name", 4, "did you mean 'web'?")


def test_a_list_is_changed_by_lists(tmp_path: Path) -> None:
    loaded = workspace(tmp_path, OVERLAY.replace("add: [curl]", "add: curl").replace("[nginx-light]", "3"))
    assert {p.code for p in loaded.problems} == {"overlay"}


def test_a_problem_of_an_overlay_shows_the_overlays_line(tmp_path: Path) -> None:
    (problem,) = workspace(tmp_path, OVERLAY.replace("[nginx, -q]", "7")).problems
    assert problem.place.file.name == "overlay.yaml"
    assert problem.source_line == "        run: {command: 7}"


def test_an_image_of_a_broken_file_is_told_at_its_place(tmp_path: Path) -> None:
    (tmp_path / "imgbuild.yaml").write_text("dsl: 1\nworkspace: w\n")
    (tmp_path / "repos/other").mkdir(parents=True)
    (tmp_path / "repos/other/component.yaml").write_text(GOOD.replace("user: web", "usr: web"))
    with pytest.raises(DefinitionError):
        loading.load(loading.find(tmp_path)).find("web")
