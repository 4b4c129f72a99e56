"""What is signed and attached here, read by others' tools; and what they sign, read here: cosign and oras of Debian 13."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_trust import PROVENANCE, SPDX, VEX, flip
from tests.kit.debian_tools import Tools, tools
from tests.kit.distribution import Distribution, Site
from tests.kit.keys import PASSWORD, Pair, pair, sealed
from tests.kit.project import ROOT, environment
from tests.kit.registry import Registry, registry

pytestmark = [pytest.mark.e2e, pytest.mark.sampled(4)]
IGNORED = ("--insecure-ignore-tlog", "--private-infrastructure")
CONSOLE = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TYPES = {
    "slsaprovenance1": "https://slsa.dev/provenance/v1", "spdxjson": "https://spdx.dev/Document",
    "cyclonedx": "https://cyclonedx.org/bom", "openvex": "https://openvex.dev/ns",
    "https://imgbuild.org/lock/v1": "https://imgbuild.org/lock/v1",
}  # fmt: skip


@pytest.fixture(scope="module")
def debian(tmp_path_factory: pytest.TempPathFactory) -> Tools:
    """cosign and oras."""
    return tools(tmp_path_factory.mktemp("debian"), ("cosign", "oras"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry without TLS and password, and without the API of referrers."""
    with registry(tmp_path_factory.mktemp("plain")) as made:
        yield made


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site with an image of which all is told that can be."""
    if os.geteuid() != 0:
        pytest.skip("needs root for trees with owners")
    distribution = Distribution(tmp_path_factory.mktemp("distribution"))
    made = distribution.site
    row = {
        "vulnerability": {"name": "CVE-2026-1"}, "timestamp": "2026-11-01T00:00:00Z", "status": "not_affected",
        "products": [{"@id": "pkg:deb/debian/app?arch=source"}], "impact_statement": "it is not built",
    }  # fmt: skip
    document = {
        "@context": "https://openvex.dev/ns/v0.2.0", "@id": "urn:x", "author": "me", "version": 1,
        "timestamp": "2026-11-01T00:00:00Z", "statements": [row],
    }  # fmt: skip
    made.write({"security/vex.openvex.json": json.dumps(document)})
    made.works("build", "app", "--attest")
    yield made
    distribution.repo.close()


@pytest.fixture(scope="module")
def published(site: Site, plain: Registry, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Pair]:
    """What others are asked about, and the key that signed it."""
    key = pair(tmp_path_factory.mktemp("key"))
    site.works("publish", "--registry", f"{plain.host}/team", "--sign", str(key.private))
    return f"{plain.host}/team/app:1-r1", key


def test_cosign_verifies(debian: Tools, published: tuple[str, Pair], tmp_path: Path) -> None:
    reference, key = published
    found = debian.run("cosign", "verify", "--key", key.public, *IGNORED, reference)
    assert found.returncode == 0, found.stderr
    (said,) = json.loads(found.stdout)
    assert said["critical"]["identity"]["docker-reference"] == reference.rpartition(":")[0]
    other = pair(tmp_path, "other")
    refused = debian.run("cosign", "verify", "--key", other.public, *IGNORED, reference)
    assert refused.returncode != 0
    assert "no matching signatures" in refused.stderr


@pytest.mark.parametrize("kind", TYPES)
def test_cosign_verifies_attestations(debian: Tools, site: Site, published: tuple[str, Pair], kind: str) -> None:
    reference, key = published
    found = debian.run("cosign", "verify-attestation", "--type", kind, "--key", key.public, *IGNORED, reference)
    assert found.returncode == 0, found.stderr
    (envelope,) = (json.loads(line) for line in found.stdout.splitlines() if line.startswith("{"))
    statement = json.loads(base64.b64decode(envelope["payload"]))
    assert statement["predicateType"] == TYPES[kind]
    if kind == "spdxjson":
        assert statement["predicate"] == json.loads(site.works("sbom", "app").output)
    if kind == "slsaprovenance1":
        assert statement == json.loads(site.works("provenance", "app").output)


def test_oras_discovers(debian: Tools, site: Site, published: tuple[str, Pair], tmp_path: Path) -> None:
    reference, _ = published
    found = debian.run("oras", "discover", "--plain-http", "--format", "json", reference)
    assert found.returncode == 0, found.stderr
    said: dict[str, Any] = json.loads(found.stdout)
    listed = {one["artifactType"]: one["digest"] for one in said.get("referrers") or said["manifests"]}
    assert listed.keys() == {
        "application/spdx+json", "application/vnd.cyclonedx+json", "application/vnd.imgbuild.lock.v1.yaml+gzip",
        "application/vnd.in-toto+json", "application/vnd.openvex+json",
    }  # fmt: skip
    repository = reference.rpartition(":")[0]
    fetched = debian.run(
        "oras", "manifest", "fetch", "--plain-http", f"{repository}@{listed['application/spdx+json']}"
    )  # fmt: skip
    (layer,) = json.loads(fetched.stdout)["layers"]
    blob = debian.run(
        "oras", "blob", "fetch", "--plain-http", "--output", tmp_path / "spdx", f"{repository}@{layer['digest']}"
    )
    assert blob.returncode == 0, blob.stderr
    assert (tmp_path / "spdx").read_text() == site.works("sbom", "app").output


def test_what_cosign_signs_is_verified(debian: Tools, site: Site, plain: Registry, tmp_path: Path) -> None:
    """With its own key, which signs here as well, and then nothing new; and what cosign adds takes nothing away."""
    env = {"COSIGN_PASSWORD": PASSWORD}
    made = debian.run("cosign", "generate-key-pair", "--output-key-prefix", tmp_path / "cosign", env=env)
    assert made.returncode == 0, made.stderr
    key = Pair(tmp_path / "cosign.key", tmp_path / "cosign.pub")
    host = f"{plain.host}/cosign"
    site.works("publish", "--registry", host)
    reference, place = f"{host}/app:1-r1", f"registry:{host}/app"
    words = ("--key", key.private, "--tlog-upload=false", "--yes")
    signed = debian.run("cosign", "sign", *words, "-a", "who=me", reference, env=env)
    assert signed.returncode == 0, signed.stderr
    # Signed it is; what lies beside it is not.
    found = site.run("verify", place, "--signed-by", str(key.public), "--json")
    assert (found.code, found.json["images"][0]["signatures"]) == (3, 1)
    result = site.run("publish", "--registry", host, "--sign", str(key.private), "--json", env=env)
    assert result.code == 0, result.errors
    (sent,) = result.json["images"]
    assert (sent["signed"], len(sent["attested"])) == ("there", 5)
    site.works("verify", place, "--signed-by", str(key.public))
    # Another one signs and attests with cosign alone.
    other = pair(tmp_path, "other")
    theirs = sealed(other, "sealed", n=65536)
    predicate = tmp_path / "predicate"
    predicate.write_text("{}")
    words = ("--key", theirs.private, "--tlog-upload=false", "--yes")
    for more in (("sign",), ("attest", "--predicate", predicate, "--type", "custom")):
        signed = debian.run("cosign", *more, *words, reference, env=env)
        assert signed.returncode == 0, signed.stderr
    for one in (key, other):
        seen = debian.run("cosign", "verify", "--key", one.public, *IGNORED, reference)
        assert seen.returncode == 0, seen.stderr
    site.works("verify", place, "--signed-by", str(key.public))
    assert {PROVENANCE, SPDX, VEX} < set(
        site.works("verify", place, "--signed-by", str(key.public), "--json").json["images"][0]["attested"]
    )
    # That one signs here, too, and finds it done.
    result = site.run("publish", "--registry", host, "--sign", str(theirs.private), "--json", env=env)
    assert (result.code, result.json["images"][0]["signed"]) == (0, "there"), result.errors


def test_both_refuse_a_changed_byte(debian: Tools, site: Site, plain: Registry, tmp_path: Path) -> None:
    key = pair(tmp_path)
    host = f"{plain.host}/changed"
    # A layout that nobody has signed yet.
    site.works("build", "app", "--attest", "--to", "oci:fresh")
    site.works("publish", "--registry", host, "--from", "oci:fresh", "--sign", str(key.private))
    tags = plain.tags("changed/app")
    for suffix, words in ((".sig", ("verify",)), (".att", ("verify-attestation", "--type", "spdxjson"))):
        (tag,) = (tag for tag in tags if tag.endswith(suffix))
        for layer in json.loads(plain.blob(tags[tag]).read_bytes())["layers"]:
            file = plain.blob(layer["digest"])
            before = file.read_bytes()
            flip(file)
            found = debian.run("cosign", *words, "--key", key.public, *IGNORED, f"{host}/app:1-r1")
            assert site.run("verify", f"registry:{host}/app", "--signed-by", str(key.public)).code == 3
            if suffix == ".sig" or "spdx" in layer["annotations"]["predicateType"]:
                assert found.returncode != 0
            file.write_bytes(before)
    site.works("verify", f"registry:{host}/app", "--signed-by", str(key.public))


def test_the_guide_is_followed(debian: Tools, site: Site, plain: Registry, tmp_path: Path) -> None:
    """What docs/publish.md says of others' tools, after what it says of ours."""
    text = (ROOT / "docs/publish.md").read_text()
    (ours,) = re.findall(r"^(openssl.*?)^```$", text, re.MULTILINE | re.DOTALL)
    (theirs,) = CONSOLE.findall(text)
    script = ours + theirs
    for name, mine in (("registry.example:5000", plain.host), ("nova-api", "app"), ("31.0.0-r4", "1-r1"),
                       ("oras discover", "oras discover --plain-http")):  # fmt: skip
        script = script.replace(name, mine)
    shim = tmp_path / "bin"
    shim.mkdir()
    (shim / "imgbuild").write_text(f'#!/bin/sh\nexec {sys.executable} -m builder.cli.main "$@"\n')
    (shim / "imgbuild").chmod(0o755)
    env = environment(site.cache, {**site.env, "PATH": f"{shim}:{debian.programs}:{os.environ['PATH']}"})
    result = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=site.folder,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
