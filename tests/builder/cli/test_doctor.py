"""What ``doctor`` says of a machine."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from builder.errors import SandboxError
from builder.pipeline import diagnosing
from builder.pipeline.edges import Edges
from builder.report import Silent
from builder.tools import machine
from builder.tools.store import Store
from tests.kit.http_server import HttpServer
from tests.kit.project import Run, imgbuild, project
from tests.kit.users import user

LAYER = """\
dsl: 1
layer: base
version: 1.0.0
summary: a base
distribution: {id: debian, version: "13", codename: trixie}
sources:
  first: {apt: SERVER/first, suites: [stable, stable-security], keyring: debian-archive}
  flat: {apt: SERVER/flat, suites: ["./"], keyring: debian-archive}
"""
FILES = ("first/dists/stable/InRelease", "first/dists/stable-security/InRelease", "flat/InRelease")
OTHER = "amd64" if machine.architecture() == "arm64" else "arm64"
NAMES = ["system", "apt-get", "dpkg-deb", "gpgv", "git", "mmdebstrap", "ids", "namespaces", OTHER, "disk", "memory"]


def findings(run: Run) -> dict[str, dict[str, str]]:
    return {one["name"]: one for one in json.loads(run.output)["findings"]}


def workspace(folder: Path, server: str) -> Path:
    return project(
        folder, {"imgbuild.yaml": "dsl: 1\nworkspace: w\n", "layers/base/layer.yaml": LAYER.replace("SERVER", server)}
    )


def test_a_machine_that_builds(tmp_path: Path) -> None:
    told = imgbuild("doctor", "--offline", cache=tmp_path)
    assert told.code == 0, told.output
    lines = [line.split() for line in told.output.splitlines() if not line.startswith(" ")]
    assert [words[1] for words in lines[: len(NAMES)]] == NAMES
    assert lines[-1] == ["builds", "work", "here"]
    data = imgbuild("doctor", "--offline", "--json", cache=tmp_path)
    assert (data.code, json.loads(data.output)["works"]) == (0, True)
    assert list(findings(data))[: len(NAMES)] == NAMES
    # Engines are asked, and are no condition.
    assert {findings(data)[name]["status"] for name in ("docker", "podman")} <= {"ok", "optional"}
    assert list((tmp_path / "imgbuild/tmp").iterdir()) == []


def test_mirrors_are_asked_for_each_suite(tmp_path: Path) -> None:
    served = project(tmp_path / "served", dict.fromkeys(FILES, ""))
    with HttpServer(served) as server:
        folder = workspace(tmp_path / "w", server.uri)
        told = imgbuild("doctor", cache=tmp_path / "cache", cwd=folder)
        assert told.code == 0, told.output
        assert f"ok      mirror      {server.uri}/first\n" in told.output
        (served / FILES[1]).unlink()
        told = imgbuild("doctor", "--json", cache=tmp_path / "cache", cwd=folder)
        assert told.code == 1
        wrong = [one for one in json.loads(told.output)["findings"] if one["status"] == "missing"]
        (mirror,) = wrong
        assert mirror["found"].startswith(f"{server.uri}/{FILES[1]}: 404")
        asked = len(server.requests)
        assert imgbuild("doctor", "--offline", cache=tmp_path / "cache", cwd=folder).code == 0
        assert len(server.requests) == asked
    told = imgbuild("doctor", cache=tmp_path / "cache", cwd=folder)
    assert told.code == 1
    assert "MISSING mirror" in told.output
    assert "refused" in told.output


def test_a_broken_workspace_does_not_end_it(tmp_path: Path) -> None:
    folder = project(tmp_path / "w", {"imgbuild.yaml": "dsl: 7\n"})
    told = imgbuild("doctor", cache=tmp_path / "cache", cwd=folder)
    assert told.code == 0, told.output
    assert "no mirrors were asked" in told.output


def test_programs_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = tmp_path / "bin"
    empty.mkdir()
    monkeypatch.setattr("builder.tools.process.PLAIN_ENVIRONMENT", {"PATH": str(empty)})
    monkeypatch.setenv("PATH", str(empty))
    found = {one.name: one for one in diagnosing.programs()}
    assert {name: one.status for name, one in found.items()} == {
        "apt-get": "missing", "dpkg-deb": "missing", "gpgv": "missing", "git": "optional", "mmdebstrap": "optional",
    }  # fmt: skip
    assert all(one.hint for one in found.values())


def test_another_architecture_is_tried(tmp_path: Path) -> None:
    edges = Edges(Store(tmp_path / "store"), Silent())
    told = diagnosing.programs_of(OTHER, edges, wanted=False)
    if machine.runs(OTHER):
        assert (told.status, told.hint) == ("ok", "")
        assert told.found.startswith("its programs run here by ")
    else:
        assert (told.status, OTHER in told.hint) == ("optional", True)
    # Of this machine's own kind it surely runs, and is no file that a shell would take for a script.
    own = machine.architecture()
    assert diagnosing.programs_of(own, edges, wanted=True).status == "ok"
    lacking = diagnosing.programs_of("vax", edges, wanted=True)
    assert (lacking.status, "runs no programs of vax" in lacking.found) == ("missing", True)
    assert list((tmp_path / "store/tmp").iterdir()) == []


@pytest.mark.integration
def test_a_place_that_cannot_be_an_overlay_is_told(tmp_path: Path) -> None:
    # /dev/mqueue, /proc and /sys hold no files; an overlay does not lie on another one.
    with pytest.raises(OSError, match="/proc"):
        diagnosing.try_sandbox(Path("/proc/none"))
    folder = tmp_path / "a,b"
    folder.mkdir()
    with pytest.raises(SandboxError, match="a colon or a comma"):
        diagnosing.try_sandbox(folder / "try")


@pytest.mark.integration
@pytest.mark.skipif(os.geteuid() != 0, reason="makes users")
def test_a_user_is_told_what_is_missing() -> None:
    words = ("doctor", "--offline", "--json")
    with user(subordinate=()) as poor:
        told = poor.run(*poor.imgbuild, *words)
        assert told.code == 1
        found = findings(told)
        assert [name for name, one in found.items() if one["status"] == "missing"] == ["ids", "namespaces"]
        assert "usermod --add-subuids" in found["ids"]["hint"]
    with user() as rich:
        told = rich.run(*rich.imgbuild, *words)
        assert told.code == 0, told.output
        assert findings(told)["ids"]["found"].startswith("subordinate ids ")
        cache = rich.home / ".cache"
        assert stat.S_IMODE(cache.stat().st_mode) & 0o700 == 0o700
        os.chown(cache, 0, 0)
        (cache / "imgbuild").rename(rich.home / "away")
        told = rich.run(*rich.imgbuild, *words)
        assert told.code == 1
        assert "XDG_CACHE_HOME" in findings(told)["namespaces"]["hint"]
