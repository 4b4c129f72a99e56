"""Builds when the mirror has moved on, or is not there at all."""

from __future__ import annotations

import shutil

import pytest

from tests.kit.distribution import Site

pytestmark = pytest.mark.integration


def with_library(site: Site) -> dict[str, str]:
    """Lock and build app with a library that the site's own cache has not seen."""
    site.repo.add("lib", "1", files={"usr/lib/lib.so": "lib 1\n"})
    site.repo.add("app", "2", depends="lib", files={"usr/bin/app": "#!/bin/sh\n"})
    site.repo.publish()
    return site.build(out="expected", cache=site.lock_elsewhere())


def replace_library(site: Site) -> None:
    """Do as a mirror does some weeks later."""
    site.repo.vanish("lib", "1")
    site.repo.add("lib", "2", files={"usr/lib/lib.so": "lib 2\n"})
    site.repo.publish()


def test_a_version_that_is_gone_makes_a_dev_build(site: Site) -> None:
    expected = with_library(site)
    locks = site.lock(), site.lock("layers/tiny")
    replace_library(site)
    other = site.another_cache()
    result = site.works("build", "app", "--json")
    (image,) = result.json["images"]
    assert image["tag"] == "2-dev"
    assert "lib 1 is gone, 2 takes its place" in result.errors
    assert "app 2 is gone" not in result.errors
    assert (site.lock(), site.lock("layers/tiny")) == locks
    assert (site.unpack() / "usr/lib/lib.so").read_text() == "lib 2\n"
    # Again, and elsewhere: the same.
    assert site.build() == {"app": image["digest"]}
    assert site.build(out="elsewhere", cache=other) == {"app": image["digest"]}
    assert image["digest"] != expected["app"]


def test_locked_refuses_when_a_version_is_gone(site: Site) -> None:
    with_library(site)
    replace_library(site)
    result = site.run("build", "app", "--locked")
    assert result.code == 1
    assert "lib 1" in result.errors
    assert "hint: " in result.errors
    assert "imgbuild lock" in result.errors
    assert not (site.folder / "out").exists()


def test_a_workspace_can_demand_locked(site: Site) -> None:
    with_library(site)
    replace_library(site)
    site.edit("imgbuild.yaml", "workspace: site\n", "workspace: site\nlocked: true\n")
    assert site.run("build", "app").code == 1


def test_a_move_is_found_under_locked(site: Site) -> None:
    expected = with_library(site)
    site.repo.move("lib", "1", "stable", "security")
    site.repo.publish()
    result = site.works("build", "app", "--locked", "--json")
    assert result.json["images"][0]["digest"] == expected["app"]


def test_a_move_leaves_the_lock_alone(site: Site) -> None:
    with_library(site)
    site.repo.move("lib", "1", "stable", "security")
    site.repo.publish()
    changes = site.works("lock", "app", "--update", "--json").json
    assert [c for c in changes if c["added"] or c["removed"] or c["changed"]] == []
    assert site.run("outdated", "app").code == 0


def test_kept_packages_need_no_network(site: Site) -> None:
    with_library(site)
    expected = site.build()
    site.mirror.rename(site.mirror.with_name("away"))
    # All built: nothing is needed.
    assert site.build() == expected
    # Packages kept, layers gone: made anew from them.
    for kind in ("layers", "trees"):
        shutil.rmtree(site.cache / "imgbuild" / kind)
    shutil.rmtree(site.cache / "imgbuild/apt", ignore_errors=True)
    assert site.build(out="again") == expected
    assert site.works("build", "app", "--locked").code == 0


def test_without_network_a_missing_package_is_told(site: Site) -> None:
    with_library(site)
    site.mirror.rename(site.mirror.with_name("away"))
    result = site.run("build", "app")
    assert result.code == 1
    assert "Traceback" not in result.errors
    assert "hint: " in result.errors
