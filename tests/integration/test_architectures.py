"""One release for several architectures: locked, built, published, pulled."""

from __future__ import annotations

import json
import platform
from pathlib import Path

import pytest

from builder.formats import lockfile, oci
from builder.tools import process
from tests.kit import keys as keys_
from tests.kit.distribution import Site
from tests.kit.registry import Registry

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(platform.machine() != "x86_64", reason="arm64 stands for the other architecture"),
]


@pytest.fixture
def both(site: Site) -> Site:
    """A site whose images are made for two architectures, of packages that are the same for both."""
    site.repo.architectures = ("amd64", "arm64")
    for suite in site.repo.suites:
        (site.repo.folder / "dists" / suite / "main/binary-arm64").mkdir()
    site.repo.publish()
    site.edit("imgbuild.yaml", "workspace: site\n", "workspace: site\ndefaults: {architectures: [amd64, arm64]}\n")
    return site


def test_a_release_is_locked_and_built_for_both(both: Site) -> None:
    alone = both.lock()
    both.works("lock", "app")
    lock = both.lock()
    assert [line for line in alone.splitlines() if line not in lock.splitlines()] == []
    revisions = lockfile.read(both.folder / "repos/app/lock.yaml").revisions
    assert [(row.revision, row.architecture) for row in revisions] == [(1, "amd64"), (1, "arm64")]
    built = both.works("build", "app", "--json").json["images"]
    assert [one["architecture"] for one in built] == ["amd64", "arm64"]
    index, *images = json.loads((both.folder / "out/index.json").read_bytes())["manifests"]
    assert index["annotations"]["org.opencontainers.image.ref.name"] == "app:1-r1"
    inner = json.loads((both.folder / "out/blobs/sha256" / index["digest"].removeprefix("sha256:")).read_bytes())
    assert inner["mediaType"] == index["mediaType"] == oci.INDEX
    assert [one["platform"] for one in inner["manifests"]] == [
        {"architecture": one, "os": "linux"} for one in ("amd64", "arm64")
    ]
    assert [one["digest"] for one in inner["manifests"]] == [one["digest"] for one in images]
    assert [one["digest"] for one in images] == [one["digest"] for one in built]
    # Once more, nothing changes; and which is written first makes no difference.
    before = (both.folder / "out/index.json").read_bytes()
    both.works("build", "app", "--locked")
    assert (both.folder / "out/index.json").read_bytes() == before
    for architecture in ("arm64", "amd64"):
        both.works("build", "app", "--locked", "--to", "oci:apart", "--architecture", architecture)
    assert (both.folder / "apart/index.json").read_bytes() == before
    assert both.image().digest == built[0]["digest"]
    assert both.run("validate", "oci:out", "--json").code == 0
    copied = both.works("inspect", "app", "--json").json
    assert copied["digest"] == built[0]["digest"]
    for architecture, digest in zip(("amd64", "arm64"), (one["digest"] for one in built), strict=True):
        words = [
            "skopeo",
            "--override-arch",
            architecture,
            "inspect",
            "--raw",
            "--config",
            f"oci:{both.folder}/out:app:1-r1",
        ]
        config = json.loads(process.run(words).text)
        assert config["architecture"] == architecture
        assert digest
    # What has gone, has gone for both.
    both.works("lock", "app", "--check")


def test_a_change_of_one_raises_the_revision_of_all(both: Site) -> None:
    both.works("lock", "app")
    both.repo.add("app", "1", files={"usr/bin/app": "#!/bin/sh\nexec sleep 61\n"}, architecture="arm64")
    path = both.folder / "repos/app/lock.yaml"
    before = lockfile.read(path)
    both.edit("repos/app/component.yaml", "command: [app]", "command: [app, more]")
    both.works("lock", "app", "--architecture", "amd64")
    after = lockfile.read(path)
    assert [(row.revision, row.architecture) for row in after.revisions] == [(2, "amd64"), (2, "arm64")]
    assert after.revisions[1].content_key == before.revisions[1].content_key
    assert both.run("lock", "app", "--check").code == 3
    assert "app for arm64" in both.run("lock", "app", "--check").errors
    both.works("lock", "app")
    assert [row.revision for row in lockfile.read(path).revisions] == [3, 3]
    both.edit("repos/app/component.yaml", "command: [app, more]", "command: [app, most]")
    both.works("lock", "app")
    assert [row.revision for row in lockfile.read(path).revisions] == [4, 4]


def test_what_two_machines_have_built_becomes_one(both: Site) -> None:
    both.works("lock", "app")
    both.works("build", "app", "--attest", "--locked")
    for architecture in ("amd64", "arm64"):
        both.works(
            "build", "app", "--locked", "--attest", "--to", f"oci:{architecture}", "--architecture", architecture
        )
    both.works("copy", "oci:amd64:app", "oci:arm64")
    whole, joined = (both.folder / name / "index.json" for name in ("out", "arm64"))
    # What is attested says when it was built.
    said = [
        [(one["digest"], sorted(one["annotations"])) for one in json.loads(path.read_bytes())["manifests"]]
        for path in (whole, joined)
    ]
    assert said[0] == said[1]
    both.works("copy", "app", "oci:again")
    assert (both.folder / "again/index.json").read_bytes() == whole.read_bytes()


def test_the_index_is_published_signed_and_read(both: Site, plain: Registry, tmp_path: Path) -> None:
    both.works("lock", "app")
    team = f"{plain.host}/team"
    keys = keys_.pair(tmp_path)
    # One machine was the first, and knew of no other architecture.
    both.works("build", "app", "--locked", "--attest", "--architecture", "amd64")
    first = both.run("publish", "app", "--registry", team)
    assert (first.code, "arm64" in first.errors) == (0, True)
    alone = plain.tags("team/app")["1-r1"]
    both.works("build", "app", "--locked", "--attest")
    entries = json.loads((both.folder / "out/index.json").read_bytes())["manifests"]
    index, *images = (one["digest"] for one in entries)
    assert alone == images[0]
    dry = both.works("publish", "app", "--registry", team, "--sign", str(keys.private), "--dry-run", "--json")
    assert plain.tags("team/app")["1-r1"] == alone
    done = both.works("publish", "app", "--registry", team, "--sign", str(keys.private), "--json")
    (told,) = done.json["images"]
    assert dry.json["images"][0]["digest"] == told["digest"] == index
    assert set(told["tags"]) == {"1-r1", "1"}
    assert {plain.tags("team/app")[tag] for tag in ("1-r1", "1")} == {index}
    (again,) = both.works("publish", "app", "--registry", team, "--sign", str(keys.private), "--json").json["images"]
    assert (again["status"], again["bytes"], again["signed"], again["attested"]) == ("there", 0, "there", [])
    # A part of it does not take the place of the whole.
    both.works("build", "app", "--locked", "--to", "oci:part", "--architecture", "arm64")
    assert "imgbuild copy" in both.run("publish", "app", "--registry", team, "--from", "oci:part").errors
    # Each machine gets its own.
    for architecture, digest in zip(("amd64", "arm64"), images, strict=True):
        skopeo = ["skopeo", "--override-arch", architecture, "inspect", "--tls-verify=false", "--config"]
        said = json.loads(process.run([*skopeo, f"docker://{team}/app:1"]).text)
        assert said["architecture"] == architecture
        assert digest
    for place in (f"registry:{team}/app", "oci:out"):
        verified = both.works("verify", place, "--signed-by", str(keys.public), "--json").json["images"]
        assert [one["digest"] for one in verified] == [*images, index]
        assert [one["verified"] for one in verified] == [True] * 3
        assert len(both.works("validate", place, "--json").json) == 2
    # From place to place it stays one.
    both.works("pull", "app", "--registry", team, "--to", "oci:pulled")
    both.works("copy", f"registry:{team}/app", f"registry:{plain.host}/other")
    assert plain.tags("other/app")["1-r1"] == index
    pulled = json.loads((both.folder / "pulled/index.json").read_bytes())["manifests"]
    assert [one["digest"] for one in pulled] == [index, *images]
    both.works("verify", "oci:pulled", "--signed-by", str(keys.public))
    both.works("verify", f"registry:{plain.host}/other/app", "--signed-by", str(keys.public))
    # What goes, goes whole.
    both.edit("repos/app/component.yaml", "command: [app]", "command: [app, more]")
    both.works("lock", "app")
    both.works("build", "app", "--locked")
    both.works("publish", "app", "--registry", team)
    for place in ("oci:out", f"registry:{team}/app"):
        planned = both.works("prune", place, "--keep", "1", "--yes", "--json").json
        assert [(one["digest"], one["stays"]) for one in planned["images"]][:1] == [(index, False)]
        assert len(both.works("validate", place, "--json").json) == 2
    assert set(plain.tags("team/app")) & {"1-r1", "1-r2", "1"} == {"1-r2", "1"}
    blobs = {path.name for path in (both.folder / "out/blobs/sha256").iterdir()}
    assert not blobs & {one.removeprefix("sha256:") for one in (index, *images)}
