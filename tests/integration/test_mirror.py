"""``imgbuild mirror``: releases go to a site without internet in an archive, against real registries."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.integration.test_copy import entries
from tests.kit.distribution import Site
from tests.kit.faulty_proxy import Fault, FaultyProxy
from tests.kit.keys import pair
from tests.kit.project import imgbuild, running
from tests.kit.registry import Registry

pytestmark = [pytest.mark.integration, pytest.mark.sampled(3)]


def raised(site: Site) -> None:
    """The next release of one of them: one layer is another."""
    site.edit("repos/app/component.yaml", "user: app", "user: app, env: {A: b}")
    site.repo.add("app", "1.1", files={"usr/bin/app": "#!/bin/sh\nexec sleep 61\n"})
    site.repo.publish()
    site.works("lock", "app", "--update")
    site.works("build", "--all", "--attest")


def floating(registry: Registry, repository: str) -> dict[str, str]:
    return {tag: digest for tag, digest in registry.tags(repository).items() if not tag.startswith("sha256-")}


def test_the_first_archive_brings_all_and_the_next_what_changed(two: Site, there: Registry, tmp_path: Path) -> None:
    """From a layout into a registry, where nothing is known of a workspace."""
    key, inside, place = pair(tmp_path), tmp_path / "inside", f"registry:{there.host}/first"
    inside.mkdir()
    two.works("publish", "--registry", f"{there.host}/outside", "--sign", str(key.private))
    first = two.works("mirror", "save", "first.tar", "--json").json
    assert first["left_out"] == 0

    def load(archive: str) -> list[str]:
        done = imgbuild("mirror", "load", str(two.folder / archive), place, "--signed-by", str(key.public), "--json",
                        cache=tmp_path / "cache", cwd=inside)  # fmt: skip
        assert done.code == 0, done.errors
        return [one["digest"] for one in done.json["images"]]

    digests = load("first.tar")
    assert digests == [one["digest"] for one in first["images"]]
    assert floating(there, "first/second") == dict.fromkeys(("1.2.3-r1", "1.2.3", "1.2", "1"), digests[1])
    raised(two)
    two.works("publish", "--registry", f"{there.host}/outside", "--sign", str(key.private))
    second = two.works("mirror", "save", "second.tar", "--since", "first.tar", "--json").json
    image = two.image("app")
    known = {layer.digest for layer in two.image("app:1-r1").layers}
    new = {layer.digest for layer in image.layers} - known
    assert second["left_out"] == len({x.digest for x in (*image.layers, *two.image("second").layers)} - new)
    assert second["bytes"] < first["bytes"]
    assert load("second.tar")[0] == image.digest
    assert floating(there, "first/app") == {
        "1-r1": digests[0],
        "1.1-r1": image.digest,
        "1.1": image.digest,
        "1": image.digest,
    }
    for name in ("app", "second"):
        there.require_whole(f"first/{name}")
        verified = two.run("verify", f"{place}/{name}", "--signed-by", str(key.public), cache=two.empty_cache())
        assert verified.code == 0, verified.output
    assert two.works("provenance", f"{place}/app").output == two.works("provenance", "app").output


def test_what_the_site_has_is_said_in_many_ways(two: Site, there: Registry, tmp_path: Path) -> None:
    two.works("mirror", "save", "first.tar")
    two.works("mirror", "load", "first.tar", "oci:site")
    two.works("mirror", "load", "first.tar", f"registry:{there.host}/ways")
    before = two.image("app").digest
    raised(two)
    listed = two.works("mirror", "list", "oci:site").output
    (two.folder / "site.txt").write_text(listed)
    assert two.works("mirror", "list", f"registry:{there.host}/ways/").output == listed
    (two.folder / "pods.yaml").write_text(f"image: r/app@{before}\nimageID: r/second:1.2.3-r1\n")
    ways = ("first.tar", "oci:site", f"registry:{there.host}/ways/", "site.txt", "pods.yaml")
    archives = []
    for way in ways:
        two.works("mirror", "save", "next.tar", "--since", way)
        archives.append((two.folder / "next.tar").read_bytes())
    assert [one == archives[0] for one in archives] == [True] * len(ways)
    # An image by its name: what the other has is not known to be there.
    two.works("mirror", "save", "one.tar", "app", "--since", "app:1-r1")
    two.works("mirror", "load", "one.tar", "oci:site")
    assert two.run("validate", "oci:site").code == 0
    assert entries(two.folder / "site")["app:1.1-r1"] == entries(two.folder / "out")["app:1.1-r1"]


def test_tags_of_a_registry_go_along(two: Site, there: Registry) -> None:
    two.works("publish", "app", "--registry", f"{there.host}/tags/out", "--latest")
    two.works("mirror", "save", "a.tar", f"registry:{there.host}/tags/out/", cache=two.empty_cache())
    two.works("mirror", "load", "a.tar", f"registry:{there.host}/tags/in", cache=two.empty_cache())
    assert floating(there, "tags/in/app") == floating(there, "tags/out/app")
    assert "latest" in floating(there, "tags/in/app")


def test_each_side_has_names_of_its_own(two: Site, there: Registry, tmp_path: Path) -> None:
    two.edit(
        "imgbuild.yaml", "workspace: site\n",
        'workspace: site\nnames: "{registry}/{namespace}/{component}/{image}:v{version}{-site}-b{revision}"\n',
    )  # fmt: skip
    two.works("publish", "--registry", f"{there.host}/named/out")
    two.works("mirror", "save", "a.tar", f"registry:{there.host}/named/out/")
    done = imgbuild("mirror", "load", str(two.folder / "a.tar"), f"registry:{there.host}/named/in",
                    cache=tmp_path / "cache", cwd=tmp_path)  # fmt: skip
    assert done.code == 0, done.errors
    before = floating(there, "named/out/second/second")
    assert before.keys() == {"v1.2.3-b1", "v1.2.3", "v1.2", "v1"}
    digest = before["v1.2.3-b1"]
    assert floating(there, "named/in/second") == dict.fromkeys(("1.2.3-r1", "1.2.3", "1.2", "1"), digest)
    two.works("mirror", "load", "a.tar", f"registry:{there.host}/named/again")
    assert floating(there, "named/again/second/second") == before


def test_a_layer_of_another_image_of_the_site_is_taken_over(two: Site, there: Registry) -> None:
    """Left out, since another repository has it, which the archive brings nothing of."""
    place = f"registry:{there.host}/over"
    two.works("mirror", "save", "app.tar", "app")
    two.works("mirror", "load", "app.tar", place)
    two.works("mirror", "save", "second.tar", "second", "--since", "app.tar")
    two.works("mirror", "load", "second.tar", place, cache=two.empty_cache())
    there.require_whole("over/second")


def test_a_site_that_lacks_what_was_left_out(two: Site, there: Registry) -> None:
    two.works("mirror", "save", "first.tar")
    raised(two)
    two.works("mirror", "save", "second.tar", "--since", "first.tar")
    for target in ("oci:elsewhere", f"registry:{there.host}/lacks"):
        refused = two.run("mirror", "load", "second.tar", target)
        assert refused.code == 1
        assert f"layers that {target} does not have" in refused.errors
        assert "imgbuild mirror list" in refused.errors
    assert not (two.folder / "elsewhere/index.json").exists()
    assert there.tags("lacks/app") == {}


def test_damage_is_told_before_anything_is_written(two: Site, there: Registry) -> None:
    two.works("mirror", "save", "whole.tar")
    data = (two.folder / "whole.tar").read_bytes()
    middle = len(data) // 2
    (two.folder / "cut.tar").write_bytes(data[:middle])
    (two.folder / "changed.tar").write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
    for name, told in (("cut.tar", "cut off or changed"), ("changed.tar", "was changed")):
        for target in ("oci:damaged", f"registry:{there.host}/damaged"):
            refused = two.run("mirror", "load", name, target)
            assert refused.code == 1
            assert told in refused.errors
            assert "hint: copy it once more" in refused.errors
    assert not (two.folder / "damaged").exists()
    assert not (there.folder / "data/docker/registry/v2/repositories/damaged").exists()


def test_who_has_not_signed_is_not_believed(two: Site, there: Registry, tmp_path: Path) -> None:
    key, other = pair(tmp_path), pair(tmp_path, "other")
    two.works("mirror", "save", "bare.tar", "app")
    two.works("publish", "app", "--registry", f"{there.host}/believed", "--sign", str(other.private))
    two.works("mirror", "save", "other.tar", "app")
    for name, told in (("bare.tar", "it is not signed"), ("other.tar", "not signed by this key")):
        refused = two.run("mirror", "load", name, "oci:believed", "--signed-by", str(key.public))
        assert refused.code == 1
        assert told in refused.errors
    assert not (two.folder / "believed").exists()
    two.works(
        "mirror", "load", "other.tar", "oci:believed", "--signed-by", str(key.public), "--signed-by", str(other.public)
    )


def test_own_signatures_of_a_layout_stay(two: Site, there: Registry, tmp_path: Path) -> None:
    key, own = pair(tmp_path), pair(tmp_path, "own")
    two.works("publish", "app", "--registry", f"{there.host}/own/a", "--sign", str(key.private))
    two.works("mirror", "save", "a.tar", "app")
    two.works("mirror", "load", "a.tar", "oci:site")
    two.works("publish", "app", "--from", "oci:site", "--registry", f"{there.host}/own/b", "--sign", str(own.private))
    two.works("mirror", "load", "a.tar", "oci:site")
    for one in (key, own):
        assert two.run("verify", "oci:site:app", "--signed-by", str(one.public)).code == 0


def test_a_run_that_was_killed_is_finished_by_the_next(two: Site, plain: Registry, tmp_path: Path) -> None:
    two.works("mirror", "save", "a.tar")
    chance = random.Random(4)
    with FaultyProxy(plain.port) as proxy:
        for _ in range(5):
            words = ("mirror", "load", "a.tar", f"registry:{proxy.host}/killed")
            with running(*words, cache=two.cache, cwd=two.folder, env=two.env) as started:
                before, after = len(proxy.asked), chance.randrange(1, 60)
                deadline = time.monotonic() + 30
                while started._process.poll() is None and len(proxy.asked) < before + after:
                    assert time.monotonic() < deadline
                    time.sleep(0.002)
                if started._process.poll() is None:
                    started.signal(signal.SIGKILL)
                started.end()
            for name in ("app", "second"):
                plain.require_whole(f"killed/{name}")
        proxy.spoil("PUT", "/manifests/", Fault(status=500), Fault(reset_after=10))
        two.works("mirror", "load", "a.tar", f"registry:{proxy.host}/killed")
    for name in ("app", "second"):
        plain.require_whole(f"killed/{name}")
        assert len(floating(plain, f"killed/{name}")) > 1


def test_into_a_layout_a_run_that_was_killed_is_finished_by_the_next(two: Site) -> None:
    two.works("mirror", "save", "a.tar")
    for number in range(4):
        with running("mirror", "load", "a.tar", "oci:killed", cache=two.cache, cwd=two.folder, env=two.env) as started:
            time.sleep(0.25 + 0.05 * number)
            if started._process.poll() is None:
                started.signal(signal.SIGKILL)
            started.end()
    two.works("mirror", "load", "a.tar", "oci:killed")
    assert entries(two.folder / "killed") == entries(two.folder / "out")
    assert two.run("validate", "oci:killed").code == 0
    assert not [*(two.folder / "killed/blobs/sha256").glob(".*")]


def test_skopeo_reads_it(two: Site, tmp_path: Path) -> None:
    """Which nobody here has written."""
    two.works("mirror", "save", "a.tar")
    subprocess.run(
        ["skopeo", "copy", f"oci-archive:{two.folder}/a.tar:app:1-r1", f"dir:{tmp_path}/copy"],
        check=True,
        capture_output=True,
    )
    assert two.works("inspect", f"dir:{tmp_path}/copy", "--json").json["digest"] == two.image("app").digest


def test_the_same_releases_give_the_same_bytes(two: Site) -> None:
    two.works("mirror", "save", "a.tar")
    two.works("mirror", "save", "b.tar", "second", "app", cache=two.empty_cache())
    assert (two.folder / "a.tar").read_bytes() == (two.folder / "b.tar").read_bytes()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("save", "a.tar", "nothing"), "has no image 'nothing'"),
        (("save", "nowhere/a.tar"), "there is no folder nowhere"),
        (("save", "a.tar", "--since", "nothing.tar"), "has no image 'nothing.tar'"),
        (("load", "nothing.tar", "oci:x"), "there is no archive nothing.tar"),
        (("load", "nothing.tar", "docker:"), "come into a layout or a registry"),
        (("load", "nothing.tar", "oci:"), "come into a layout or a registry"),
        (("list", "oci:nowhere"), "no OCI layout"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_wrong_input(two: Site, words: tuple[str, ...], said: str) -> None:
    result = two.run("mirror", *words)
    assert result.code == 2
    assert said in result.errors
