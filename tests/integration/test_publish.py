"""``imgbuild publish``, and a registry as a place to read from: from the command line, against a real registry."""

from __future__ import annotations

import base64
import json
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit import documents
from tests.kit.distribution import SECOND, Site
from tests.kit.faulty_proxy import Fault, FaultyProxy
from tests.kit.project import ROOT, Run, running
from tests.kit.registry import PASSWORD, USER, Registry, registry

pytestmark = [pytest.mark.integration, pytest.mark.sampled(7)]


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[Registry]:
    """A registry with both."""
    with registry(tmp_path / "secure", secure=True) as made:
        yield made


@pytest.fixture
def two(site: Site) -> Site:
    """A site with two components, built."""
    site.write({"repos/second/component.yaml": SECOND})
    site.works("lock", "second")
    site.works("build", "--all")
    return site


def publish(site: Site, *words: str, code: int = 0) -> Run:
    result = site.run("publish", *words, "--json")
    assert result.code == code, result.errors + result.output
    return result


def test_releases_go_to_a_registry(two: Site, plain: Registry) -> None:
    to = ("--registry", f"{plain.host}/team/x")
    planned = publish(two, *to, "--dry-run").json
    assert planned["dry_run"]
    assert plain.tags("team/x/app") == {}
    sent = publish(two, *to).json["images"]
    assert [(one["image"], one["status"]) for one in sent] == [
        ("app:1-r1", "published"),
        ("second:1.2.3-r1", "published"),
    ]
    told = [{key: one[key] for key in ("layers_sent", "layers_mounted", "bytes", "tags")} for one in sent]
    assert told == [
        {key: one[key] for key in ("layers_sent", "layers_mounted", "bytes", "tags")} for one in planned["images"]
    ]
    assert sent[1]["layers_mounted"] > 0
    assert sent[1]["tags"] == ["1.2.3-r1", "1.2.3", "1.2", "1"]
    assert sent[0]["reference"] == f"{plain.host}/team/x/app:1-r1"
    assert plain.tags("team/x/app")["1-r1"] == sent[0]["digest"]
    for name in ("app", "second"):
        plain.require_whole(f"team/x/{name}")
    again = publish(two, *to)
    assert [(one["status"], one["bytes"], one["tags"]) for one in again.json["images"]] == [("there", 0, [])] * 2
    assert publish(two, "second", *to, "--latest").json["images"][0]["tags"] == ["latest"]


def test_a_registry_is_a_place_like_others(two: Site, plain: Registry) -> None:
    two.works("publish", "--registry", f"{plain.host}/team")
    place = f"registry:{plain.host}/team"
    inspected = two.works("inspect", f"{place}/app", "--json", cache=two.empty_cache()).json
    assert inspected["name"] == f"{place}/app:1-r1"
    assert inspected["layers"] == two.works("inspect", "app", "--json").json["layers"]
    assert two.run("diff", f"{place}/app:1", "oci:out:app", "--files").code == 0
    assert two.works("validate", f"{place}/", "--json").json == {
        f"{place}/app:1-r1": [],
        f"{place}/second:1.2.3-r1": [],
    }
    assert two.works("sbom", f"{place}/app").output == two.works("sbom", "app").output
    found = two.works("find", "app", f"{place}/", "--json").json["found"]
    assert [(one["image"], one["definition"], one["why"]) for one in found] == [
        (f"{place}/app:1-r1", "app", "asked for"), (f"{place}/second:1.2.3-r1", "second", "asked for"),
    ]  # fmt: skip
    running_ = two.folder / "running"
    running_.write_text(f"image: {plain.host}/team/app:1-r1\n")
    assert len(two.works("find", "app", f"{place}/", "--releases", str(running_), "--json").json["found"]) == 1


def test_only_what_the_lock_says_is_published(site: Site, plain: Registry) -> None:
    site.edit("imgbuild.yaml", "workspace: site", f"workspace: site\nregistry: {plain.host}/team")
    site.build()
    site.works("publish")
    site.edit("repos/app/component.yaml", "user: app", "user: app, env: {A: b}")
    site.works("lock", "app")
    result = publish(site, "app", code=1)
    assert (
        result.json["images"][0]["message"]
        == "app:1-r2: out does not have what the lock says: its newest there is 1-r1"
    )
    assert result.json["images"][0]["hint"] == "run `imgbuild build app/app`"
    site.build()
    (sent,) = publish(site).json["images"]
    assert (sent["image"], sent["tags"], sent["layers_sent"]) == ("app:1-r2", ["1-r2", "1"], 0)
    # Somebody has made r2 of something else, and wants to publish that as well.
    lock = site.folder / "repos/app/lock.yaml"
    lock.write_text(re.sub(r'("app", "1", 2, ")[0-9a-f]{8}', r"\g<1>00000000", lock.read_text()))
    assert "of another content than the lock says" in publish(site, code=1).output


def test_a_release_is_never_overwritten(site: Site, plain: Registry) -> None:
    first = site.build()["app"]
    site.works("publish", "--registry", plain.host)
    site.edit("repos/app/component.yaml", "user: app", "user: app, env: {A: b}")
    (site.folder / "repos/app/lock.yaml").unlink()
    site.works("lock", "app")
    second = site.build()["app"]
    assert second != first
    result = publish(site, "--registry", plain.host, code=1)
    message = result.json["images"][0]["message"]
    assert first in message
    assert second in message
    assert plain.tags("app") == {"1-r1": first, "1": first} | {
        tag: digest for tag, digest in plain.tags("app").items() if tag.startswith("sha256-")
    }


def test_a_floating_tag_leaves_what_was_withdrawn(site: Site, plain: Registry) -> None:
    told = "{from: apt/app}"
    for version in ("1.5", "1.4"):
        site.edit("repos/app/component.yaml", f"version: {told}", f'version: "{version}"')
        told = f'"{version}"'
        site.works("lock", "app")
        site.build()
        found = publish(site, "--registry", plain.host).json["images"][0]["tags"]
    # By itself no tag goes back.
    assert found == ["1.4-r1", "1.4"]
    site.write(
        {
            "security/withdrawn.yaml": "withdrawn:\n"
            "- {image: app, tag: 1.5-r1, successor: 1.4-r1, move: ['1'], because: it hangs}\n"
        }
    )
    assert publish(site, "--registry", plain.host).json["images"][0]["tags"] == ["1"]
    tags = plain.tags("app")
    assert tags["1"] == tags["1.4-r1"]


def test_a_dev_build_moves_nothing_else(site: Site, plain: Registry) -> None:
    site.repo.add("lib", "1", files={"usr/lib/lib.so": "lib 1\n"})
    site.repo.add("app", "2", depends="lib", files={"usr/bin/app": "#!/bin/sh\n"})
    site.repo.publish()
    site.lock_elsewhere()
    site.repo.vanish("lib", "1")
    site.repo.add("lib", "2")
    site.repo.publish()
    site.build()
    result = publish(site, "--registry", plain.host)
    assert result.json["images"][0]["tags"] == ["2-dev"]
    assert "warning: oci:out:app:2-dev is a -dev build" in result.errors
    assert [tag for tag in plain.tags("app") if not tag.startswith("sha256-")] == ["2-dev"]


def test_what_is_attested_goes_along(site: Site, plain: Registry) -> None:
    site.works("build", "app", "--attest")
    (sent,) = publish(site, "--registry", plain.host).json["images"]
    assert sorted(sent["attached"]) == [
        "org.imgbuild.lock", "org.imgbuild.provenance", "org.imgbuild.sbom.cyclonedx", "org.imgbuild.sbom.spdx",
    ]  # fmt: skip
    there = site.works("provenance", f"registry:{plain.host}/app", cache=site.empty_cache()).output
    assert there == site.works("provenance", "app").output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "no registry is named"),
        (("--registry", "nowhere"), "'nowhere' is no registry's host"),
        (("--registry", f"{USER}:{PASSWORD}@registry.example"), "no user or password in it"),
        (("--registry", "registry.example/app:1"), "names an image"),
        (("--registry", "registry.example", "--from", "docker:"), "is no OCI layout"),
        (("--registry", "registry.example", "--from", "oci:none"), "is no OCI layout"),
        (("--registry", "registry.example", "nothing"), "nothing"),
    ],
)
def test_wrong_input(site: Site, words: tuple[str, ...], said: str) -> None:
    site.build()
    result = site.run("publish", *words)
    assert result.code == 2, result.errors
    assert said in result.errors
    assert PASSWORD not in result.errors
    assert "Traceback" not in result.errors


def test_no_word_of_a_password(site: Site, secure: Registry, tmp_path: Path) -> None:
    """Neither in what is said, however much is asked for, nor in what the store keeps, nor in the list of processes."""
    site.build()
    token = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    wrong = tmp_path / "wrong.json"
    wrong.write_text(json.dumps({"auths": {secure.host: {"username": USER, "password": PASSWORD + "x"}}}))
    team = f"{secure.host}/team"
    said = []
    for env in (secure.environment, {**secure.environment, "REGISTRY_AUTH_FILE": str(wrong)}):
        for words in (
            ("publish", "-v", "--registry", team),
            ("publish", "--json", "--registry", team),
            ("copy", "-v", "app", f"registry:{secure.host}/copied"),
            ("pull", "-v", "app", "--registry", team, "--to", "oci:pulled"),
            ("store", "push", "-v", "--to", f"registry:{team}/store"),
            ("mirror", "save", "-v", "saved.tar", f"registry:{team}/app"),
            ("mirror", "load", "-v", "saved.tar", f"registry:{secure.host}/loaded"),
            ("prune", "-v", f"registry:{team}/app"),
            ("inspect", "-v", f"registry:{team}/app"),
        ):
            result = site.run(*words, env=env)
            said.append(result.output + result.errors)
            assert result.code == (0 if env is secure.environment else 1), said[-1]
            assert env is secure.environment or "refuses the login" in said[-1]
        # Without its answer, layers are made.
        result = site.run("build", "app", "-v", "--locked", "--reuse", team, cache=site.empty_cache(), env=env)
        said.append(result.output + result.errors)
        assert result.code == 0, said[-1]
    listed = ""
    with running("publish", "--registry", f"{secure.host}/other", cache=site.cache, cwd=site.folder,
                 env={**site.env, **secure.environment}) as started:  # fmt: skip
        for _ in range(40):
            listed += subprocess.run(["ps", "axww", "-o", "args"], capture_output=True, text=True, check=True).stdout
        assert started.end().code == 0
    assert secure.host in listed
    for text in (*said, listed):
        assert PASSWORD not in text
        assert token not in text
    kept = subprocess.run(
        ["grep", "-rlE", f"{PASSWORD}|{token}", site.cache, site.folder], capture_output=True, text=True, check=False
    )
    assert kept.stdout == ""


def test_a_registry_that_fails_is_named(site: Site, plain: Registry) -> None:
    site.build()
    with FaultyProxy(plain.port) as proxy:
        proxy.spoil("PUT", "/blobs/uploads/", Fault(status=403), times=100)
        result = site.run("publish", "--registry", proxy.host)
        assert result.code == 1
        assert "answers 403" in result.errors
        assert "Traceback" not in result.errors
        proxy.mend()
        proxy.spoil("*", "/v2/app", Fault(status=429, headers={"Retry-After": "0"}), times=3)
        result = site.works("publish", "--registry", proxy.host)
        assert "again in 0 s" in result.errors
    plain.require_whole("app")


def test_without_tls_only_where_that_is_said(site: Site, plain: Registry) -> None:
    """A registry elsewhere, reached by a proxy, which a registry of this machine is not."""
    site.build()
    with FaultyProxy(plain.port) as proxy:
        env = dict.fromkeys(("http_proxy", "https_proxy"), f"http://{proxy.host}")
        result = site.run("publish", "--registry", "registry.test/team", env=env)
        assert result.code == 1
        assert [request for request in proxy.asked if request.method != "CONNECT"] == []
        proxy.mend()
        result = site.run("publish", "--registry", "registry.test/team", "--plain-http", env=env)
        assert result.code == 0, result.errors
        assert {request.headers["host"] for request in proxy.asked} == {"registry.test"}
        result = site.run("inspect", "registry:http://registry.test/team/app", "--json", env=env)
        assert result.json["name"] == "registry:http://registry.test/team/app:1-r1"
        proxy.mend()
        site.works("publish", "--registry", f"http://{plain.host}/team")
        assert proxy.asked == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_while_sending(site: Site, plain: Registry, number: signal.Signals, code: int) -> None:
    site.build()
    with FaultyProxy(plain.port) as proxy:
        proxy.spoil("PUT", "/blobs/uploads/", Fault(pause=5), times=1000)
        with running("publish", "--registry", proxy.host, cache=site.cache, cwd=site.folder, env=site.env) as started:
            started.until(lambda: proxy.count("PUT") > 0)
            started.signal(number)
            since = time.monotonic()
            assert started.end().code == code
            assert time.monotonic() - since < 3
            assert started.left_over() == {}
    assert plain.tags("app") == {}
    site.works("publish", "--registry", plain.host)
    plain.require_whole("app")


def test_the_guide_is_followed(two: Site, plain: Registry) -> None:
    """docs/publish.md, with this registry in place of the one that it names, and our components in place of its own."""
    two.works("build", "--all", "--to", "oci:from-the-other-machine")
    text = (ROOT / "docs/publish.md").read_text()
    script = "\n".join(documents.BLOCK.findall(text))
    for name, ours in (
        ("registry.example:5000", plain.host),
        ("nova-api", "app"),
        ("nova", "app"),
        ("keystone", "second"),
    ):
        script = script.replace(name, ours)
    documents.run(script, two.folder, two.cache, two.env)
    assert {"1-r1", "1"} <= plain.tags("openstack/app").keys()


def test_an_empty_runner_takes_layers_from_there(two: Site, plain: Registry) -> None:
    """Nothing but git and the registry: no package is fetched, and every image is the same."""
    digests = two.build("app", "second")
    two.works("build", "--all")
    two.works("publish", "--registry", f"{plain.host}/team")
    two.repo.folder.rename(two.repo.folder.with_name("gone"))
    result = two.run("build", "--all", "--locked", "--to", "oci:other", "--json", "--reuse", f"{plain.host}/team",
                     cache=two.empty_cache())  # fmt: skip
    assert result.code == 0, result.errors
    assert {one["image"]: one["digest"] for one in result.json["images"]} == digests
    found = re.search(r"(\d+) of them are there: (\d+) bytes", result.errors)
    assert found
    layers = {layer.digest: layer.size for name in ("app", "second") for layer in two.image(name).layers}
    assert (int(found[1]), int(found[2])) == (len(layers), sum(layers.values()))


def test_blobs_are_read_from_a_mirror(two: Site, plain: Registry, tmp_path: Path) -> None:
    """As podman and skopeo do, by the file that they read; what it does not have, or has of other bytes, comes from the registry."""
    two.works("publish", "app", "--registry", f"{plain.host}/team")
    layers = {layer.digest for layer in two.image("app").layers}
    with (
        registry(tmp_path / "near") as near,
        FaultyProxy(plain.port) as origin,
        FaultyProxy(near.port) as mirror,
    ):
        two.works("copy", f"registry:{plain.host}/team/app", f"registry:{near.host}/copies")
        conf = (
            f'[[registry]]\nlocation = "{origin.host}/team"\n[[registry.mirror]]\nlocation = "{mirror.host}/copies"\n'
        )
        (tmp_path / "registries.conf").write_text(conf)
        env = {"CONTAINERS_REGISTRIES_CONF": str(tmp_path / "registries.conf")}

        def pulled(to: str) -> tuple[int, int]:
            """How many layers the registry was asked for, and its mirror."""
            origin.mend()
            mirror.asked.clear()
            words = ("copy", f"registry:{origin.host}/team/app", f"oci:{to}")
            done = two.run(*words, cache=two.empty_cache(), env=env)
            assert done.code == 0, done.errors
            assert two.image("app", to).digest == two.image("app").digest
            came = [
                len({x.path for x in one.asked if x.method == "GET" and x.path.rpartition("/")[2] in layers})
                for one in (origin, mirror)
            ]
            return came[0], came[1]

        assert pulled("whole") == (0, len(layers))
        near.forget("copies/app", min(layers))
        assert pulled("lacking") == (1, len(layers))
        mirror.spoil("GET", "/blobs/", Fault(spoil=True), times=100)
        # Once is enough.
        assert (pulled("spoiled")[0], mirror.count("GET", "/blobs/")) == (len(layers), 1)
        (tmp_path / "registries.conf").write_text(conf.replace(mirror.host, near.host))
        near.stop()
        assert pulled("gone")[0] == len(layers)


def test_a_registry_that_does_not_answer_is_done_without(site: Site) -> None:
    digests = site.build()
    site.edit("imgbuild.yaml", "workspace: site", "workspace: site\nregistry: 127.0.0.1:1/team")
    cache = site.empty_cache()
    result = site.run("build", "app", "--locked", "--to", "oci:other", "--json", cache=cache)
    assert result.code == 0, result.errors
    assert {one["image"]: one["digest"] for one in result.json["images"]} == digests
    assert "warning: no layers from there: 127.0.0.1:1: " in result.errors


def test_a_layer_that_is_other_there_is_made_here(site: Site, plain: Registry) -> None:
    digests = site.build()
    site.works("publish", "--registry", plain.host)
    layer = site.image().layers[0]
    with FaultyProxy(plain.port) as proxy:
        proxy.spoil("GET", f"/blobs/{layer.digest}", Fault(spoil=True), times=100)
        result = site.run("build", "app", "--locked", "--to", "oci:other", "--json", "--reuse", proxy.host,
                          cache=site.empty_cache())  # fmt: skip
    assert result.code == 0, result.errors
    assert {one["image"]: one["digest"] for one in result.json["images"]} == digests
    assert f"what it gives for {layer.digest}" in result.errors
