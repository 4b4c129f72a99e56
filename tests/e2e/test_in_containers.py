"""Builds inside containers, as CI runners make them: an image of ours runs imgbuild, with the rights that docs/ci.md names."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.kit.distribution import Distribution
from tests.kit.engines import Docker, Engine, Podman
from tests.kit.project import ROOT, imgbuild

pytestmark = [pytest.mark.e2e, pytest.mark.full]

UNCONFINED = ("--security-opt=seccomp=unconfined", "--security-opt=apparmor=unconfined")
SYS_ADMIN = ("--cap-add=SYS_ADMIN", "--security-opt=apparmor=unconfined")
USER = "1500"
WORKS: dict[str, dict[str, tuple[tuple[str, ...], ...]]] = {
    "docker": {"0": (UNCONFINED, SYS_ADMIN), USER: (SYS_ADMIN,)},
    "podman": {"0": (("--hostname=localhost",), UNCONFINED, SYS_ADMIN), USER: (SYS_ADMIN,)},
}
REFUSED: dict[str, dict[str, tuple[tuple[str, ...], str]]] = {
    "docker": {"0": ((), "unshare: Operation not permitted"), USER: ((), "may not make a user namespace")},
    "podman": {"0": ((), "the host name must be localhost"), USER: (UNCONFINED, "newuidmap failed")},
}
SCRIPT = """\
mkdir /tmp/work && cp -r /site/work/. /tmp/work && cd /tmp/work && rm -rf out &&
/env/bin/python -P -m builder.cli.main -q doctor --offline --json > doctor.json; echo "$?"
/env/bin/python -P -m builder.cli.main -q build app --json > build.json; echo "$?"
cat doctor.json; echo; echo ---; cat build.json
"""


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The image for runners, of this machine's release, since it is given this machine's Python libraries."""
    folder = tmp_path_factory.mktemp("runner")
    text = (ROOT / "tests/e2e/components/runner/component.yaml").read_text()
    release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    (folder / "runner").mkdir()
    number = release["VERSION_ID"].strip('"')
    (folder / "runner/component.yaml").write_text(text.replace("debian-12 ^1.0", f"debian-{number} ^1.0"))
    (folder / "imgbuild.yaml").write_text("dsl: 1\nworkspace: runners\nrepos: [.]\n")
    shutil.copytree(ROOT / "layers", folder / "layers", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    target = folder / "runner.tar"
    told = imgbuild("build", "runner", "--to", f"docker-archive:{target}", cache=folder / "cache", cwd=folder)
    assert told.code == 0, told.errors
    return target


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The tests' distribution, and the digest of its image as it is built outside of containers."""
    made = Distribution(tmp_path_factory.mktemp("distribution"))
    made.repo.close()
    site = made.site
    digest = site.build()["app"]
    return site.folder.parent, digest


def loaded(engine: Engine, runner: Path) -> str:
    engine("load", "--input", str(runner))
    names = engine("images", "--format", "{{.Repository}}:{{.Tag}}").split()
    return next(name for name in names if "/runner:" in f"/{name}" and not name.endswith("<none>"))


def inside(engine: Engine, image: str, site: Path, user: str, options: tuple[str, ...], cache: tuple[str, ...]) -> str:
    """What the script says in a container."""
    given = {
        "PYTHONPATH": "/imgbuild", "PYTHONDONTWRITEBYTECODE": "1", "HOME": "/tmp",
        "IMGBUILD_MIRROR": "file:///site/mirror", "XDG_CACHE_HOME": "/cache",
    }  # fmt: skip
    words = [f"--volume={path}:{place}:ro" for path, place in (
        (ROOT, "/imgbuild"), (Path(sys.prefix).resolve(), "/env"), (site, "/site"),
    )]  # fmt: skip
    words += [f"--env={name}={value}" for name, value in given.items()]
    return engine.says(
        "run", "--rm", "--network=none", f"--user={user}", *options, *cache, *words, image, "sh", "-c", SCRIPT
    )


def require(engine: Engine, kind: str, runner: Path, built: tuple[Path, str], folder: Path) -> None:
    site, digest = built
    image = loaded(engine, runner)
    number = 0

    def volume(user: str) -> tuple[str, ...]:
        nonlocal number
        number += 1
        place = folder / f"cache-{number}"
        place.mkdir()
        os.chown(place, int(user), int(user))
        return (f"--volume={place}:/cache",)

    for user, ways in WORKS[kind].items():
        for options in ways:
            said = inside(engine, image, site, user, options, volume(user))
            doctor, build, rest = said.split("\n", 2)
            assert (doctor, build) == ("0", "0"), (user, options, said)
            made = json.loads(rest.partition("---")[2])["images"][0]
            assert (made["digest"], made["layers_reused"]) == (digest, 0), (user, options)
    for user, (options, message) in REFUSED[kind].items():
        said = inside(engine, image, site, user, options, volume(user))
        assert said.startswith("1\n1\n"), said
        doctor, _, build = said.partition("---")
        assert message in doctor
        assert message in build
        assert "docs/ci.md" in build
    # The container's own file system is an overlay itself.
    said = inside(engine, image, site, "0", WORKS[kind]["0"][0], ())
    assert said.startswith("1\n1\n"), said
    assert "to a volume" in said.partition("---")[0]
    assert "mounting overlay" in said.partition("---")[2]


def test_in_docker(docker: Docker, runner: Path, built: tuple[Path, str], tmp_path: Path) -> None:
    require(docker, "docker", runner, built, tmp_path)


def test_in_podman(podman: Podman, runner: Path, built: tuple[Path, str], tmp_path: Path) -> None:
    require(podman, "podman", runner, built, tmp_path)
