"""What is told of images beside them."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonValidator

from builder.attest import sbom
from builder.formats import entries, notes
from builder.tools import process
from builder.transports import oci_layout
from tests.kit.distribution import Site

pytestmark = pytest.mark.integration


def test_attesting_leaves_the_image_as_it_is(site: Site) -> None:
    # An archived mirror's: no lock is stale for it.
    at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    site.edit("layers/tiny/layer.yaml", "keyring: key.gpg}", f'keyring: key.gpg, valid_at: "{at}"}}')
    who = ("-c", "user.name=T", "-c", "user.email=t@localhost")
    for words in (("init", "-q"), ("add", "."), (*who, "commit", "-qm", "x")):
        process.run(["git", "-C", site.folder, *words])
    head = process.run(["git", "-C", site.folder, "rev-parse", "HEAD"]).text.strip()
    plain = site.build(out="plain")
    site.works("build", "app", "--attest", "--locked")
    assert {"app": site.image().digest} == plain
    statement = site.works("provenance", "app").json
    assert statement["subject"] == [{"name": "app:1-r1", "digest": {"sha256": plain["app"].removeprefix("sha256:")}}]
    build = statement["predicate"]["buildDefinition"]
    asked = build["externalParameters"]
    assert (asked["workspace"], asked["target"]) == ("site", "app/app")
    files = [one["path"] for one in asked["definitions"]]
    assert files == ["imgbuild.yaml", "layers/tiny/layer.yaml", "repos/app/component.yaml"]
    materials = {one["name"]: one for one in build["resolvedDependencies"]}
    assert materials["workspace site"]["digest"] == {"gitCommit": head}
    assert materials["workspace site"]["annotations"] == {"dirty": False}
    assert materials["app_1_all"]["uri"].startswith("http://deb.debian.org/tiny/pool/stable/app_1_all.deb")
    deb = next((site.mirror / "tiny/pool/stable").glob("app_1_*.deb"))
    assert materials["app_1_all"]["digest"] == {"sha256": _sha256(deb)}
    assert materials["keyring key.gpg"]["digest"] == {"sha256": _sha256(site.folder / "layers/tiny/key.gpg")}
    assert materials["tiny stable"]["annotations"]["date"]
    assert materials["tiny stable"]["annotations"]["validAt"] == at
    assert materials["lock of app/app"]["digest"]["sha256"] == site.image().labels["org.imgbuild.lock"][7:]
    assert statement["predicate"]["runDetails"]["metadata"]["startedOn"]


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_workspace_attests_by_default_if_it_says_so(site: Site) -> None:
    site.edit("imgbuild.yaml", "workspace: site", "workspace: site\ndefaults: {attest: true}")
    site.works("build", "app", "--no-attest")
    assert "has no provenance beside it" in site.run("provenance", "app").errors
    site.works("build", "app")
    assert site.works("provenance", "app").json["subject"][0]["name"] == "app:1-r1"
    # Where nothing can be kept a default asks for nothing.
    site.works("build", "app", "--to", "docker-archive:app.tar")
    assert site.run("build", "app", "--to", "docker-archive:app.tar", "--attest").code == 2


def test_files_there_before_configuring_are_listed(site: Site) -> None:
    site.edit(
        "repos/app/component.yaml",
        "    users:",
        "    files:\n      /etc/ca.pem: {content: early, before: configure}\n      /etc/app.conf: {content: late}\n    users:",
    )
    site.works("lock", "app")
    site.build()
    listed = {file["fileName"]: file["checksums"] for file in site.works("sbom", "app").json["files"]}
    assert {name.lstrip("./") for name in listed} == {"etc/ca.pem", "etc/app.conf"}
    assert hashlib.sha256(b"early").hexdigest() in {one["checksumValue"] for sums in listed.values() for one in sums}


def test_what_is_attested_stays_with_the_same_image(site: Site) -> None:
    assert "has no provenance beside it" in (site.build() and site.run("provenance", "app").errors)
    site.works("build", "app", "--attest")
    first = site.works("provenance", "app").output
    site.works("build", "app")
    site.works("build", "app", "--attest")
    assert site.works("provenance", "app").output == first
    site.edit("repos/app/component.yaml", "command: [app]", "command: [app, --loud]")
    site.works("build", "app")
    assert site.run("provenance", "app:1-r2").code == 1
    assert site.run("build", "app", "--attest", "--to", "oci-archive:x.tar").code == 2


def test_a_bill_of_materials_lists_what_dpkg_lists(site: Site) -> None:
    site.works("build", "app", "--attest", "--to", "oci:out")
    site.works("build", "app", "--to", "oci-archive:app.tar")
    image = site.image()
    status = next(data.read() for entry, data in entries.of(image.blobs, image.layers[-1]) if data)
    stored = oci_layout.at(site.folder / "out").read("app:1-r1")
    for form in sbom.FORMATS:
        text = site.works("sbom", "app", "--format", form).output
        assert text == site.works("sbom", "oci-archive:app.tar", "--format", form).output
        assert text.encode() == stored.beside(f"org.imgbuild.sbom.{form}")
        data = json.loads(text)
        found = data.get("packages") or data["components"]
        versions = [
            (one["name"], one.get("version") or one["versionInfo"])
            for one in found
            if one.get("type") == "library" or one.get("primaryPackagePurpose") == "LIBRARY"
        ]
        assert sorted(versions) == sorted(notes.recorded(status))
    assert JsonValidator(SchemaVersion.V1_6).validate_str(text) is None
    layers = {layer.digest: dict(layer.annotations).get("org.imgbuild.packages", "") for layer in image.layers}
    for one in data["components"]:
        said = {x["name"]: x["value"] for x in one.get("properties", ())}
        if one["type"] == "library":
            assert f"{one['name']}={one['version']}" in layers[said["imgbuild:layer"]].split()
            assert len(one["hashes"][0]["content"]) == 64
