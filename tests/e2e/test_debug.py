"""``imgbuild debug``: tools beside a container that runs, and its image is left as it is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.engines import Docker
from tests.kit.fleet import Fleet
from tests.kit.project import Run, imgbuild

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def page(fleet: Fleet, docker: Docker) -> Iterator[str]:
    """A web server that runs by its image's own word."""
    web = str(fleet.site / "examples/web")
    built = imgbuild("-C", web, "build", "web", "--to", "docker:", "-q", cache=fleet.cache, env=_at(docker))
    assert built.code == 0, built.errors
    name = "to-debug"
    words = ("run", f"docker:{built.output.strip()}", "--name", name, "--detach", "--publish", "http")
    started = imgbuild(*words, cache=fleet.cache, env=_at(docker))
    assert started.code == 0, started.errors
    yield name
    docker("rm", "--force", name)


def test_tools_see_the_processes_the_ports_and_the_files(page: str, fleet: Fleet, docker: Docker) -> None:
    seen = debug(fleet, docker, page, "--", "sh", "-c", "ps -e -o user,args; ss -tln; ls /proc/1/root/etc/nginx; id -u")
    assert seen.code == 0, seen.errors
    processes, _, rest = seen.output.partition("State")
    assert "nginx: worker process" in processes
    assert ":8080" in rest
    assert "nginx.conf" in rest
    assert rest.split()[-1] == "0"
    (told,) = json.loads(docker("inspect", page))
    assert told["State"]["Running"]
    again = debug(fleet, docker, page, "--dry-run")
    assert again.output.startswith(f"docker run --rm --pid=container:{told['Id']} --network=container:{told['Id']}")


def test_an_image_with_tools_is_the_image_and_tools(fleet: Fleet, docker: Docker, tmp_path: Path) -> None:
    made = debug(fleet, docker, "web", "--to", f"oci:{tmp_path}/out", "--json")
    assert made.code == 0, made.errors
    plain = imgbuild(
        "-C", str(fleet.site / "examples/web"), "build", "web", "--to", f"oci:{tmp_path}/out", cache=fleet.cache
    )
    assert plain.code == 0, plain.errors
    images = (f"oci:{tmp_path}/out:web", f"oci:{tmp_path}/out:web-debug")
    compared = json.loads(imgbuild("diff", *images, "--json", cache=fleet.cache).output)
    assert "gdb" in {name for name, _ in compared["added"]}
    assert (compared["removed"], compared["changed"]) == ([], [])


def test_what_cannot_be_looked_into_is_said(fleet: Fleet, docker: Docker) -> None:
    nothing = debug(fleet, docker, "wbe")
    assert (nothing.code, "'wbe'" in nothing.errors) == (2, True), nothing.errors


def debug(fleet: Fleet, docker: Docker, *words: str) -> Run:
    return imgbuild("-C", str(fleet.site / "examples/web"), "debug", *words, cache=fleet.cache, env=_at(docker))


def _at(docker: Docker) -> dict[str, str]:
    return {"DOCKER_HOST": docker.host}
