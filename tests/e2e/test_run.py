"""``imgbuild run``: from a layout to a container that answers."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import pytest

from tests.kit.engines import Docker
from tests.kit.fleet import Fleet
from tests.kit.project import Run, imgbuild

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def layout(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A web server and a database in a layout."""
    out = tmp_path_factory.mktemp("run") / "out"
    for place in ("examples/web", "examples/database"):
        built = imgbuild("-C", str(fleet.site / place), "build", "--all", "--to", f"oci:{out}", cache=fleet.cache)
        assert built.code == 0, built.errors
    return out


def run(fleet: Fleet, docker: Docker, *words: str) -> Run:
    return imgbuild("run", *words, cache=fleet.cache, env={"DOCKER_HOST": docker.host})


def test_a_service_answers_on_its_port(fleet: Fleet, docker: Docker, layout: Path) -> None:
    started = run(fleet, docker, f"oci:{layout}:web", "--name", "page", "--detach", "--publish", "http")
    assert started.code == 0, started.errors
    try:
        address = docker("port", "page").rsplit(" ", 1)[-1].strip()
        docker.waits_for("page", lambda: _page(address).startswith("<!doctype html>"))
        (told,) = json.loads(docker("inspect", "page"))
        assert (told["HostConfig"]["ReadonlyRootfs"], told["HostConfig"]["CapDrop"]) == (True, ["ALL"])
    finally:
        docker("rm", "--force", "page")
    again = run(fleet, docker, "docker:" + told["Config"]["Image"], "--dry-run")
    assert again.output.startswith("docker run --name web --rm --read-only ")


def test_a_step_runs_to_its_end_on_the_volume_of_the_service(fleet: Fleet, docker: Docker, layout: Path) -> None:
    made = run(fleet, docker, f"oci:{layout}:postgresql", "init", "--name", "base")
    assert made.code == 0, made.errors
    assert "ok" in made.output
    assert "base-" in docker("volume", "ls", "--quiet")
    again = run(fleet, docker, f"oci:{layout}:postgresql", "init", "--name", "base")
    assert again.code == 1, "the exit code is the container's: initdb leaves a filled folder alone"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["postgresql", "start"], "has no step 'start'"),
        (["web", "--publish", "smtp"], "declares no port 'smtp'"),
        (["web", "--publish", "http=high"], "'high' is no port"),
        (["web", "--config", "/etc/x=nowhere"], "there is no file nowhere"),
        (["web", "--env", "A"], "expected NAME=VALUE"),
        (["nothing"], "nothing"),
    ],
)
def test_what_cannot_be_run_is_said(words: list[str], message: str, fleet: Fleet, docker: Docker, layout: Path) -> None:
    image, *more = words
    result = run(fleet, docker, f"oci:{layout}:{image}", *more)
    assert (result.code, message in result.errors) == (2, True), result.errors


def _page(address: str) -> str:
    try:
        with urllib.request.urlopen(f"http://{address}", timeout=5) as answer:
            text: str = answer.read().decode()
            return text
    except OSError:
        return ""
