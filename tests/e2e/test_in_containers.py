"""Builds inside containers, as CI runners make them: in the image of repos/imgbuild, with the rights that docs/ci.md names."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kit import users
from tests.kit.distribution import Distribution
from tests.kit.engines import Docker, Engine, Podman
from tests.kit.fleet import Fleet
from tests.kit.project import ROOT, imgbuild, project

pytestmark = [pytest.mark.e2e, pytest.mark.full]

UNCONFINED = ("--security-opt=seccomp=unconfined", "--security-opt=apparmor=unconfined")
SYS_ADMIN = ("--cap-add=SYS_ADMIN", "--security-opt=apparmor=unconfined")
USER = "42500"  # builder
WORKS: dict[str, dict[str, tuple[tuple[str, ...], ...]]] = {
    "docker": {"0": (UNCONFINED, SYS_ADMIN), USER: (SYS_ADMIN,)},
    "podman": {"0": (("--hostname=localhost",), UNCONFINED, SYS_ADMIN), USER: (SYS_ADMIN,)},
}
REFUSED: dict[str, dict[str, tuple[tuple[str, ...], str]]] = {
    "docker": {"0": ((), "unshare: Operation not permitted"), USER: ((), "may not make a user namespace")},
    "podman": {"0": ((), "the host name must be localhost"), USER: (UNCONFINED, "newuidmap failed")},
}
GIVEN = {"HOME": "/tmp", "IMGBUILD_MIRROR": "file:///site/mirror"}
SCRIPT = """\
mkdir /tmp/work && cp -r /site/work/. /tmp/work && cd /tmp/work && rm -rf out &&
imgbuild -q doctor --offline --json > doctor.json; echo "$?"
imgbuild -q build app --json > build.json; echo "$?"
cat doctor.json; echo; echo ---; cat build.json
"""


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The image of this checkout: what repos/imgbuild has of a release is made anew of what lies here."""
    folder = tmp_path_factory.mktemp("runner")
    shutil.copytree(ROOT / "layers", folder / "layers", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    shutil.copytree(ROOT / "repos/imgbuild", folder / "repos/imgbuild", ignore=shutil.ignore_patterns("*.whl"))
    (folder / "imgbuild.yaml").write_text("dsl: 1\nworkspace: runners\n")
    source = folder / "source"
    for name in ("dsl", "builder", "layers"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    words = ["wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder / "repos/imgbuild/wheels"), str(source)]
    subprocess.run([sys.executable, "-m", "pip", *words], check=True)
    target = folder / "runner.tar"
    for command in (("lock", "imgbuild", "--update"), ("build", "imgbuild", "--to", f"docker-archive:{target}")):
        told = imgbuild(*command, cache=folder / "cache", cwd=folder)
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
    return next(name for name in names if "/imgbuild:" in f"/{name}" and not name.endswith("<none>"))


def inside(engine: Engine, image: str, site: Path, user: str, options: tuple[str, ...], cache: tuple[str, ...]) -> str:
    """What the script says in a container."""
    words = _shown(site)
    return engine.says("run", f"--user={user}", *options, *cache, *words, image, "sh", "-c", SCRIPT)


def _shown(site: Path) -> list[str]:
    words = ["--rm", "--network=none", f"--volume={site}:/site:ro"]
    return [*words, *(f"--env={name}={value}" for name, value in GIVEN.items())]


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
    said = inside(engine, image, site, "0", WORKS[kind]["0"][0], ("--env=XDG_CACHE_HOME=/tmp",))
    assert said.startswith("1\n1\n"), said
    assert "to a volume" in said.partition("---")[0]
    assert "mounting overlay" in said.partition("---")[2]


def test_in_docker(docker: Docker, runner: Path, built: tuple[Path, str], tmp_path: Path) -> None:
    require(docker, "docker", runner, built, tmp_path)


def test_in_podman(podman: Podman, runner: Path, built: tuple[Path, str], tmp_path: Path) -> None:
    require(podman, "podman", runner, built, tmp_path)


def test_in_podman_of_an_ordinary_user(runner: Path, built: tuple[Path, str]) -> None:
    runtime = "crun" if shutil.which("crun") else "runc"
    settings = f'[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\nruntime = "{runtime}"\n'
    settings += '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]\n'
    with users.user() as somebody:
        folder = somebody.gives(project(runner.parent / "own", {"containers.conf": settings}))
        (folder / "run").mkdir(mode=0o700)
        os.chown(folder / "run", min(somebody.ids), -1)
        # What podman takes where nobody has set it up may be vfs, which copies the whole image for each of its layers.
        env = {
            "CONTAINERS_CONF": str(folder / "containers.conf"),
            "XDG_RUNTIME_DIR": str(folder / "run"),
            "STORAGE_DRIVER": "overlay",
        }
        loaded = somebody.run("podman", "load", "--quiet", "--input", str(somebody.gives(runner)), env=env)
        assert loaded.code == 0, loaded.errors
        image = loaded.output.split()[-1]
        words = _shown(somebody.gives(built[0]))
        more = ("--hostname=localhost", "--volume=cache:/cache")
        said = somebody.run("podman", "run", *more, *words, image, "sh", "-c", SCRIPT, env=env)
        assert said.output.startswith("0\n0\n"), said
        made = json.loads(said.output.partition("---")[2])["images"][0]
        assert (made["digest"], made["layers_reused"]) == (built[1], 0)


def test_a_real_image_by_an_ordinary_user(docker: Docker, fleet: Fleet, runner: Path, tmp_path: Path) -> None:
    # Debian's packages are had outside, so the container is given no network; its store has nothing else.
    shutil.copytree(fleet.site / "layers", tmp_path / "site/layers")
    shutil.copytree(fleet.site / "repos/memcached", tmp_path / "site/repos/memcached")
    shutil.copy(ROOT / "imgbuild.yaml", tmp_path / "site")
    site, out, store = tmp_path / "site", tmp_path / "out", tmp_path / "cache"
    for command in (("lock", "memcached", "--update"), ("build", "memcached", "--to", f"oci:{out}")):
        told = imgbuild(*command, "--json", cache=fleet.cache, cwd=site)
        assert told.code == 0, told.errors
    expected = told.json["images"][0]
    (store / "imgbuild/blobs/sha256").mkdir(parents=True)
    for blob in (fleet.cache / "imgbuild/blobs/sha256").iterdir():
        with blob.open("rb") as file:
            if file.read(7) == b"!<arch>":
                os.link(blob, store / "imgbuild/blobs/sha256" / blob.name)
    for path in (site, store, *store.rglob("*")):
        if path.is_dir():
            os.chown(path, int(USER), int(USER))
    script = "imgbuild build memcached --locked --to oci:/tmp/out --json && imgbuild validate oci:/tmp/out >&2"
    words = (
        "--rm",
        "--network=none",
        "--read-only",
        "--tmpfs=/tmp",
        f"--volume={site}:/work",
        f"--volume={store}:/cache",
    )
    image = loaded(docker, runner)
    done = docker("run", f"--user={USER}", *SYS_ADMIN, *words, "--env=HOME=/tmp", image, "sh", "-c", script)
    (made,) = json.loads(done)["images"]
    assert (made["digest"], made["layers_reused"]) == (expected["digest"], 0)
