"""Releases that are signed when they are published, and held against the key afterwards: against a real registry."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from packageurl import PackageURL

from builder.transports import oci_layout
from tests.kit.distribution import Site
from tests.kit.faulty_proxy import Fault, FaultyProxy
from tests.kit.keys import PASSWORD, Pair, pair, sealed
from tests.kit.project import Run, own, running
from tests.kit.registry import PASSWORD as LOGIN
from tests.kit.registry import Registry, registry

pytestmark = [pytest.mark.integration, pytest.mark.sampled(6)]
SPDX, CYCLONEDX, PROVENANCE, LOCK, VEX = (
    f"org.imgbuild.{name}" for name in ("sbom.spdx", "sbom.cyclonedx", "provenance", "lock", "vex")
)
SIGNATURES = "org.imgbuild.signatures"


@pytest.fixture
def key(tmp_path: Path) -> Pair:
    """Who signs."""
    return pair(tmp_path)


@pytest.fixture
def attested(site: Site) -> Site:
    """A site with an image of which something is told."""
    site.works("build", "app", "--attest")
    return site


def publish(site: Site, host: str, *words: str, code: int = 0, env: dict[str, str] | None = None) -> Any:
    result = site.run("publish", "--registry", host, *words, "--json", env=env)
    assert result.code == code, result.errors + result.output
    return result.json["images"][0]


def verify(site: Site, place: str, *keys: Pair, code: int = 0, words: tuple[str, ...] = ()) -> Any:
    told = [word for one in keys for word in ("--signed-by", str(one.public))]
    result = site.run("verify", place, *told, *words, "--json", cache=site.empty_cache())
    assert result.code == code, result.errors + result.output
    (found,) = result.json["images"]
    assert found["verified"] == (code == 0) == (not found["faults"])
    return found


def tagged(registry: Registry, suffix: str, repository: str = "app") -> list[str]:
    return [tag for tag in registry.tags(repository) if tag.endswith(suffix)]


def test_what_is_published_is_signed(attested: Site, plain: Registry, key: Pair) -> None:
    place = f"registry:{plain.host}/app"
    planned = publish(attested, plain.host, "--sign", str(key.private), "--dry-run")
    assert plain.tags("app") == {}
    sent = publish(attested, plain.host, "--sign", str(key.private))
    assert sent == planned
    assert sent["signed"] == "new"
    assert sorted(sent["attested"]) == sorted((LOCK, PROVENANCE, SPDX, CYCLONEDX))
    assert (len(tagged(plain, ".sig")), len(tagged(plain, ".att"))) == (1, 1)
    plain.require_whole("app")
    for where in (place, f"{place}:1-r1", f"{place}@{sent['digest']}", "oci:out:app", "oci:out"):
        found = verify(attested, where, key)
        assert (found["digest"], found["signatures"]) == (sent["digest"], 1)
        assert sorted(found["attested"]) == sorted(sent["attested"])
    told = attested.works("verify", place, "--signed-by", str(key.public)).output
    assert told == f"{place}:1-r1: verified; attested: lock, provenance, sbom.spdx, sbom.cyclonedx\n"
    # What is there is not signed again, and nothing is sent.
    with FaultyProxy(plain.port) as proxy:
        again = publish(attested, proxy.host, "--sign", str(key.private))
        assert (again["status"], again["signed"], again["attested"], again["attached"]) == ("there", "there", [], [])
        assert [proxy.count(method) for method in ("PUT", "POST", "PATCH", "DELETE")] == [0] * 4
    # Nor is it read as an image.
    assert attested.works("validate", f"registry:{plain.host}/", "--json").json == {f"{place}:1-r1": []}


def test_tags_come_after_signatures(attested: Site, plain: Registry, key: Pair) -> None:
    with FaultyProxy(plain.port) as proxy:
        publish(attested, proxy.host, "--sign", str(key.private))
        put = [one.path.rpartition("/")[2] for one in proxy.asked if one.method == "PUT" and "/manifests/" in one.path]
        digest = attested.image().digest.replace(":", "-")
        assert put.index(f"{digest}.att") < put.index(f"{digest}.sig") < put.index("1-r1") < put.index("1")


@pytest.mark.parametrize("kind", [".sig", ".att"])
def test_without_a_signature_there_is_no_tag(attested: Site, plain: Registry, key: Pair, kind: str) -> None:
    with FaultyProxy(plain.port) as proxy:
        proxy.spoil("PUT", kind, Fault(status=403), times=100)
        assert "answers 403" in publish(attested, proxy.host, "--sign", str(key.private), code=1)["message"]
        assert {"1-r1", "1"} & plain.tags("app").keys() == set()
        assert SIGNATURES not in (attested.folder / "out/index.json").read_text()
    assert publish(attested, plain.host, "--sign", str(key.private))["tags"] == ["1-r1", "1"]
    verify(attested, f"registry:{plain.host}/app", key)


def flip(path: Path) -> None:
    """Change one byte within a text, and nothing of its form."""
    data = bytearray(path.read_bytes())
    at = next(n for n in range(len(data) // 2, len(data)) if chr(data[n]).isdigit() and chr(data[n]) not in "09")
    data[at] += 1 if chr(data[at]) != "8" else -1
    own(path, bytes(data))


@pytest.mark.parametrize("place", ["registry", "layout"])
def test_a_changed_byte_is_refused(attested: Site, plain: Registry, key: Pair, place: str) -> None:
    publish(attested, plain.host, "--sign", str(key.private))
    tags = plain.tags("app")

    def read(digest: str) -> Any:
        return json.loads(plain.blob(digest).read_bytes())

    def sealed_(kind: str) -> str:
        digest: str = read(tags[tagged(plain, kind)[0]])["layers"][0]["digest"]
        return digest

    image = read(tags["1-r1"])
    (entry,) = json.loads((attested.folder / "out/index.json").read_text())["manifests"]
    digests = {
        "sha256:": image["layers"][-1]["digest"], "config": image["config"]["digest"], SIGNATURES: sealed_(".sig"),
        "org.imgbuild.attestations": sealed_(".att"), **{note: entry["annotations"][note] for note in (SPDX, LOCK, PROVENANCE)},
    }  # fmt: skip
    name = f"registry:{plain.host}/app" if place == "registry" else "oci:out:app"
    for where, digest in digests.items():
        file = plain.blob(digest) if place == "registry" else attested.folder / "out/blobs" / digest.replace(":", "/")
        before = file.read_bytes()
        flip(file)
        found = verify(attested, name, key, code=3)
        assert any(one["where"].startswith(where) for one in found["faults"]), found["faults"]
        if where != SPDX:
            own(file, before)
    result = attested.run("verify", name, "--signed-by", str(key.public))
    assert (result.code, "Traceback" in result.errors) == (3, False)
    assert f"\n  {SPDX}: " in result.output


def test_another_image_under_the_tag_is_refused(attested: Site, plain: Registry, key: Pair) -> None:
    """Somebody who may write there moves the signature along, or does not."""
    publish(attested, plain.host, "--sign", str(key.private))
    place, folder = f"registry:{plain.host}/app", attested.folder
    attested.edit("repos/app/component.yaml", "user: app", "user: app, env: {A: b}")
    attested.works("lock", "app")
    attested.works("build", "app", "--to", "oci:evil")
    subprocess.run(
        ["skopeo", "copy", "--quiet", "--insecure-policy", "--dest-tls-verify=false", f"oci:{folder}/evil:app:1-r2",
         f"docker://{plain.host}/app:1-r1"],
        check=True, capture_output=True,
    )  # fmt: skip
    found = verify(attested, f"{place}:1-r1", key, code=3)
    assert found["faults"] == [{"where": SIGNATURES, "message": "it is not signed"}]
    (signature,) = tagged(plain, ".sig")
    forged = f"{found['digest'].replace(':', '-')}.sig"
    manifest = plain.blob(plain.tags("app")[signature]).read_bytes()
    _put(plain, "app", forged, manifest, json.loads(manifest)["mediaType"])
    (fault,) = verify(attested, f"{place}:1-r1", key, code=3)["faults"]
    assert fault["message"].startswith("it is not signed: what the key has signed is sha256:")


def test_by_whom(attested: Site, plain: Registry, key: Pair, tmp_path: Path) -> None:
    other = pair(tmp_path, "other")
    place = f"registry:{plain.host}/app"
    publish(attested, plain.host)
    assert verify(attested, place, key, code=3)["faults"][0] == {"where": SIGNATURES, "message": "it is not signed"}
    assert publish(attested, plain.host, "--sign", str(key.private))["signed"] == "new"
    found = verify(attested, place, other, code=3)
    assert found["faults"][0]["message"] == "it is not signed by this key: none of 1 signatures holds"
    assert {one["where"] for one in found["faults"]} == {SIGNATURES, LOCK, PROVENANCE, SPDX, CYCLONEDX}
    verify(attested, place, other, key)
    # A second one who signs takes nothing away.
    assert publish(attested, plain.host, "--sign", str(other.private))["signed"] == "new"
    for one in (key, other):
        assert verify(attested, place, one)["signatures"] == 1
        verify(attested, "oci:out:app", one)
    assert verify(attested, place, other, key)["signatures"] == 2


def test_a_document_of_somebody_else_is_refused(attested: Site, plain: Registry, key: Pair) -> None:
    publish(attested, plain.host, "--sign", str(key.private))
    place = f"registry:{plain.host}/app"
    (listing,) = [tag for tag in plain.tags("app") if re.fullmatch("sha256-[0-9a-f]{64}", tag)]
    index = json.loads(plain.blob(plain.tags("app")[listing]).read_bytes())
    (mine,) = [one for one in index["manifests"] if SPDX in one["annotations"]]
    artifact = json.loads(plain.blob(mine["digest"]).read_bytes())
    # The list names another document than its artifact has.
    mine["annotations"][SPDX] = artifact["config"]["digest"]
    _put(plain, "app", listing, json.dumps(index).encode(), index["mediaType"])
    (fault,) = verify(attested, place, key, code=3)["faults"]
    assert (fault["where"], "and the list says" in fault["message"]) == (SPDX, True)
    # Another artifact with another document, which somebody may well attach.
    artifact["layers"][0] |= {"digest": artifact["config"]["digest"], "size": artifact["config"]["size"]}
    forged = json.dumps(artifact).encode()
    mine["digest"] = _put(plain, "app", "", forged, artifact["mediaType"])
    mine["size"] = len(forged)
    _put(plain, "app", listing, json.dumps(index).encode(), index["mediaType"])
    (fault,) = verify(attested, place, key, code=3)["faults"]
    assert fault == {"where": SPDX, "message": f"{artifact['config']['digest']} is not what the key has attested"}
    # Without our annotation it is somebody else's, and nothing to us.
    note = mine["annotations"].pop(SPDX)
    _put(plain, "app", listing, json.dumps(index).encode(), index["mediaType"])
    assert SPDX not in verify(attested, place, key)["attested"]
    # Who signs mends both.
    assert publish(attested, plain.host, "--sign", str(key.private))["attached"] == [SPDX]
    assert SPDX in verify(attested, place, key)["attested"]
    index = json.loads(plain.blob(plain.tags("app")[listing]).read_bytes())
    index["manifests"].append({**mine, "annotations": {SPDX: note}})
    _put(plain, "app", listing, json.dumps(index).encode(), index["mediaType"])
    verify(attested, place, key, code=3)
    assert publish(attested, plain.host, "--sign", str(key.private))["attached"] == []
    verify(attested, place, key)


def _put(registry: Registry, repository: str, tag: str, data: bytes, media_type: str) -> str:
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    url = f"http://{registry.host}/v2/{repository}/manifests/{tag or digest}"
    asked = urllib.request.Request(url, data, {"Content-Type": media_type}, method="PUT")
    urllib.request.urlopen(asked).close()
    return digest


def test_a_layout_that_is_built_anew_is_not_signed_again(attested: Site, plain: Registry, key: Pair) -> None:
    """The image is the same, and its provenance tells of another run: that of the first one stays."""
    publish(attested, plain.host, "--sign", str(key.private))
    place, before = f"registry:{plain.host}/app", plain.tags("app")
    shutil.rmtree(attested.folder / "out")
    attested.works("build", "app", "--attest")
    again = publish(attested, plain.host, "--sign", str(key.private))
    assert (again["signed"], again["attested"], again["attached"]) == ("there", [], [])
    assert plain.tags("app") == before
    verify(attested, place, key)
    verify(attested, "oci:out:app", key)


def test_what_was_there_unsigned_is_replaced_by_who_signs(attested: Site, plain: Registry, key: Pair) -> None:
    publish(attested, plain.host)
    shutil.rmtree(attested.folder / "out")
    attested.works("build", "app", "--attest")
    sent = publish(attested, plain.host, "--sign", str(key.private))
    assert (sent["status"], sent["signed"], sent["attached"]) == ("there", "new", [PROVENANCE])
    assert len(sent["attested"]) == 4
    place = f"registry:{plain.host}/app"
    verify(attested, place, key)
    there = attested.works("provenance", place, cache=attested.empty_cache()).output
    assert there == attested.works("provenance", "app").output


def test_signatures_go_along_without_the_key(attested: Site, plain: Registry, key: Pair) -> None:
    """From the layout into another registry, by somebody who has no key: within a closed site."""
    publish(attested, plain.host, "--sign", str(key.private))
    key.private.unlink()
    attested.works("copy", f"registry:{plain.host}/app", "oci:carried")
    verify(attested, "oci:carried:app", key)
    attested.works("copy", "oci:carried:app", f"registry:{plain.host}/copied")
    verify(attested, f"registry:{plain.host}/copied/app", key)
    sent = publish(attested, f"{plain.host}/inner")
    assert (sent["signed"], sent["attested"]) == (None, [])
    verify(attested, f"registry:{plain.host}/inner/app", key)
    # What goes takes its signatures along.
    oci_layout.remove(attested.folder / "carried", ["app:1-r1"])
    assert list((attested.folder / "carried/blobs/sha256").iterdir()) == []


def test_what_is_decided_of_flaws_goes_along(attested: Site, plain: Registry, key: Pair) -> None:
    """As OpenVEX; it changes with time, and the newest takes the place of what was told before."""
    place, file = f"registry:{plain.host}/app", attested.folder / "security/vex.openvex.json"
    file.parent.mkdir()

    def decide(reason: str, package: str = "app") -> None:
        row = {
            "vulnerability": {"name": "CVE-2026-1"}, "timestamp": "2026-11-01T00:00:00Z", "status": "not_affected",
            "products": [{"@id": f"pkg:deb/debian/{package}?arch=source"}], "impact_statement": reason,
        }  # fmt: skip
        document = {
            "@context": "https://openvex.dev/ns/v0.2.0", "@id": "urn:x", "author": "me", "version": 1,
            "timestamp": "2026-11-01T00:00:00Z", "statements": [row],
        }  # fmt: skip
        file.write_text(json.dumps(document))

    def there() -> Any:
        (listing,) = [tag for tag in plain.tags("app") if re.fullmatch("sha256-[0-9a-f]{64}", tag)]
        index = json.loads(plain.blob(plain.tags("app")[listing]).read_bytes())
        found = [one for one in index["manifests"] if VEX in one["annotations"]]
        assert len(found) < 2
        return json.loads(plain.blob(found[0]["annotations"][VEX]).read_bytes()) if found else None

    decide("it is not built", "somethingelse")
    assert VEX not in publish(attested, plain.host, "--sign", str(key.private))["attached"]
    for reason in ("it is not built", "it is not called"):
        decide(reason)
        sent = publish(attested, plain.host, "--sign", str(key.private))
        assert (sent["attached"], sent["attested"], sent["signed"]) == ([VEX], [VEX], "there")
        (row,) = there()["statements"]
        assert row["impact_statement"] == reason
        (product,) = row["products"]
        purl = PackageURL.from_string(product["@id"])
        assert (purl.type, purl.name, purl.version) == ("oci", "app", sent["digest"])
        assert purl.qualifiers == {"repository_url": f"{plain.host}/app"}
        assert product["subcomponents"] == [{"@id": "pkg:deb/debian/app?arch=source"}]
        assert VEX in verify(attested, place, key)["attested"]
    assert publish(attested, plain.host, "--sign", str(key.private))["attached"] == []
    # Who changes it without the key leaves what does not hold.
    decide("never mind")
    publish(attested, plain.host)
    assert [one["where"] for one in verify(attested, place, key, code=3)["faults"]] == [VEX]
    file.unlink()
    publish(attested, plain.host, "--sign", str(key.private))
    assert there() is None
    assert VEX not in verify(attested, place, key)["attested"]


def test_a_registry_that_lists_what_refers_to_an_image(attested: Site, plain: Registry, key: Pair) -> None:
    with FaultyProxy(plain.port) as proxy:
        proxy.referrers = []
        publish(attested, proxy.host)
        shutil.rmtree(attested.folder / "out")
        attested.works("build", "app", "--attest")
        assert publish(attested, proxy.host, "--sign", str(key.private))["attached"] == [PROVENANCE]
        assert len(proxy.referrers) == 4
        verify(attested, f"registry:{proxy.host}/app", key)
    assert {tag for tag in plain.tags("app") if "." not in tag} == {"1-r1", "1"}


def test_images_that_nobody_attests_are_signed_all_the_same(site: Site, plain: Registry, key: Pair) -> None:
    site.build()
    assert publish(site, plain.host, "--sign", str(key.private))["attested"] == [LOCK]
    assert verify(site, f"registry:{plain.host}/app", key)["attested"] == [LOCK]
    assert verify(site, f"registry:{plain.host}/app", key, words=("--no-layers",))["signatures"] == 1


def test_no_word_of_a_key(attested: Site, key: Pair, tmp_path: Path) -> None:
    """Neither in what is said, however much is asked for, nor in files, nor in the list of processes."""
    locked = sealed(key, "locked")
    with registry(tmp_path / "secure", secure=True) as secure:
        env = {**secure.environment, "COSIGN_PASSWORD": PASSWORD, "KEY": locked.text, "PLAIN": key.text}
        said: list[str] = []

        def tried(code: int, *words: str, **more: str) -> Run:
            result = attested.run(*words, env={**env, **more})
            said.append(result.output + result.errors)
            assert result.code == code, said[-1]
            return result

        host = secure.host
        for number, sign in enumerate((str(locked.private), "env:KEY", "env:PLAIN")):
            for words in (("-v",), ("--json",)):
                tried(0, "publish", *words, "--registry", f"{host}/team-{number}", "--sign", sign)
            tried(0, "verify", f"registry:{host}/team-{number}/app", "--signed-by", str(key.public), "-v")
        for words in (("-v",), ("--json",)):
            tried(2, "publish", *words, "--registry", host, "--sign", "env:KEY", COSIGN_PASSWORD=PASSWORD + "x")
            tried(2, "publish", *words, "--registry", host, "--sign", "env:KEY", KEY=key.text[:-60])
            tried(2, "publish", *words, "--registry", host, "--sign", key.text)
            tried(2, "verify", f"registry:{host}/team-0/app", *words, "--signed-by", "env:PLAIN")
        listed = ""
        with running("publish", "--registry", f"{host}/other", "--sign", "env:KEY", cache=attested.cache,
                     cwd=attested.folder, env={**attested.env, **env}) as started:  # fmt: skip
            for _ in range(40):
                listed += subprocess.run(
                    ["ps", "axww", "-o", "args"], capture_output=True, text=True, check=True
                ).stdout
            assert started.end().code == 0
        assert "--sign env:KEY" in listed
        secrets = (PASSWORD, LOGIN, *key.secrets, *locked.secrets)
        for text in (*said, listed):
            assert not any(secret in text for secret in secrets), text
            assert "Traceback" not in text
        pattern = "|".join(re.escape(secret) for secret in (PASSWORD, LOGIN, key.secrets[0], locked.secrets[0]))
        kept = subprocess.run(
            ["grep", "-rlE", "--", pattern, attested.cache, attested.folder, secure.folder / "data", secure.folder / "log"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert kept.stdout == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("publish", "--registry", "registry.example", "--sign", "nowhere.key"), "nowhere.key: the key cannot be read"),
        (("verify", "oci:out:app", "--signed-by", "nowhere.pub"), "nowhere.pub: the key cannot be read"),
        (("verify", "oci:out:app", "--signed-by", "out/index.json"), "out/index.json is no key in PEM"),
        (("verify", "oci:out:app"), "--signed-by"),
        (("verify", "oci:out:nothing", "--signed-by", "KEY"), "has no image 'nothing'"),
        (("verify", "dir:there", "--signed-by", "KEY"), "nothing is kept there beside images"),
    ],
)
def test_wrong_input(site: Site, key: Pair, words: tuple[str, ...], said: str) -> None:
    site.works("build", "app", "--to", "oci:out", "--to", "dir:there")
    result = site.run(*(word.replace("KEY", str(key.public)) for word in words))
    assert (result.code, "Traceback" in result.errors) == (2, False), result.errors
    assert said in result.errors
