"""Images made again from the locks that lie beside them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from builder.formats import oci
from builder.model.digest import Digest
from builder.transports import oci_layout
from tests.kit.distribution import Site
from tests.kit.project import own

pytestmark = [pytest.mark.integration, pytest.mark.sampled(4)]


def swap_config(folder: Path) -> None:
    """Put another image in the place of the one of a layout: its config has another time."""
    image = oci_layout.read(folder)
    config = oci.dump({**image.configuration, "created": "2001-01-01T00:00:00Z"})
    manifest = oci.manifest(config, image.layers)
    blobs = oci_layout.LayoutBlobs(folder)
    for data in (config, manifest):
        blobs.path(Digest.of(data)).write_bytes(data)
    index = json.loads((folder / "index.json").read_text())
    index["manifests"][0] |= {"digest": Digest.of(manifest), "size": len(manifest)}
    (folder / "index.json").write_text(json.dumps(index))


def test_the_same_bytes_come_out(site: Site) -> None:
    digest = site.build()["app"]
    result = site.works("rebuild", "app")
    assert result.output == f"app:1-r1: the same, {digest}\n"
    assert f"making {len(site.image().layers)} layers" in result.errors, "nothing that was made before is taken"
    assert list((site.cache / "imgbuild/tmp").iterdir()) == []
    (found,) = site.works("rebuild", "oci:out", "--to", "oci:again", "--json").json["images"]
    assert (found["same"], found["rebuilt"], found["layers"]) == (True, digest, [])
    assert site.works("rebuild", found["kept"]).output.endswith(f"the same, {digest}\n")


def test_an_image_of_other_bytes_is_found_out(site: Site) -> None:
    site.build()
    swap_config(site.folder / "out")
    result = site.run("rebuild", "app")
    assert (result.code, "not the same" in result.output) == (3, True)
    assert "every layer is the same: the config or the manifest is not" in result.output
    assert site.run("rebuild", "app", "--json").json["images"][0]["same"] is False


def test_files_that_differ_are_named(site: Site) -> None:
    site.build()
    image = site.image()
    package = next(layer for layer in image.layers if dict(layer.annotations)["org.imgbuild.definition"] == "app")
    site.repo.add("app", files={"usr/bin/app": "#!/bin/sh\nexec sleep 61\n"}, version="2")
    site.repo.publish()
    site.works("lock", "app", "--update")
    site.build(out="other")
    result = site.run("diff", "oci:out", "oci:other", "--files")
    assert result.code == 3
    assert "  usr/bin/app: content " in result.output
    assert f"layer {package.digest[7:19]} → " in result.output
    assert f"diffoscope out/blobs/sha256/{package.digest.hex} other/blobs/sha256/" in result.output
    files = site.run("diff", "oci:out", "oci:other", "--files", "--json").json["files"]
    changed = {file["path"]: file["new"] for layer in files for file in layer["files"]}
    assert {"usr/bin/app", "var/lib/dpkg/status"} <= changed.keys()


def test_another_definition_is_told_with_the_way_out(site: Site) -> None:
    site.build()
    site.edit("repos/app/component.yaml", "command: [app]", "command: [app, --loud]")
    result = site.run("rebuild", "app")
    assert (result.code, result.output) == (1, "")
    assert (
        "app:1-r1 cannot be made again from this workspace: what its definition brings, or how it runs" in result.errors
    )
    assert "check out the commit" in result.errors
    site.edit("repos/app/component.yaml", "uid: 8000", "uid: 8001")
    result = site.run("rebuild", "app")
    assert "app: the definition has changed" in result.errors


def test_a_package_that_is_gone_is_an_error(site: Site, tmp_path: Path) -> None:
    site.build()
    site.repo.add("app", version="2", files={"usr/bin/app": "#!/bin/sh\n"})
    site.repo.vanish("app", "1")
    site.repo.publish()
    result = site.run("rebuild", "app", cache=tmp_path / "empty")
    assert result.code == 1
    assert "app 1 is nowhere to be had any more" in result.errors
    assert "snapshot" in result.errors
    # What the store still has is enough.
    assert site.works("rebuild", "app").output.startswith("app:1-r1: the same")


def test_a_damaged_package_of_the_store_is_not_taken(site: Site) -> None:
    site.build()
    deb = next((site.mirror / "tiny/pool/stable").glob("app_1_*.deb"))
    kept = site.cache / "imgbuild/blobs/sha256" / Digest.of(deb.read_bytes()).hex
    data = kept.read_bytes()
    own(kept, data[:-1] + b"\x01")
    assert site.works("rebuild", "app").output.startswith("app:1-r1: the same")


def test_a_dev_build_is_made_again_from_its_own_lock(site: Site, tmp_path: Path) -> None:
    site.repo.add("app", version="2", files={"usr/bin/app": "#!/bin/sh\nexec sleep 62\n"})
    site.repo.vanish("app", "1")
    site.repo.publish()
    cache = tmp_path / "other"
    built = site.works("build", "app", "--to", "oci:dev", "--json", cache=cache)
    (image,) = built.json["images"]
    assert image["tag"].endswith("-dev")
    assert site.works("rebuild", "oci:dev", cache=cache).output.endswith(f"the same, {image['digest']}\n")


def test_an_image_without_a_lock_says_where_one_is(site: Site) -> None:
    site.works("build", "app", "--to", "oci-archive:app.tar")
    result = site.run("rebuild", "oci-archive:app.tar")
    assert result.code == 1
    assert "has no lock beside it" in result.errors
    assert site.run("rebuild", "absent").code == 2
    assert site.run("rebuild", "app", "--to", "docker:").code == 2
