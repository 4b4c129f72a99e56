"""Packages that have moved or vanished, are kept elsewhere, or come from a mirror with a password."""

from __future__ import annotations

import shutil
from datetime import datetime, timedelta

import pytest

from builder.formats import lockfile
from builder.model.lock import LockedPackage
from tests.kit.distribution import Site
from tests.kit.http_server import HttpServer

pytestmark = [pytest.mark.integration, pytest.mark.sampled(6)]
SOURCE = "apt: http://deb.debian.org/tiny"
SECOND = "apt: http://deb.debian.org/tiny, suites: [stable], keyring: key.gpg"


def locked(site: Site, name: str = "app") -> LockedPackage:
    file = lockfile.read(site.folder / "repos/app/lock.yaml")
    return next(package for lock in file.locks for package in lock.packages if package.name == name)


def forget(site: Site, *packages: LockedPackage) -> None:
    """Lose packages, and what was made of them; and the layout of the last release."""
    store = site.cache / "imgbuild"
    for package in packages:
        (store / "blobs/sha256" / package.sha256).unlink()
        shutil.rmtree(store / "trees" / package.sha256, ignore_errors=True)
    shutil.rmtree(store / "layers")
    shutil.rmtree(site.folder / "out", ignore_errors=True)


@pytest.fixture
def digests(site: Site) -> dict[str, str]:
    """What a build of the site gives; afterwards ``app`` is forgotten."""
    found = site.build()
    forget(site, locked(site))
    return found


def test_a_package_that_moved_is_found_where_it_lies_now(site: Site, digests: dict[str, str]) -> None:
    lock = site.lock()
    site.repo.move("app", "1", "stable", "security")
    site.repo.publish()
    result = site.works("build", "app", "--json")
    assert {one["image"]: one["digest"] for one in result.json["images"]} == digests
    assert "-dev" not in result.output + result.errors
    assert "looking for 1 packages that have moved" in result.errors
    assert locked(site).suite == "stable"
    assert site.lock() == lock


def test_all_that_is_nowhere_is_told(site: Site) -> None:
    site.repo.add("lib", "1")
    site.repo.publish()
    site.edit("repos/app/component.yaml", "apt: [app]", "apt: [app, lib]")
    site.works("lock", "app")
    site.build()
    forget(site, locked(site), locked(site, "lib"))
    for name in ("app", "lib"):
        site.repo.vanish(name, "1")
    site.repo.publish()
    result = site.run("build", "app", "--locked")
    assert result.code == 1
    assert "error: app 1, lib 1 are nowhere to be had any more" in result.errors
    assert "snapshot" in result.errors


@pytest.mark.parametrize("by_http", [False, True])
def test_a_store_by_checksum_is_asked_first(site: Site, digests: dict[str, str], by_http: bool) -> None:
    package = locked(site)
    kept = site.folder / "kept"
    kept.mkdir()
    shutil.copy(site.repo.folder / package.path, kept / package.sha256)
    site.repo.vanish("app", "1")
    with HttpServer(kept) as server:
        store = server.uri if by_http else "kept"
        site.edit("imgbuild.yaml", "workspace: site", f"workspace: site\nstores: [nowhere, '{store}']")
        assert site.build() == digests
        assert server.asked(package.sha256) == int(by_http)


def test_a_store_that_has_other_bytes_is_passed_over(site: Site, digests: dict[str, str]) -> None:
    kept = site.folder / "kept"
    kept.mkdir()
    (kept / locked(site).sha256).write_text("something else")
    site.edit("imgbuild.yaml", "workspace: site", "workspace: site\nstores: [kept]")
    assert site.build() == digests


@pytest.mark.parametrize("dated", [False, True])
def test_a_snapshot_has_what_the_mirror_has_dropped(site: Site, digests: dict[str, str], dated: bool) -> None:
    package = locked(site)
    row = next(row for lock in lockfile.read(site.folder / "layers/tiny/lock.yaml").locks for row in lock.sources)
    name = datetime.fromisoformat(row.date).strftime("%Y%m%dT%H%M%SZ") if dated else "always"
    past = site.folder.parent / "past"
    shutil.copytree(site.repo.folder / "pool", past / name / "pool")
    site.repo.vanish("app", "1")
    site.repo.add("app", "2")
    site.repo.publish()
    with HttpServer(past) as server:
        place = "{date}" if dated else "always"
        site.edit("layers/tiny/layer.yaml", SOURCE, f"{SOURCE}, snapshot: '{server.uri}/{place}/'")
        result = site.works("build", "app", "--json", "--locked")
        assert {one["image"]: one["digest"] for one in result.json["images"]} == digests
        assert [request.path for request in server.requests] == [f"/{name}/{package.path}"]


def test_the_mirror_wants_a_password(site: Site, digests: dict[str, str]) -> None:
    with HttpServer(site.mirror) as server:
        server.require("me", "secret")
        site.env["IMGBUILD_MIRROR"] = server.uri
        result = site.run("build", "app")
        assert result.code == 1
        assert "401" in result.errors
        assert "netrc" in result.errors
        (site.folder / "netrc").write_text(f"machine {server.uri} login me password secret\n")
        site.edit("imgbuild.yaml", "workspace: site", "workspace: site\nnetrc: netrc")
        assert site.build() == digests
        site.works("lock", "app", "--update")


def test_a_mirror_that_was_set_back_is_refused(site: Site) -> None:
    site.repo.publish(age=timedelta(hours=3))
    site.repo.add("app", "2")
    result = site.run("lock", "app", "--update")
    assert result.code == 1
    assert "source tiny: security is of" in result.errors
    assert "a lock has seen it as of" in result.errors


def test_what_is_outdated_is_told_with_its_suite(site: Site) -> None:
    site.repo.add("app", "1.1")
    site.repo.add("app", "2", suite="security")
    site.repo.publish()
    result = site.run("outdated", "app", "--json")
    assert (result.code, result.json) == (
        3, [{"definition": "app", "package": "app", "locked": "1", "newest": "2", "suite": "security"}],
    )  # fmt: skip
    site.edit("layers/tiny/layer.yaml", "security], keyring: key.gpg}", "security], keyring: key.gpg, priority: 900}")
    site.edit("layers/tiny/layer.yaml", "[stable, security]", "[stable]")
    own = f"  late: {{{SECOND.replace('stable', 'security')}}}\nleave_out"
    site.edit("layers/tiny/layer.yaml", "leave_out", own)
    result = site.run("outdated", "app", "--json")
    assert [(row["newest"], row["suite"]) for row in result.json] == [("1.1", "stable")]


def test_a_mirror_stands_for_all_of_debians_addresses(site: Site) -> None:
    site.edit("layers/tiny/layer.yaml", "http://deb.debian.org", "https://security.debian.org")
    site.works("outdated", "app")
