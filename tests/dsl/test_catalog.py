"""What stands on what, where each lock lies, and what a broken file means for the rest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from dsl import checks, loading
from dsl.catalog import SHIPPED_LAYERS, Catalog, UnknownTarget
from dsl.errors import DefinitionError, Problem
from tests.dsl.test_broken import GOOD
from tests.kit.project import project

WORKSPACE = "dsl: 1\nworkspace: w\noverlays: [one, two]\n"
OVERLAY = "dsl: 1\noverlay: {name}\n{changes}"


def layer(name: str, extends: str | None, version: str = "1.0.0", more: str = "") -> str:
    """A layer definition."""
    below = f"extends: {extends}" if extends else 'distribution: {id: debian, version: "13", codename: trixie}'
    return f"dsl: 1\nlayer: {name}\nversion: {version}\nsummary: a layer\n{below}\n{more}"


def load(folder: Path, files: Mapping[str, str], **more: tuple[Path, ...]) -> Catalog:
    """The catalog of a workspace of some files."""
    project(folder, {"imgbuild.yaml": "dsl: 1\nworkspace: w\n", **files})
    return loading.load(loading.find(folder), **more)


def told(problems: tuple[Problem, ...]) -> list[str]:
    """Problems in a line each."""
    return [f"{p.place.file.parent.name}:{p.place.line}:{p.place.column} {p.code}: {p.message}" for p in problems]


def test_layers_that_nothing_uses_are_checked(tmp_path: Path) -> None:
    loaded = load(
        tmp_path,
        {
            "layers/a/layer.yaml": layer("a", "b ^1"),
            "layers/b/layer.yaml": layer("b", "a ^1"),
            "layers/c/layer.yaml": layer("c", "debian-31 ^1"),
            "layers/d/layer.yaml": layer("d", "debian-13 ^9"),
            "layers/e/layer.yaml": layer("e", None, more="files: {/x: {}}\n"),
        },
    )
    assert told(checks.check(loaded)) == [
        "b:5:10 cycle: definitions stand on each other in a circle: a 1.0.0 → b 1.0.0 → a 1.0.0",
        "c:5:10 unknown-name: there is no layer definition 'debian-31'",
        "d:5:10 range: no debian-13 is in the range ^9",
        "e:6:9 one-of: exactly one of content, from, url and link is expected",
    ]


def test_an_error_below_shows_the_chain(tmp_path: Path) -> None:
    loaded = load(
        tmp_path,
        {
            "layers/a/layer.yaml": layer("a", "debian-31 ^1"),
            "repos/web/component.yaml": GOOD.replace("debian-13 ^1.0", "a ^1.0"),
        },
    )
    assert told(loaded.problems) == [
        "a:5:10 unknown-name: there is no layer definition 'debian-31' (asked for by web → a 1.0.0)"
    ]
    with pytest.raises(DefinitionError):
        loaded.find("web")


def test_two_majors_and_a_component_of_one_name_have_places_of_their_own(tmp_path: Path) -> None:
    files = {
        "layers/web-1/layer.yaml": layer("web", None, "1.0.0", "files: {/x: {}}\n"),
        "layers/web-2/layer.yaml": layer("web", None, "2.0.0", "summary2: x\n".replace("summary2: x\n", "files: {/y: {}}\n")),
        "repos/web/component.yaml": GOOD.replace("debian-13 ^1.0", "web ^2.0"),
    }  # fmt: skip
    loaded = load(tmp_path, files)
    assert [line.partition(" ")[0] for line in told(checks.check(loaded))] == ["web-1:6:9", "web-2:6:9"]
    (image,) = loaded.find("web")
    assert [part.versioned_name for part in image.chain()] == ["web 2.0.0", "web"]
    assert loaded.definition("web").version == "2.0.0"
    assert loaded.definition("web 1.0.0").folder.name == "web-1"
    assert loaded.definition("web ^1").version == "1.0.0"
    with pytest.raises(UnknownTarget):
        loaded.definition("web 3.0.0")
    assert len({definition.key for definition in loaded.definitions()}) == len(list(loaded.definitions()))


def test_a_broken_version_is_not_passed_over_for_a_lower_one(tmp_path: Path) -> None:
    files = {
        "layers/a-1/layer.yaml": layer("a", None, "1.0.0"),
        "layers/a-2/layer.yaml": layer("a", None, "1.1.0", "sumary: x\n"),
        "repos/web/component.yaml": GOOD.replace("debian-13 ^1.0", "a ^1.0"),
    }
    with pytest.raises(DefinitionError) as raised:
        load(tmp_path, files).find("web")
    assert told(raised.value.problems) == ["a-2:6:1 unknown-key: the document: there is no key 'sumary'"]
    # One that is not in the range does not matter.
    files["repos/web/component.yaml"] = GOOD.replace("debian-13 ^1.0", "a ~1.0")
    assert load(tmp_path, files).find("web")


def test_a_broken_layer_is_told_by_its_name(tmp_path: Path) -> None:
    loaded = load(tmp_path, {"layers/x/layer.yaml": layer("a", None, more="sumary: x\n")})
    for ask in (loaded.find, loaded.definition):
        with pytest.raises(DefinitionError):
            ask("a")


def test_one_layer_twice_is_told(tmp_path: Path) -> None:
    loaded = load(tmp_path, {"layers/a/layer.yaml": layer("a", None), "layers/b/layer.yaml": layer("a", None)})
    (problem,) = loaded.problems
    assert (problem.code, problem.place.file.parent.name, problem.place.line) == ("same-name", "b", 2)


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    loaded = load(tmp_path, {"imgbuild.yaml": "dsl: 1\nworkspace: w\nrepos: [rebos]\n"})
    assert [line.partition(" ")[2] for line in told(loaded.problems)] == ["not-found: there is no folder 'rebos' here"]
    with pytest.raises(DefinitionError):
        loaded.find("web")


def test_every_name_of_a_broken_file_leads_to_its_place(tmp_path: Path) -> None:
    text = GOOD.replace("debian-13 ^1.0", "base").replace(
        "images:", "layers:\n  base: {summary: x, extends: debian-13 ^1.0, sumary: x}\nimages:"
    )
    loaded = load(tmp_path, {"repos/folder/component.yaml": text.replace("component: web", "component: shop")})
    for target in ("folder", "shop", "web", "shop/web"):
        with pytest.raises(DefinitionError) as raised:
            loaded.find(target)
        assert [p.code for p in raised.value.problems] == ["unknown-key"]
    with pytest.raises(DefinitionError):
        loaded.definition("base")


def test_an_image_and_a_shared_definition_may_have_one_name(tmp_path: Path) -> None:
    text = GOOD.replace("debian-13 ^1.0", "web").replace(
        "images:", "layers:\n  web: {summary: x, extends: debian-13 ^1.0}\nimages:"
    )
    loaded = load(tmp_path, {"repos/web/component.yaml": text})
    assert [part.name for part in loaded.find("web")[0].chain()] == ["debian-13", "web", "web"]


def test_what_comes_from_elsewhere_is_foreign(tmp_path: Path) -> None:
    elsewhere = project(
        tmp_path / "elsewhere",
        {
            "layers/a/layer.yaml": layer("a", None),
            "layers/debian-13/layer.yaml": layer("debian-13", None, "1.99.0"),
            "repos/far/component.yaml": GOOD.replace("web", "far"),
        },
    )
    here = {"repos/web/component.yaml": GOOD, "layers/a/layer.yaml": layer("a", None)}
    loaded = load(tmp_path / "here", here, used=(elsewhere,))
    assert {one.reference for one in loaded.definitions() if one.foreign} == {"debian-13 1.99.0", "far/far"}
    # A layer definition that ships has its lock there too, until this workspace makes one of its own.
    shipped = loaded.definition("python-13")
    assert shipped.upstream_lock_path == SHIPPED_LAYERS / "python-13/lock.yaml"
    assert shipped.lock_path == tmp_path / "here/layers/python-13@1/lock.yaml"
    # What is used goes before what ships.
    assert loaded.definition("debian-13").folder == elsewhere / "layers/debian-13"
    assert [c.name for c in loaded.components if c.foreign] == ["far"]


def test_layers_that_ship_are_foreign_but_in_their_own_workspace() -> None:
    loaded = loading.load(loading.find(SHIPPED_LAYERS.parent))
    assert not any(definition.foreign for definition in loaded.definitions())


def sites(folder: Path, one: str, two: str) -> Catalog:
    """A workspace of two components on a layer each, with two overlays; the layers come from elsewhere."""
    upstream = {
        "layers/low/layer.yaml": layer("low", None),
        "layers/high/layer.yaml": layer("high", "low ^1"),
        "repos/web/component.yaml": GOOD.replace("debian-13 ^1.0", "high ^1"),
        "repos/shop/component.yaml": GOOD.replace("web", "shop").replace("debian-13 ^1.0", "low ^1"),
    }
    files = {
        "imgbuild.yaml": WORKSPACE,
        "one/overlay.yaml": OVERLAY.format(name="one", changes=one),
        "two/overlay.yaml": OVERLAY.format(name="two", changes=two),
    }
    return load(folder / "here", files, used=(project(folder / "upstream", upstream),))


def locks(loaded: Catalog, folder: Path) -> dict[str, str]:
    """Where locks lie, by definition."""
    own = (one for one in loaded.definitions() if one.folder.is_relative_to(folder / "upstream"))
    return {one.reference: str(one.lock_path.relative_to(folder)) for one in own}


def test_what_stands_on_a_changed_layer_has_its_lock_at_the_site(tmp_path: Path) -> None:
    loaded = sites(tmp_path, "layers: {high: {summary: ours}}\n", "")
    assert locks(loaded, tmp_path) == {
        "low 1.0.0": "upstream/layers/low/lock.yaml",
        "high 1.0.0": "here/one/layers/high@1/lock.yaml",
        "web/web": "here/one/web/lock.yaml",
        "shop/shop": "upstream/repos/shop/lock.yaml",
    }
    high, web, shop = (loaded.definition(name) for name in ("high", "web/web", "shop/shop"))
    assert high.upstream_lock_path == tmp_path / "upstream/layers/high/lock.yaml"
    assert web.upstream_lock_path == tmp_path / "upstream/repos/web/lock.yaml"
    assert shop.upstream_lock_path is None
    # The site's own lock is written, upstream's is not.
    assert (high.foreign, web.foreign, shop.foreign) == (False, False, True)
    assert {c.name: c.overlay for c in loaded.components} == {"web": "one", "shop": None}


def test_of_several_overlays_the_last_one_has_the_lock(tmp_path: Path) -> None:
    loaded = sites(
        tmp_path,
        "layers: {low: {summary: ours}}\ncomponents: {web: {license: MIT}}\n",
        "components: {shop: {license: MIT}}\n",
    )
    assert locks(loaded, tmp_path) == {
        "low 1.0.0": "here/one/layers/low@1/lock.yaml",
        "high 1.0.0": "here/one/layers/high@1/lock.yaml",
        "web/web": "here/one/web/lock.yaml",
        "shop/shop": "here/two/shop/lock.yaml",
    }
    assert {c.name: c.overlay for c in loaded.components} == {"web": "one", "shop": "two"}


def test_numbers_are_one_in_a_workspace(tmp_path: Path) -> None:
    loaded = load(
        tmp_path,
        {
            "repos/one/component.yaml": GOOD.replace("component: web", "component: one"),
            "repos/two/component.yaml": GOOD.replace("component: web", "component: two")
            .replace("{uid: 4000}", "{uid: 4001, gid: 4000}")
            .replace("    files:", "    groups: {www-data: {gid: 34}, data: {gid: 4001}}\n    files:"),
        },
    )
    assert told(checks.check(loaded)) == [
        "two:12:18 two-numbers: the user 'web' has the number 4001 here and 4000 in one/web",
        "two:13:30 two-names: the groups 'backup' and 'www-data' have the same number 34",
        "two:13:30 two-numbers: the group 'www-data' has the number 34 here and 33 in Debian",
    ]
    assert [p.place.line for p in checks.of(loaded, loaded.find("one"))] == []
    assert [p.place.line for p in checks.of(loaded, loaded.find("two"))] == [12, 13, 13]
