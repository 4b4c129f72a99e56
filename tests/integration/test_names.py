"""Releases that are called otherwise in a registry: from publishing to pruning, a site's own among them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.kit.distribution import SECOND, Site
from tests.kit.registry import Registry

pytestmark = [pytest.mark.integration, pytest.mark.sampled(2)]
OVERLAY = """\
dsl: 1
overlay: acme
components:
  second: {images: {second: {run: {env: {SITE: acme}}}}}
"""


@pytest.fixture
def named(site: Site, there: Registry) -> Site:
    """A site with names of its own, two releases of one component and one that it has changed itself."""
    site.write({"repos/second/component.yaml": SECOND, "acme/overlay.yaml": OVERLAY})
    names = "{registry}/{namespace}/{component}/debian-{image}:v{version}-build{revision}{-site}"
    told = f"overlays: [acme]\nregistry: {there.host}/named\nnames: '{names}'\n"
    site.edit("imgbuild.yaml", "workspace: site\n", f"workspace: site\n{told}")
    site.works("lock", "second")
    site.works("build", "--all")
    site.works("publish")
    site.edit("repos/app/component.yaml", "user: app", "user: app, env: {A: b}")
    site.works("lock", "app")
    site.works("build", "app")
    return site


def test_names_of_a_site(named: Site, there: Registry) -> None:
    """One story: what each command does with what the one before it has left."""
    sent = named.works("publish", "--json").json["images"]
    assert {one["image"]: (one["reference"], one["tags"], one["status"]) for one in sent} == {
        "app:1-r2": (f"{there.host}/named/app/debian-app:v1-build2", ["v1-build2", "v1"], "published"),
        "second:1.2.3-acme-r1": (f"{there.host}/named/second/debian-second:v1.2.3-build1-acme", [], "there"),
    }
    tags = {tag for tag in there.tags("named/app/debian-app") if not tag.startswith("sha256-")}
    assert tags == {"v1", "v1-build1", "v1-build2"}
    assert {"v1.2.3-build1-acme", "v1.2.3", "v1.2", "v1"} <= there.tags("named/second/debian-second").keys()
    # It is read back by these names: the newest of an image, a version, a tag that moves.
    place = f"registry:{there.host}/named"
    for asked in ("", ":v1", ":v1-build2"):
        assert inspected(named, f"{place}/app/debian-app{asked}") == f"{place}/app/debian-app:v1-build2".replace(
            ":v1-build2", ":v1" if asked == ":v1" else ":v1-build2"
        )
    assert named.run("diff", f"{place}/app/debian-app", "app", cache=named.empty_cache()).code == 0
    older = named.run("diff", f"{place}/app/debian-app", "--json")
    assert older.json["old"].endswith(":v1-build1")
    found = named.works("find", "app", f"{place}/", "--json").json["found"]
    assert {one["image"].removeprefix(place): one["superseded_by"] for one in found} == {
        "/app/debian-app:v1-build2": None, "/second/debian-second:v1.2.3-build1-acme": None,
    }  # fmt: skip
    pulled(named)
    recorded(named, there)
    pruned(named, there, place)


def inspected(site: Site, name: str) -> str:
    return str(site.works("inspect", name, "--json").json["name"])


def pulled(site: Site) -> None:
    """Into a layout they come by their own names; what is copied on takes these along."""
    (site.folder / "out").rename(site.folder / "old")
    site.works("pull", cache=site.empty_cache())
    names = [one["annotations"]["org.opencontainers.image.ref.name"] for one in json.loads(index(site))["manifests"]]
    assert sorted(names) == ["app:1-r2", "second:1.2.3-acme-r1"]
    host = str(site.works("publish", "app", "--json").json["images"][0]["reference"]).partition("/")[0]
    (copied,) = site.works("copy", "second", f"registry:{host}/copied", "--json").json["images"]
    assert copied["target"] == f"registry:{host}/copied/second/debian-second:v1.2.3-build1-acme"
    assert site.works("publish", "--json").json["images"][0]["status"] == "there"


def index(site: Site) -> str:
    return (site.folder / "out/index.json").read_text()


def recorded(site: Site, there: Registry) -> None:
    """What runs by these names is known as what was released; so is where that was published."""
    running = site.folder / "running"
    running.write_text(f"CONTAINER  IMAGE\n1234  {there.host}/named/app/debian-app:v1-build1\n")
    site.works("record", "rebuild", f"registry:{there.host}/named/")
    (found,) = site.works("find", "app", "--releases", str(running), "--json").json["found"]
    assert (found["image"], found["superseded_by"]) == ("app:1-r1", "app:1-r2")
    (newest,) = (one for one in site.works("find", "app", "--json").json["found"] if one["image"] == "app:1-r2")
    (where,) = newest["published"]
    assert (where["repository"], where["tags"]) == (f"{there.host}/named/app/debian-app", ["v1"])
    in_place = site.works("find", "app", f"registry:{there.host}/named/", "--releases", str(running), "--json").json
    assert [one["image"].rpartition("/")[2] for one in in_place["found"]] == ["debian-app:v1-build1"]


def pruned(site: Site, there: Registry, place: str) -> None:
    told = site.works("prune", f"{place}/", "--keep", "1", "--json").json["images"]
    assert {one["image"].rpartition("/")[2]: one["stays"] for one in told} == {
        "debian-app:v1-build1": False, "debian-app:v1-build2": True, "debian-second:v1.2.3-build1-acme": True,
    }  # fmt: skip
    site.works("prune", f"{place}/", "--keep", "1", "--yes")
    assert "v1-build1" not in there.tags("named/app/debian-app")
    assert site.run("validate", f"{place}/").code == 0


def test_an_empty_runner_takes_layers_from_there(named: Site) -> None:
    named.works("publish")
    (named.folder / "out").rename(named.folder / "old")
    for blobs in (named.mirror / "tiny").rglob("*.deb"):
        blobs.unlink()
    built = named.works("build", "app", "--locked", "--json", cache=named.empty_cache()).json["images"]
    assert built[0]["layers_made"] == 0


def test_wrong_names_are_told_at_their_place(site: Site, tmp_path: Path) -> None:
    site.edit(
        "imgbuild.yaml", "workspace: site\n", "workspace: site\nnames: '{registry}/{imag}:{version}-r{revision}'\n"
    )
    for words in (("publish", "--registry", "r.example"), ("check",), ("inspect", "app")):
        result = site.run(*words)
        assert result.code == 2
        assert "imgbuild.yaml:3:8" in result.errors
        assert "did you mean '{image}'?" in result.errors


def test_a_prefix_that_names_have_no_place_for(site: Site) -> None:
    site.edit(
        "imgbuild.yaml", "workspace: site\n", "workspace: site\nnames: '{registry}/{image}:{version}-r{revision}'\n"
    )
    result = site.run("publish", "--registry", "127.0.0.1:1/team")
    assert result.code == 2
    assert "have no {namespace} that 'team' could be" in result.errors
