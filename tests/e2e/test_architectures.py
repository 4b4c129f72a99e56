"""memcached for amd64 and arm64 of Debian's own packages: locked, built, published, signed; read by cosign, pulled by docker and
podman as the machines of either kind do, and run.

Configuring arm64's packages takes qemu-user-static. What was pulled for arm64 is run by it, too: under an engine it is told to
run the image's program, since an engine finds it by itself only where the machine's kernel was told of it.
"""

from __future__ import annotations

import json
import os
import platform
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from builder.tools import machine, sandbox
from tests.kit.debian_tools import Tools, tools
from tests.kit.engines import Docker, Engine, Podman
from tests.kit.fleet import Fleet
from tests.kit.keys import pair
from tests.kit.project import Run, imgbuild
from tests.kit.registry import Registry, registry

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.full,
    pytest.mark.skipif(platform.machine() != "x86_64", reason="arm64 stands for the other architecture"),
]
EMULATOR = Path("/usr/bin/qemu-aarch64-static")
IGNORED = ("--insecure-ignore-tlog", "--private-infrastructure")
BOTH = ("amd64", "arm64")
_AARCH64 = 183


class Release:
    """What was built of memcached, and where it lies.

    Attributes:
        digests: of its images, by architecture; of their index.
    """

    def __init__(self, folder: Path, fleet: Fleet, there: Registry) -> None:
        self.fleet, self.there, self.key = fleet, there, pair(folder)
        self.out = folder / "out"
        fleet.site.joinpath("imgbuild.yaml").write_text(
            "dsl: 1\nworkspace: imgbuild\nsummary: for two architectures\ndefaults: {architectures: [amd64, arm64]}\n"
        )
        self.works("lock", "memcached")
        built = self.works("build", "memcached", "--locked", "--attest", "--to", f"oci:{self.out}", "--json").json[
            "images"
        ]
        self.digests = {one["architecture"]: one["digest"] for one in built}
        words = ("publish", "memcached", "--from", f"oci:{self.out}", "--registry", f"{there.host}/team", "--json")
        (told,) = self.works(*words, "--sign", str(self.key.private)).json["images"]
        self.index, self.reference = told["digest"], told["reference"]

    def works(self, *words: str) -> Run:
        """Run imgbuild there; it must end well."""
        result = imgbuild("-C", str(self.fleet.site), *words, cache=self.fleet.cache)
        assert result.code == 0, result.errors + result.output
        return result

    @property
    def public(self) -> Path:
        """Whom to believe."""
        return self.key.public


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    """One for both."""
    if os.geteuid() != 0:
        pytest.skip("needs root for engines")
    with registry(tmp_path_factory.mktemp("registry")) as there:
        yield Release(tmp_path_factory.mktemp("release"), Fleet(tmp_path_factory.mktemp("fleet")), there)


@pytest.fixture(scope="module")
def debian(tmp_path_factory: pytest.TempPathFactory) -> Tools:
    """cosign and oras."""
    return tools(tmp_path_factory.mktemp("debian"), ("cosign", "oras"))


def test_each_is_of_its_own_kind(release: Release, tmp_path: Path) -> None:
    """The program in it, too; and it runs where packages are configured."""
    assert set(release.digests) == set(BOTH)
    said: dict[str, str] = {}
    for name, digest in release.digests.items():
        root = tmp_path / name
        release.works("copy", f"oci:{release.out}:{digest}", f"rootfs:{root}")
        head = (root / "usr/bin/memcached").read_bytes()[:20]
        assert (struct.unpack_from("<H", head, 18)[0] == _AARCH64) == (name == "arm64")
        for folder in ("box", "upper"):
            (tmp_path / f"{folder}-{name}").mkdir()
        with sandbox.opened(tmp_path / f"box-{name}", architecture=name) as box:
            box.mount((root,), tmp_path / f"upper-{name}")
            done = box.run(["/usr/bin/memcached", "--version"])
            assert done.code == 0, done.text
            said[name] = done.text
            # All are configured, and dpkg there knows of what kind it is.
            states = box.run(["/usr/bin/dpkg-query", "--show", "--showformat", "${db:Status-Status} ${Architecture}\n"])
            assert {line for line in states.text.splitlines() if line} == {"installed all", f"installed {name}"}
    assert said["amd64"] == said["arm64"]
    assert said["arm64"].startswith("memcached 1.")


def test_others_read_what_is_signed(release: Release, debian: Tools) -> None:
    """By the tag, and by what a machine of either kind pulls by it."""
    repository = release.reference.rpartition(":")[0]
    for reference in (release.reference, *(f"{repository}@{one}" for one in release.digests.values())):
        seen = debian.run("cosign", "verify", "--key", release.public, *IGNORED, reference)
        assert seen.returncode == 0, seen.stderr
    for digest in release.digests.values():
        words = ("verify-attestation", "--type", "spdxjson", "--key", release.public, *IGNORED)
        seen = debian.run("cosign", *words, f"{repository}@{digest}")
        assert seen.returncode == 0, seen.stderr
        found = debian.run("oras", "discover", "--plain-http", "--format", "json", f"{repository}@{digest}")
        told: dict[str, Any] = json.loads(found.stdout)
        kinds = {one["artifactType"] for one in told.get("referrers") or told["manifests"]}
        assert {"application/spdx+json", "application/vnd.in-toto+json"} <= kinds
    release.works("verify", f"registry:{repository}", "--signed-by", str(release.public))


@pytest.mark.parametrize("architecture", BOTH)
def test_docker_pulls_and_runs_each(architecture: str, release: Release, docker: Docker) -> None:
    docker("pull", "--quiet", "--platform", f"linux/{architecture}", release.reference)
    (told,) = json.loads(docker("image", "inspect", release.reference))
    assert told["Architecture"] == architecture
    serves(docker, architecture, release.reference)
    docker("image", "rm", "--force", release.reference)


@pytest.mark.parametrize("architecture", BOTH)
def test_podman_pulls_and_runs_each(architecture: str, release: Release, podman: Podman) -> None:
    podman("pull", "--quiet", "--tls-verify=false", "--arch", architecture, release.reference)
    (told,) = json.loads(podman("image", "inspect", release.reference))
    assert (told["Architecture"], told["Digest"]) in (
        (architecture, release.digests[architecture]),
        (architecture, release.index),
    )
    serves(podman, architecture, release.reference)
    podman("image", "rm", "--force", release.reference)


def serves(engine: Engine, architecture: str, reference: str) -> None:
    """Start it, and have it keep something."""
    options: tuple[str, ...] = ("--read-only", f"--platform=linux/{architecture}")
    words: tuple[str, ...] = ("memcached", "-u", "memcache", "-l", "0.0.0.0")
    if machine.emulator(architecture):
        # Nobody has told the kernel of it.
        options += (f"--volume={EMULATOR}:/qemu:ro", "--entrypoint=/qemu")
        words = (f"/usr/bin/{words[0]}", *words[1:])
    name = engine("run", "--detach", *options, reference, *words).strip()
    try:
        address = engine("inspect", "--format", "{{.NetworkSettings.IPAddress}}", name).strip()
        engine.waits_for(name, lambda: _answers(address))
    finally:
        engine("rm", "--force", name)


def _answers(address: str) -> bool:
    try:
        with socket.create_connection((address, 11211), 2) as talk:
            talk.sendall(b"set a 0 0 5\r\nhello\r\nget a\r\nquit\r\n")
            said = b"".join(iter(lambda: talk.recv(4096), b""))
    except OSError:
        return False
    return said == b"STORED\r\nVALUE a 0 5\r\nhello\r\nEND\r\n"
