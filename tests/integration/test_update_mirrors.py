"""Updates on machines that have nothing, by mirrors that have dropped what is locked, or are between two states."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from builder.formats import lockfile
from builder.model.lock import LockedPackage
from tests.integration.test_security_update import day0, tracker
from tests.kit.distribution import Site
from tests.kit.http_server import HttpServer
from tests.kit.registry import registry

pytestmark = [pytest.mark.integration, pytest.mark.sampled(3)]
__all__ = ["day0"]

LOCKS = ("layers/tiny/lock.yaml", "layers/middle/lock.yaml", "repos/app/lock.yaml", "repos/second/lock.yaml")
INDEX = "dists/stable/main/binary-amd64/Packages"


def locks(site: Site) -> list[str]:
    return [(site.folder / name).read_text() for name in LOCKS]


def locked(site: Site, name: str) -> LockedPackage:
    packages = (p for path in LOCKS for lock in lockfile.read(site.folder / path).locks for p in lock.packages)
    return next(package for package in packages if package.name == name)


@pytest.fixture
def expected(day0: Site) -> str:
    """The digest that an update gives where nothing is missing; afterwards all is as it was."""
    before = locks(day0)
    shutil.copytree(day0.folder / "out", day0.folder / "out-begin")
    day0.works("security", "update", cache=day0.another_cache())
    digest = day0.image().digest
    for name, text in zip(LOCKS, before, strict=True):
        (day0.folder / name).write_text(text)
    shutil.rmtree(day0.folder / "out")
    (day0.folder / "out-begin").rename(day0.folder / "out")
    return digest


@pytest.mark.parametrize("by", ["layout", "registry"])
def test_what_moves_away_is_not_needed_nor_what_is_not_touched(
    by: str, day0: Site, expected: str, tmp_path: Path
) -> None:
    site = day0
    site.repo.vanish("lib", "1")
    site.repo.publish()
    cache = site.empty_cache()
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(HttpServer(site.mirror))
        site.env["IMGBUILD_MIRROR"] = server.uri
        words = ["security", "update", "--json"]
        if by == "registry":
            host = stack.enter_context(registry(tmp_path / "registry")).host
            site.works("publish", "--registry", host)
            shutil.rmtree(site.folder / "out")
            words += ["--reuse", host]
        told = site.works(*words, cache=cache)
        assert [(row["package"], row["old"], row["new"]) for row in told.json["moved"]] == [("lib", "1", "1.1")]
        assert site.image().digest == expected
        # What the base brings comes from the layout; configuring wants its packages all the same.
        made = (cache / "imgbuild/logs/app-1-r3.log").read_text().splitlines()
        assert [line for line in made if line.startswith("made packages of tiny")] == []
        assert [line for line in made if line.startswith("reused packages of tiny")] != []
        # What has moved is made before it is locked, while states are configured.
        assert [line for line in made if line.startswith("reused packages of middle")] != []
        # Each package of it once, and no other.
        fetched = sorted(
            request.path.rpartition("/")[2] for request in server.requests if request.path.endswith(".deb")
        )
        needed = [p for path in LOCKS[:3] for lock in lockfile.read(site.folder / path).locks for p in lock.artifacts()]
        assert fetched == sorted({Path(p.path).name for p in needed if isinstance(p, LockedPackage)})


def test_what_stays_and_is_nowhere_is_told_and_nothing_is_written(day0: Site, expected: str) -> None:
    site, package = day0, locked(day0, "other")
    before = locks(site)
    kept = site.folder.parent / "kept"
    kept.mkdir()
    shutil.copy(site.repo.folder / package.path, kept / package.sha256)
    site.repo.vanish("other", "1")
    site.repo.publish()
    cache = site.empty_cache()
    failed = site.run("security", "update", cache=cache)
    assert (failed.code, "error: other 1 is nowhere to be had any more" in failed.errors) == (1, True), failed.errors
    assert ("snapshot" in failed.errors, "stores" in failed.errors, "lock --update" in failed.errors) == (True,) * 3
    assert locks(site) == before
    site.edit("imgbuild.yaml", "workspace: site\n", f"workspace: site\nstores: ['{kept}']\n")
    assert [row["package"] for row in site.works("security", "update", "--json", cache=cache).json["moved"]] == ["lib"]
    assert site.image().digest == expected


def test_what_is_needed_to_build_is_had_before_locks_are_written(day0: Site) -> None:
    # The store has all that resolving and configuring want, and not what the image on top of it is made of.
    site, package = day0, locked(day0, "app")
    before = locks(site)
    (site.cache / "imgbuild/blobs/sha256" / package.sha256).unlink()
    site.repo.vanish("app", "1")
    site.repo.publish()
    failed = site.run("security", "update")
    assert (failed.code, "error: app 1 is nowhere to be had any more" in failed.errors) == (1, True), failed.errors
    assert locks(site) == before
    assert "-dev" not in (site.folder / "out/index.json").read_text()


# a mirror between two states


def publish(site: Site, version: str) -> Path:
    path = site.repo.add("lib", version, files={"usr/lib/lib.so": f"lib {version}\n" * 1000})
    site.repo.publish()
    (site.folder / "tracker.json").write_text(tracker(("lib", "CVE-2026-1", version)))
    return path


def keeping(paths: Iterable[Path], change: Callable[[], object]) -> Callable[[], None]:
    """Change a repository but for some files: what brings these as well."""
    old = {path: path.read_bytes() for path in paths}
    change()
    new = {path: path.read_bytes() for path in old}
    for path, data in old.items():
        path.write_bytes(data)

    def mend() -> None:
        for path, data in new.items():
            path.write_bytes(data)

    return mend


def new_release_alone(site: Site, version: str) -> Callable[[], None]:
    return keeping([site.repo.folder / INDEX], lambda: publish(site, version))


def new_index_alone(site: Site, version: str) -> Callable[[], None]:
    signed = [site.repo.folder / "dists/stable" / name for name in ("InRelease", "Release")]
    return keeping(signed, lambda: publish(site, version))


def a_part_of_the_package(site: Site, version: str, size: int = 1000) -> Callable[[], None]:
    path = publish(site, version)
    data = path.read_bytes()
    path.write_bytes(data[:size])

    def mend() -> None:
        path.write_bytes(data)

    return mend


def no_package_yet(site: Site, version: str) -> Callable[[], None]:
    mend = a_part_of_the_package(site, version, 0)
    next((site.repo.folder / "pool/stable").glob(f"lib_{version}_*.deb")).unlink()
    return mend


def test_a_mirror_between_two_states(day0: Site) -> None:
    site = day0
    unlike = "an index is not what the signed Release file says"
    states = (
        (new_release_alone, unlike, site.cache),
        (new_index_alone, unlike, site.another_cache()),
        (no_package_yet, "is not there, though the index of the source names it", site.cache),
        (a_part_of_the_package, "lib", site.cache),
    )
    with HttpServer(site.mirror) as server:
        site.env["IMGBUILD_MIRROR"] = server.uri
        for number, (between, message, cache) in enumerate(states, start=2):
            before, index = locks(site), (site.folder / "out/index.json").read_text()
            mend = between(site, f"1.{number}")
            found = site.run("security", "update", "--json", cache=cache)
            assert (found.code, message in found.output) == (1, True), found.errors + found.output
            assert (locks(site), (site.folder / "out/index.json").read_text()) == (before, index)
            mend()
            told = site.works("security", "update", "--json", cache=cache).json
            assert [(row["package"], row["new"]) for row in told["moved"]] == [("lib", f"1.{number}")]
        assert site.run("security", "status").code == 0
        assert site.works("lock", "--all", "--check").code == 0
        # Who knows the old state, and sees its Release file, goes by what that says.
        mend = new_index_alone(site, "1.6")
        assert site.run("security", "update", "--json").json["moved"] == []
        mend()
        assert [row["new"] for row in site.works("security", "update", "--json").json["moved"]] == ["1.6"]


def test_a_fix_that_is_not_there_yet_keeps_no_other(day0: Site) -> None:
    site = day0
    mend = no_package_yet(site, "1.2")
    (site.folder / "tracker.json").write_text(tracker(("lib", "CVE-2026-1", "1.2"), ("other", "CVE-2026-2", "2")))
    found = site.run("security", "update", "--json")
    assert (found.code, [(row["package"], row["new"]) for row in found.json["moved"]]) == (1, [("other", "2")])
    assert "is not there, though the index" in found.json["failed"]["lib"]
    mend()
    told = site.works("security", "update", "--json").json
    assert [(row["package"], row["new"]) for row in told["moved"]] == [("lib", "1.2")]
