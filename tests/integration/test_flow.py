"""The commands one after the other, as somebody uses them, and what each prints for machines."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.kit.distribution import Site
from tests.kit.http_server import HttpServer

pytestmark = pytest.mark.integration


def test_a_second_build_makes_nothing(site: Site) -> None:
    result = site.works("build", "app", "--json").json["images"][0]
    assert (result["layers_made"], result["status"]) == (0, "reused")


def test_from_a_definition_to_an_image(site: Site) -> None:
    site.repo.add("lib", "1.5", files={"usr/lib/lib.so": "lib\n"})
    site.repo.add("app", "2:2.0+ds-3", files={"usr/bin/app": "#!/bin/sh\n"}, depends="lib (>= 1)")
    site.repo.publish()
    assert site.works("check").code == 0
    assert site.run("outdated", "app").code == 3
    site.works("lock", "app", "--update")
    assert site.run("outdated", "app").code == 0
    (planned,) = site.works("plan", "app", "--json").json["images"]
    assert planned["tag"] == "2.0-r1"
    assert [layer["action"] for layer in planned["layers"]] == ["reuse", "make", "reuse", "reuse", "make"]
    (built,) = site.works("build", "app", "--json").json["images"]
    assert (built["tag"], built["layers_made"], built["layers_reused"]) == ("2.0-r1", 2, 3)
    assert site.works("why", "lib", "app").output.split()[:1] == ["lib"]
    inspected = site.works("inspect", "oci:out", "--json").json
    assert "lib" in json.dumps(inspected)
    assert site.works("validate", "oci:out").code == 0
    assert site.works("diff", "oci:out", "oci:out").code == 0
    config = site.image().configuration["config"]
    assert (config["Cmd"], config["User"]) == (["app"], "8000:8000")
    copied = ["skopeo", "copy", "--quiet", f"oci:{site.folder}/out:app:2.0-r1", f"dir:{site.folder}/copied"]
    subprocess.run(copied, check=True)
    root = site.unpack()
    assert "app:x:8000:8000:" in (root / "etc/passwd").read_text()


COMMANDS = {
    ("build", "app"): 0,
    ("build", "ap"): 2,
    ("check",): 0,
    ("diff", "oci:out", "oci:out"): 0,
    ("inspect", "oci:out"): 0,
    ("list",): 0,
    ("lock", "app"): 0,
    ("lock", "app", "--check"): 0,
    ("outdated", "app"): 0,
    ("plan", "app"): 0,
    ("schema",): 0,
    ("show", "app"): 0,
    ("validate", "oci:out"): 0,
    ("validate", "oci:nothing"): 2,
    ("why", "app", "app"): 0,
    ("why", "nothing", "app"): 1,
    ("cache", "use"): 0,
}


def test_every_command_prints_for_machines(site: Site) -> None:
    site.build()
    for words, code in COMMANDS.items():
        result = site.run(*words, "--json")
        assert (words, result.code) == (words, code), result.errors
        assert result.json is not None
        if code and words[0] != "build":
            assert {"error", "message", "hint"} <= result.json.keys()


def test_http_gives_the_same_as_a_folder(site: Site) -> None:
    expected = site.build()
    with HttpServer(site.mirror) as server:
        site.env = {"IMGBUILD_MIRROR": server.uri}
        cache = site.empty_cache()
        assert site.build(out="http", cache=cache) == expected
        site.works("lock", "app", "--update", cache=cache)
    site.works("lock", "app", "--check")


def test_a_source_can_be_a_folder(site: Site) -> None:
    expected = site.lock()
    site.edit("layers/tiny/layer.yaml", "http://deb.debian.org/tiny", site.repo.uri)
    site.env = {}
    site.works("lock", "app")
    assert expected.count('"app"') == site.lock().count('"app"')
    site.build()
