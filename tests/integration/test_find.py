"""Images that hold a package, over the releases of a layout."""

from __future__ import annotations

import pytest

from tests.kit.distribution import Distribution, Site

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def releases(distribution: Distribution, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """``app`` in three releases, each of another version of its package."""
    site = Site(tmp_path_factory.mktemp("find") / "site", distribution, like=distribution.site)
    site.build()
    for version in ("2", "3"):
        site.repo.add("app", files={"usr/bin/app": f"#!/bin/sh\nexec sleep {version}\n"}, version=version)
        site.repo.publish()
        site.works("lock", "app", "--update")
        site.build()
    return site


def test_the_newest_release_is_looked_at(releases: Site) -> None:
    (found,) = releases.works("find", "app (>= 3)", "--json").json["found"]
    assert (found["version"], found["why"], found["definition"]) == ("3", "asked for", "app")
    assert (found["since"], found["superseded_by"]) == (found["image"], None)
    image = releases.image()
    assert found["digest"] == image.digest
    assert found["layer"] in {layer.digest for layer in image.layers}
    assert releases.works("find", "app (<< 3)").output == "no image holds app (<< 3)\n"


def test_every_release_says_since_when_and_what_took_its_place(releases: Site) -> None:
    found = releases.works("find", "app (<< 3)", "--releases", "all", "--json").json["found"]
    assert [one["version"] for one in found] == ["1", "2"]
    assert {one["since"] for one in found} == {found[0]["image"]}
    assert len({one["superseded_by"] for one in found}) == 1
    assert found[0]["superseded_by"].startswith("app:3")


def test_what_runs_is_asked_by_name_or_digest(releases: Site) -> None:
    every = releases.works("find", "app", "--releases", "all", "--json").json["found"]
    old = every[0]
    for text in (f"web-1  registry.example:5000/acme/{old['image']}  Up 3 days\n", f"imageID: x@{old['digest']}\n"):
        file = releases.folder / "running"
        file.write_text(text)
        assert releases.works("find", "app", "--releases", str(file), "--json").json["found"] == [old]
    assert releases.run("find", "app", "--releases", "nothing").code != 0


def test_wishes_that_are_none_and_places_without_images(releases: Site) -> None:
    assert releases.run("find", "app (").code == 2
    result = releases.run("find", "app", "oci:nowhere")
    assert (result.code, "nowhere" in result.errors) == (2, True)
