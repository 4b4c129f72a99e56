"""One component in several upstream series."""

from __future__ import annotations

from pathlib import Path

import pytest

from dsl import checks, loading, versions
from dsl.catalog import Catalog, UnknownTarget
from dsl.errors import DefinitionError
from tests.dsl.test_broken import GOOD
from tests.kit.project import project

STREAMS = """\
streams:
  bookworm:
    summary: of Debian 12
    images:
      web: {extends: debian-12 ^1.0, packages: {apt: {add: [nginx], remove: [nginx-light]}}}
  vendor:
    version: "2.0"
    sources: {own: {debs: debs}}
    images:
      more: {summary: more of it, extends: debian-13 ^1.0, run: {command: [more], user: www-data}}
"""


def load(folder: Path, text: str = STREAMS, files: dict[str, str] | None = None) -> Catalog:
    """A workspace with a component of two streams."""
    found = {"imgbuild.yaml": "dsl: 1\nworkspace: w\n", "repos/web/component.yaml": GOOD + text, "repos/web/debs/x": ""}
    found |= files or {}
    return loading.load(loading.find(project(folder, found)))


def test_a_stream_is_the_component_with_other_things(tmp_path: Path) -> None:
    loaded = load(tmp_path)
    assert checks.check(loaded) == ()
    assert [one.name for one in loaded.components] == ["web", "web@bookworm", "web@vendor"]
    (web,) = loaded.find("web")
    (bookworm,) = loaded.find("web@bookworm")
    assert (web.model.packages.apt, bookworm.model.packages.apt) == (("nginx-light",), ("nginx",))
    assert [part.name for part in bookworm.chain()] == ["debian-12", "web"]
    assert (bookworm.model.users, bookworm.title) == (web.model.users, "web@bookworm")
    vendor = loaded.component("web@vendor")
    assert vendor
    assert vendor.model.version == "2.0"
    assert vendor.model.streams == {}
    assert {one.name for one in vendor.images} == {"web", "more"}
    assert "own" in loaded.sources(vendor.images[0])
    assert "own" not in loaded.sources(web)


def test_each_has_its_lock(tmp_path: Path) -> None:
    loaded = load(tmp_path)
    paths = {one.name: str(one.lock_path.relative_to(tmp_path)) for one in loaded.components}
    assert paths == {
        "web": "repos/web/lock.yaml",
        "web@bookworm": "repos/web/lock.bookworm.yaml",
        "web@vendor": "repos/web/lock.vendor.yaml",
    }
    assert len({one.key for one in loaded.definitions() if one.component}) == 4


def test_a_name_means_the_component_itself_and_a_stream_is_said(tmp_path: Path) -> None:
    loaded = load(tmp_path)
    assert [one.component for name in ("web", "web/web") for one in loaded.find(name)] == ["web", "web"]
    assert loaded.find("web@vendor/web")[0].component == "web@vendor"
    assert loaded.find("more@vendor")[0].component == "web@vendor"
    assert loaded.definition("web@vendor/web").component == "web@vendor"
    with pytest.raises(UnknownTarget) as raised:
        loaded.find("web@bokworm")
    assert "web@bookworm" in raised.value.hint
    with pytest.raises(UnknownTarget):
        loaded.find("more")


def test_a_broken_stream_does_not_keep_the_component_from_being_used(tmp_path: Path) -> None:
    loaded = load(tmp_path, STREAMS.replace("debian-12 ^1.0", "debian-12 ^9.0"))
    assert loaded.find("web")[0].component == "web"
    assert loaded.find("web@vendor/web")
    with pytest.raises(DefinitionError):
        loaded.find("web@bookworm")
    (problem,) = checks.check(loaded)
    assert (problem.code, problem.place.line) == ("range", 24)


def test_a_site_changes_streams_and_what_they_stand_on(tmp_path: Path) -> None:
    overlay = """\
dsl: 1
overlay: acme
components:
  web:
    license: MIT
    streams: {bookworm: {description: ours}, vendor: null}
"""
    files = {"acme/overlay.yaml": overlay, "imgbuild.yaml": "dsl: 1\nworkspace: w\noverlays: [acme]\n"}
    loaded = load(tmp_path, STREAMS, files)
    assert [one.name for one in loaded.components] == ["web", "web@bookworm"]
    web, bookworm = loaded.components
    assert (web.model.license, bookworm.model.license) == ("MIT", "MIT")
    assert (web.model.description, bookworm.model.description) == ("", "ours")
    assert bookworm.place("description").file == tmp_path / "acme/overlay.yaml"
    assert bookworm.lock_path == tmp_path / "acme/web/lock.bookworm.yaml"
    assert bookworm.upstream_lock_path == tmp_path / "repos/web/lock.bookworm.yaml"


def test_floating_tags_stay_within_a_stream() -> None:
    assert versions.floating_tags("bookworm-26.1.0") == ("bookworm-26.1.0", "bookworm-26.1", "bookworm-26", "bookworm")
    assert not set(versions.floating_tags("bookworm-1.6.18")) & set(versions.floating_tags("1.6.38"))
