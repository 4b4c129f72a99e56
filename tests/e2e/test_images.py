"""Images from Debian's mirror, run by a real docker."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from builder.make.left_behind import LEFT_BEHIND
from tests.kit.engines import Docker
from tests.kit.fleet import Fleet
from tests.kit.project import ROOT, imgbuild

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="session")
def built(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, object]]:
    """A layout with memcached, the store it was made in, and what was said of it."""
    out = tmp_path_factory.mktemp("memcached") / "out"
    result = imgbuild("build", "memcached", "--to", f"oci:{out}", "--json", cache=fleet.cache)
    assert result.code == 0, result.errors
    (image,) = json.loads(result.output)["images"]
    return out, fleet.cache, image


def test_it_is_valid(built: tuple[Path, Path, dict[str, object]]) -> None:
    out, cache, image = built
    result = imgbuild("validate", f"oci:{out}", cache=cache)
    assert (result.code, result.output) == (0, f"oci:{out}:memcached:{image['tag']}: valid\n")
    inspected = subprocess.run(
        ["skopeo", "inspect", f"oci:{out}:memcached:{image['tag']}"], capture_output=True, check=True
    )
    assert json.loads(inspected.stdout)["Digest"] == image["digest"]


def test_another_cache_gives_the_same_digest(built: tuple[Path, Path, dict[str, object]], tmp_path: Path) -> None:
    _, _, image = built
    environment = {"LC_ALL": "C", "TZ": "Asia/Tokyo"}
    words = ("build", "memcached", "--to", f"oci:{tmp_path / 'out'}", "--json", "-j1")
    result = imgbuild(*words, cache=tmp_path / "cache", env=environment, umask=0o077)
    assert result.code == 0, result.errors
    assert json.loads(result.output)["images"][0]["digest"] == image["digest"]


def test_a_second_build_makes_nothing(built: tuple[Path, Path, dict[str, object]]) -> None:
    out, cache, image = built
    result = imgbuild("build", "memcached", "--to", f"oci:{out}", "--json", cache=cache)
    (again,) = json.loads(result.output)["images"]
    if image["tag"].endswith("-dev"):  # type: ignore[attr-defined]
        pytest.skip("the mirror has dropped a locked version: a -dev build is resolved anew each time")
    assert (again["layers_made"], again["digest"]) == (0, image["digest"])


def test_bills_of_materials_list_what_dpkg_query_lists(
    built: tuple[Path, Path, dict[str, object]], docker: Docker
) -> None:
    out, cache, image = built
    imgbuild("build", "memcached", "--to", "docker:", cache=cache, env={"DOCKER_HOST": docker.host})
    name = docker.start(f"memcached:{image['tag']}", "--read-only", "--cap-drop=ALL")
    installed = docker("exec", name, "dpkg-query", "-W", "-f", "${Package} ${Version}\n").splitlines()
    for form, library, version in (("spdx", "LIBRARY", "versionInfo"), ("cyclonedx", "library", "version")):
        result = imgbuild("sbom", f"oci:{out}", "--format", form, cache=cache)
        assert result.code == 0, result.errors
        found = result.json.get("packages") or result.json["components"]
        named = [one for one in found if library in (one.get("primaryPackagePurpose"), one.get("type"))]
        assert sorted(f"{one['name']} {one[version]}" for one in named) == sorted(installed)
        assert all(one.get("hashes") or one.get("checksums") for one in named)


def test_it_is_made_again_from_its_lock(built: tuple[Path, Path, dict[str, object]]) -> None:
    out, cache, image = built
    result = imgbuild("rebuild", f"oci:{out}", "--json", cache=cache)
    assert result.code == 0, result.errors + result.output
    assert [one["rebuilt"] for one in result.json["images"]] == [image["digest"]]


def test_two_commands_of_the_readme_are_there() -> None:
    text = (ROOT / "README.md").read_text()
    assert "./imgbuild build nova" in text
    assert "./run-tests" in text


def test_what_is_left_behind_has_reasons() -> None:
    assert all(reason for _, reason in LEFT_BEHIND)
