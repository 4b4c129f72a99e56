"""A site without internet, and without any mirror: it builds its images from what an archive has brought, and patches them."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.transports import oci_layout
from tests.integration.test_mirror import raised
from tests.integration.test_security_update import MIDDLE, tracker
from tests.kit import documents
from tests.kit.distribution import Site
from tests.kit.http_server import HttpServer
from tests.kit.keys import pair
from tests.kit.project import ROOT, Run, imgbuild, project, running
from tests.kit.registry import Registry, registry

pytestmark = [pytest.mark.integration, pytest.mark.sampled(1)]


def git(folder: Path, *words: str) -> str:
    told = ("-c", "user.name=t", "-c", "user.email=t@localhost")
    return subprocess.run(["git", "-C", folder, *told, *words], check=True, capture_output=True, text=True).stdout


class Inside:
    """The site: no network, no mirror, and nothing of what is outside but the archives that are carried in."""

    def __init__(self, folder: Path, outside: Site) -> None:
        folder.mkdir()
        self.folder, self.outside = folder, outside
        self.cache, self.building = folder / "cache", folder / "building"

    @contextlib.contextmanager
    def without_mirror(self) -> Iterator[None]:
        """Nothing of the mirror outside is there as long as the block runs."""
        hidden = self.outside.mirror.with_name("hidden")
        self.outside.mirror.rename(hidden)
        try:
            yield
        finally:
            hidden.rename(self.outside.mirror)

    def run(self, *words: str, cwd: Path | None = None) -> Run:
        with self.without_mirror():
            return imgbuild(
                *words, cache=self.cache, cwd=cwd or self.folder, under=("unshare", "--net"),
                env={"IMGBUILD_MIRROR": str(self.building)},
            )  # fmt: skip

    def works(self, *words: str, cwd: Path | None = None) -> Run:
        result = self.run(*words, cwd=cwd)
        assert result.code == 0, result.errors + result.output
        return result

    def load(self, archive: str) -> None:
        shutil.copy(self.outside.folder / archive, self.folder)
        self.works("mirror", "load", archive, "oci:images", "--building", "building")

    def clone(self) -> Path:
        """The workspace, out of its bundle."""
        git(self.folder, "clone", "--quiet", "building/git/site.bundle", "work")
        return self.folder / "work"


@pytest.fixture
def outside(site: Site) -> Iterator[Site]:
    """A workspace in git with an application on a layer with a library, built; its feed is at an address."""
    site.repo.add("lib", "1", files={"usr/lib/lib.so": "lib 1\n" * 50})
    site.repo.add("other", "1", files={"usr/share/other": "other 1\n"})
    site.repo.compressed = True
    site.repo.publish()
    served = site.folder.parent / "served"
    served.mkdir()
    (served / "tracker.json").write_text(tracker())
    with HttpServer(served) as server:
        project(site.folder, {"layers/middle/layer.yaml": MIDDLE})
        site.edit("repos/app/component.yaml", "tiny ^1.0", "middle ^1.0")
        site.edit("imgbuild.yaml", "workspace: site\n", f"workspace: site\nfeeds: ['{server.uri}/tracker.json']\n")
        site.works("build", "--all")
        (site.folder / ".gitignore").write_text("out/\n*.tar\n*.txt\n")
        git(site.folder, "init", "--quiet", "--initial-branch", "main")
        git(site.folder, "add", ".")
        git(site.folder, "commit", "--quiet", "-m", "first")
        yield site


@pytest.fixture
def inside(outside: Site, tmp_path: Path) -> Inside:
    return Inside(tmp_path / "inside", outside)


def fixed(outside: Site) -> None:
    """The day after: a fix of the library, which nobody has locked, something newer that is none, and the feed tells."""
    outside.repo.add("lib", "1.1", files={"usr/lib/lib.so": "lib 1.1\n" * 50}, depends="new")
    outside.repo.add("new", "1", files={"usr/share/new": "needed by the fix\n"})
    outside.repo.add("other", "2", files={"usr/share/other": "other 2\n"})
    outside.repo.publish()
    (outside.folder.parent / "served/tracker.json").write_text(tracker(("lib", "CVE-2026-1", "1.1")))


def test_a_site_without_any_mirror_builds_and_patches_itself(outside: Site, inside: Inside) -> None:
    digests = outside.build()
    told = outside.works("mirror", "save", "first.tar", "--for-building", "--json").json
    assert told["files"] >= 9
    inside.load("first.tar")
    work = inside.clone()
    built = inside.works("build", "--all", "--locked", "--to", "oci:made", "--json", cwd=work).json["images"]
    # No layer was there: each was made, of packages.
    assert [(one["status"], one["layers_reused"]) for one in built] == [("built", 0)]
    assert {one["image"]: one["digest"] for one in built} == digests
    assert inside.works("lock", "--all", "--check", cwd=work).code == 0
    assert inside.works("security", "status", cwd=work).code == 0

    fixed(outside)
    (outside.folder / "site.txt").write_text(inside.works("mirror", "list", "building").output)
    second = outside.works("mirror", "save", "second.tar", "--for-building", "--since", "site.txt", "--since", "first.tar",
                           "--json").json  # fmt: skip
    assert (outside.folder / "second.tar").stat().st_size < (outside.folder / "first.tar").stat().st_size / 4
    assert second["left_out"] > 0
    inside.load("second.tar")
    status = inside.run("security", "status", "--json", cwd=work)
    assert (status.code, [one["advisory"] for one in status.json["open"]]) == (3, ["CVE-2026-1"])
    done = inside.works("security", "update", "--to", "oci:made", "--json", cwd=work).json
    assert [(one["package"], one["old"], one["new"]) for one in done["moved"]] == [("lib", "1", "1.1")]
    assert [one["package"] for one in done["added"]] == ["new"]
    assert [one["advisory"] for one in done["closed"]] == ["CVE-2026-1"]
    assert inside.works("security", "status", cwd=work).code == 0
    assert inside.works("validate", "oci:made", cwd=work).code == 0


def test_the_folder_is_a_mirror_as_it_stood(outside: Site, inside: Inside) -> None:
    """Signed indexes, and the packages that there are: whoever reads a mirror reads this one."""
    outside.works("mirror", "save", "first.tar", "--for-building")
    inside.load("first.tar")
    there = inside.building / "apt/deb.debian.org/tiny"
    for suite in outside.repo.suites:
        name = f"dists/{suite}/InRelease"
        assert (there / name).read_bytes() == (outside.repo.folder / name).read_bytes()
    listed = {path.relative_to(there) for path in there.rglob("*.deb")}
    assert {path.name.partition("_")[0] for path in listed} >= {"tiny", "app", "lib", "other"}
    for path in listed:
        assert (there / path).read_bytes() == (outside.repo.folder / path).read_bytes()
    assert [path.name for path in (inside.building / "keyrings").iterdir()] == ["tiny-key.gpg"]


def test_what_is_not_there_any_more_goes_and_its_bytes_stay(outside: Site, inside: Inside) -> None:
    """A lock of yesterday builds, whatever has come since."""
    outside.works("mirror", "save", "first.tar", "--for-building")
    inside.load("first.tar")
    work = inside.clone()
    fixed(outside)
    outside.works("lock", "--all", "--update")
    outside.works("build", "--all")
    outside.works("mirror", "save", "second.tar", "--for-building", "--since", "first.tar")
    inside.load("second.tar")
    names = {path.name for path in inside.building.rglob("*.deb")}
    assert {"lib_1.1_all.deb"} <= names
    assert "lib_1_all.deb" not in names
    inside.works("build", "--all", "--locked", cwd=work)


def test_filling_that_was_killed_is_finished_by_the_next(outside: Site, inside: Inside) -> None:
    outside.works("mirror", "save", "first.tar", "--for-building")
    shutil.copy(outside.folder / "first.tar", inside.folder)
    for number in range(4):
        words = ("mirror", "load", "first.tar", "oci:images", "--building", "building")
        with running(*words, cache=inside.cache, cwd=inside.folder) as started:
            time.sleep(0.3 + 0.05 * number)
            if started._process.poll() is None:
                started.signal(signal.SIGKILL)
            started.end()
    inside.load("first.tar")
    assert not list(inside.building.rglob(".*"))
    inside.works("build", "--all", "--locked", cwd=inside.clone())


def test_a_site_that_lacks_files_that_were_left_out(outside: Site, inside: Inside) -> None:
    outside.works("mirror", "save", "first.tar", "--for-building")
    outside.works("mirror", "save", "second.tar", "--for-building", "--since", "first.tar")
    outside.works("mirror", "save", "images.tar")
    for name, told, code in (
        ("second.tar", "files that building does not have", 1), ("images.tar", "mirror save --for-building", 2),
    ):  # fmt: skip
        shutil.copy(outside.folder / name, inside.folder)
        refused = inside.run("mirror", "load", name, "oci:images", "--building", "building")
        assert refused.code == code
        assert told in refused.errors
    assert not inside.building.exists()
    assert not (inside.folder / "images").exists()


def test_what_a_site_builds_from_is_signed(outside: Site, inside: Inside) -> None:
    key, other = pair(outside.folder.parent), pair(outside.folder.parent, "other")
    outside.works("mirror", "save", "bare.tar", "--for-building")
    outside.works("mirror", "save", "signed.tar", "--for-building", "--sign", str(key.private))

    def load(name: str, by: Path) -> Run:
        shutil.copy(outside.folder / name, inside.folder)
        return inside.run("mirror", "load", name, "oci:images", "--building", "building", "--signed-by", str(by))

    for name, by in (("bare.tar", key.public), ("signed.tar", other.public)):
        assert load(name, by).code == 1
    # Signed images in an archive that is not: what else there is could be anybody's.
    with registry(outside.folder.parent / "registry") as made:
        outside.works("publish", "--registry", made.host, "--sign", str(key.private))
    outside.works("mirror", "save", "images.tar", "--for-building")
    refused = load("images.tar", key.public)
    assert "what the site builds from is not signed by this key" in refused.errors
    assert not inside.building.exists()
    assert not (inside.folder / "images").exists()
    assert load("signed.tar", key.public).code == 0
    assert outside.run("mirror", "save", "x.tar", "--sign", "nowhere.key").code == 2


def test_an_older_archive_does_not_take_a_newer_ones_place(outside: Site, inside: Inside) -> None:
    outside.works("mirror", "save", "first.tar", "--for-building")
    time.sleep(1.1)
    fixed(outside)
    outside.works("mirror", "save", "second.tar", "--for-building")
    inside.load("second.tar")
    shutil.copy(outside.folder / "first.tar", inside.folder)
    refused = inside.run("mirror", "load", "first.tar", "oci:images", "--building", "building")
    assert refused.code == 1
    assert "is older than what building holds" in refused.errors


def test_what_a_workspace_uses_comes_along(outside: Site, inside: Inside, tmp_path: Path) -> None:
    """A git repository at a commit, with the layer that the images stand on."""
    shared = tmp_path / "shared"
    shutil.move(outside.folder / "layers", shared / "layers")
    (outside.folder / "layers").mkdir()
    (outside.folder / "layers/.keep").write_text("")
    for words in (("init", "--quiet", "--initial-branch", "main"), ("add", "."), ("commit", "--quiet", "-m", "shared")):
        git(shared, *words)
    commit = git(shared, "rev-parse", "HEAD").strip()
    text = f"uses:\n- {{url: 'file://{shared}', ref: main, commit: {commit}}}\n"
    (outside.folder / "imgbuild.yaml").write_text((outside.folder / "imgbuild.yaml").read_text() + text)
    outside.works("lock", "app")
    digests = outside.build()
    git(outside.folder, "add", "--all", ".")
    git(outside.folder, "commit", "--quiet", "-m", "it uses another")
    outside.works("mirror", "save", "first.tar", "--for-building")
    inside.load("first.tar")
    os.rename(shared, tmp_path / "gone")
    built = inside.works("build", "--all", "--locked", "--json", cwd=inside.clone()).json["images"]
    assert {one["image"]: one["digest"] for one in built} == digests


def test_the_same_workspace_gives_the_same_bytes(outside: Site) -> None:
    outside.works("mirror", "save", "a.tar", "--for-building")
    outside.works("mirror", "save", "b.tar", "--for-building")
    assert (outside.folder / "a.tar").read_bytes() == (outside.folder / "b.tar").read_bytes()


def test_the_guide_is_followed(outside: Site, inside: Inside, plain: Registry) -> None:
    """docs/air-gapped.md: blocks outside and inside, each with what the other has carried over.

    One registry stands for both. Between the first archive and the second there is a new release, between those for building a
    fix. Inside there is no mirror.
    """
    key = pair(outside.folder.parent)
    shutil.copy(key.public, outside.folder / "release.pub")
    shutil.copy(key.private, outside.folder / "release.key")

    def release() -> None:
        outside.works("publish", "--registry", f"{plain.host}/openstack", "--sign", str(key.private))

    release()
    for block in documents.BLOCK.findall((ROOT / "docs/air-gapped.md").read_text()):
        where, _, script = block.partition("\n")
        assert where in ("# outside", "# inside")
        if where == "# outside" and "save second.tar" in script:
            raised(outside)
            release()
        if where == "# outside" and "save site.tar" in script:
            git(outside.folder, "commit", "--quiet", "--all", "--message", "the next release")
        if where == "# outside" and "save next.tar" in script:
            fixed(outside)
        for name, ours in (
            ("registry.example:5000", plain.host), ("registry.site:5000/openstack", f"{plain.host}/inside"),
            ("nova-api", "app"),
        ):  # fmt: skip
            script = script.replace(name, ours)
        here, there = (outside.folder, inside.folder) if where == "# outside" else (inside.folder, outside.folder)
        for file in there.glob("*.*"):
            if file.suffix in (".tar", ".txt", ".pub"):
                shutil.copy(file, here)
        if here == outside.folder:
            documents.run(script, outside.folder, outside.cache, outside.env)
        else:
            with inside.without_mirror():
                documents.run(script, inside.folder, inside.cache, {"IMGBUILD_MIRROR": str(inside.building)})
    assert plain.tags("inside/app").keys() == plain.tags("openstack/app").keys()
    names = oci_layout.references(inside.folder / "made")
    assert len(names) == 2, names
