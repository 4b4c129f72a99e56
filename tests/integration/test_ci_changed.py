"""``imgbuild ci changed``: which components a change in git touches."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kit import repositories
from tests.kit.project import ROOT, Run, imgbuild
from tests.kit.repositories import Repository

pytestmark = pytest.mark.integration
COMPONENT = """\
dsl: 1
component: {name}
summary: an application
homepage: https://app.example
version: "1"
images:
  {name}:
    summary: it runs
    extends: {base} ^1.0
    packages: {{apt: [hello]}}
    users: {{app: {{uid: 8000}}}}
    run: {{command: [app], user: app}}
"""


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """A workspace with two components on two layer definitions, one above the other."""
    files = {
        "imgbuild.yaml": "dsl: 1\nworkspace: site\noverlays: [acme]\n",
        "layers/debian-13/layer.yaml": (ROOT / "layers/debian-13/layer.yaml").read_text(),
        "layers/python-13/layer.yaml": (ROOT / "layers/python-13/layer.yaml").read_text(),
        "repos/one/component.yaml": COMPONENT.format(name="one", base="debian-13"),
        "repos/two/component.yaml": COMPONENT.format(name="two", base="python-13"),
        "acme/overlay.yaml": "dsl: 1\noverlay: acme\ncomponents:\n  two: {summary: the site's own}\n",
        "README": "",
    }
    made = repositories.made(tmp_path / "images", files)
    made.git("checkout", "--quiet", "-b", "change")
    return made


def changed(repository: Repository, *words: str) -> Run:
    """What the command says since the main branch."""
    return imgbuild(
        "ci", "changed", "--since", "main", *words, cache=repository.folder / "../cache", cwd=repository.folder
    )


def names(repository: Repository) -> list[str]:
    """The components that it names."""
    result = changed(repository)
    assert result.code == 0, result.errors
    return result.output.split()


@pytest.mark.parametrize(
    ("file", "touched"),
    [
        ("repos/one/component.yaml", ["one"]),
        ("repos/one/lock.yaml", ["one"]),
        ("repos/one/templates/app.conf.j2", ["one"]),
        ("repos/two/lock.yaml", ["two"]),
        ("acme/two/lock.yaml", ["two"]),
        ("layers/python-13/layer.yaml", ["two"]),
        ("layers/debian-13/lock.yaml", ["one", "two"]),
        ("imgbuild.yaml", ["one", "two"]),
        ("README", []),
    ],
)
def test_what_a_file_touches(repository: Repository, file: str, touched: list[str]) -> None:
    assert names(repository) == []
    path = repository.folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    before = path.read_text() if path.exists() else ""
    path.write_text(f"{before}# another\n")
    assert names(repository) == touched
    repository.commit("a change")
    assert names(repository) == touched
    told = changed(repository, "--json").json["components"]
    assert [(one["component"], one["because"]) for one in told] == [(name, [file]) for name in touched]


def test_what_main_has_since_then_is_not_this_change(repository: Repository) -> None:
    repository.commit("a change", {"repos/one/lock.yaml": "# another\n"})
    repository.git("checkout", "--quiet", "main")
    repository.commit("meanwhile", {"repos/two/lock.yaml": "# another\n"})
    repository.git("checkout", "--quiet", "change")
    assert names(repository) == ["one"]


def test_what_is_removed_counts(repository: Repository) -> None:
    repository.git("rm", "--quiet", "acme/overlay.yaml")
    (repository.folder / "imgbuild.yaml").write_text("dsl: 1\nworkspace: site\n")
    assert names(repository) == ["one", "two"]


def test_a_commit_that_git_does_not_know(repository: Repository) -> None:
    result = imgbuild("ci", "changed", "--since", "origin/main", cache=repository.folder / "../cache", cwd=repository.folder)  # fmt: skip
    assert result.code == 2
    assert "git knows no commit that 'origin/main'" in result.errors
    assert "fetch-depth: 0" in result.errors


def test_outside_of_git(tmp_path: Path) -> None:
    (tmp_path / "imgbuild.yaml").write_text("dsl: 1\nworkspace: site\n")
    result = imgbuild("ci", "changed", "--since", "main", cache=tmp_path / "cache", cwd=tmp_path)
    assert result.code == 2
    assert "is in no git repository" in result.errors
