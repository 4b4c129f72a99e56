"""What ships, published to real registries with TLS and a password and without, pulled by docker, podman and skopeo, and run."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from builder.transports import oci_layout
from tests.e2e.test_services import CASES
from tests.kit.engines import Docker, Engine, Podman
from tests.kit.fleet import Fleet
from tests.kit.project import imgbuild
from tests.kit.registry import PASSWORD, USER, Registry, registry
from tests.kit.running import Site

pytestmark = [pytest.mark.e2e, pytest.mark.full]
Sites = Callable[[Engine], Site]


def publish(fleet: Fleet, layout: Path, there: Registry) -> dict[str, str]:
    """Publish all that a layout has: the digest of each image, by the name that it has there."""
    words = ("-C", str(fleet.site), "publish", "--from", f"oci:{layout}", "--registry", f"{there.host}/team", "--json")
    told = imgbuild(*words, cache=fleet.cache, env=there.environment)
    assert told.code == 0, told.errors + told.output
    again = imgbuild(*words, cache=fleet.cache, env=there.environment)
    assert {(one["status"], one["bytes"]) for one in again.json["images"]} == {("there", 0)}
    return {one["reference"]: one["digest"] for one in told.json["images"]}


class Clients:
    """docker, podman and skopeo, as people log in with them.

    docker takes any certificate of a registry on the loopback interface, so it shows the login alone; podman and skopeo look at
    the certificate.
    """

    def __init__(self, there: Registry, docker: Docker, podman: Podman, folder: Path) -> None:
        self._there, self._docker, self._podman, self._folder = there, docker, podman, folder
        self._certificates, self._logins = folder / "certificates", folder / "logins"
        for made in (self._certificates, self._logins):
            made.mkdir()
        if there.secure:
            shutil.copy(there.certificate, self._certificates / "ca.crt")
            for words in (
                ("docker", "--config", str(self._logins), "login", "--username", USER, "--password-stdin", there.host),
                ("podman", "login", *self._podmans, "--username", USER, "--password-stdin", there.host),
            ):
                # docker's login is the daemon's affair.
                host = {"DOCKER_HOST": docker.host} if words[0] == "docker" else podman.environment
                done = subprocess.run(
                    words, input=PASSWORD, text=True, capture_output=True, check=False,
                    env={"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "HOME": str(folder), **host},
                )  # fmt: skip
                assert done.returncode == 0, done.stderr

    @property
    def _podmans(self) -> tuple[str, ...]:
        if not self._there.secure:
            return ("--tls-verify=false",)
        return ("--cert-dir", str(self._certificates), "--authfile", str(self._logins / "podman.json"))

    def docker(self, reference: str) -> str:
        """Pull by docker: the digest that it names."""
        self._docker("--config", str(self._logins), "pull", "--quiet", reference)
        (told,) = json.loads(self._docker("image", "inspect", reference))
        known: list[str] = told["RepoDigests"]
        return next(one.partition("@")[2] for one in known if one.startswith(self._there.host))

    def podman(self, reference: str) -> str:
        """Pull by podman: the digest that it names."""
        self._podman("pull", "--quiet", *self._podmans, reference)
        return str(json.loads(self._podman("image", "inspect", reference))[0]["Digest"])

    def skopeo(self, reference: str) -> str:
        """Copy by skopeo, which verifies each blob: the digest of what it has."""
        words = (
            ("--src-cert-dir", str(self._certificates), "--src-authfile", str(self._logins / "podman.json"))
            if self._there.secure
            else ("--src-tls-verify=false",)
        )
        # Into one layout, so that a layer that many images have is fetched once, as the others do.
        copy = self._folder / "copied"
        done = subprocess.run(
            ["skopeo", "copy", "--quiet", *words, f"docker://{reference}", f"oci:{copy}:{reference}"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return str(oci_layout.references(copy)[reference])


def runs(site: Site, reference: str) -> None:
    """A service that needs no other does its work; of others it is seen that their system is there."""
    name = reference.rpartition("/")[2].partition(":")[0]
    case = CASES.get(name)
    if case and case.where == ".":
        if "init" in site.declared(reference).steps:
            site.step(reference, "init")
        running = site.start(reference, name)
        running.healthy()
        case.works(running)
        assert running.stop() == 0
    else:
        query = ("--show", "--showformat", "${db:Status-Status}\n")
        told = site.engine("run", "--rm", "--network=none", "--entrypoint", "dpkg-query", reference, *query)
        assert set(told.split()) == {"installed"}, reference


@pytest.mark.parametrize("secure", [True, False], ids=["tls-and-password", "plain"])
@pytest.mark.parametrize("targets", [("memcached", "rsyslog"), pytest.param((), marks=pytest.mark.full, id="all")])
def test_it_is_pulled_and_run(
    targets: tuple[str, ...], secure: bool, fleet: Fleet, docker: Docker, podman: Podman, sites: Sites, tmp_path: Path
) -> None:
    layout = fleet.layout(*targets)
    with registry(tmp_path / "registry", secure=secure) as there:
        published = publish(fleet, layout, there)
        assert len(published) == len(json.loads((layout / "index.json").read_text())["manifests"])
        for reference in published:
            there.require_whole(reference.removeprefix(f"{there.host}/").partition(":")[0])
        if secure:
            refuses(there, next(iter(published)))
        clients = Clients(there, docker, podman, tmp_path)
        # One after the other: each has gigabytes of the fleet until its images are removed.
        for engine, pulled in ((docker, clients.docker), (podman, clients.podman)):
            site = sites(engine)
            for reference, digest in published.items():
                assert pulled(reference) == digest
                runs(site, reference)
            site.close()
            engine.remove_all()
            engine("image", "rm", "--force", *published, check=False)
        for reference, digest in published.items():
            assert clients.skopeo(reference) == digest


def refuses(there: Registry, reference: str) -> None:
    """Nobody gets anything without a login, or without a certificate that somebody vouches for."""
    for words in (("--tls-verify=false", "--no-creds"), ("--creds", f"{USER}:{PASSWORD}")):
        done = subprocess.run(
            ["skopeo", "inspect", *words, f"docker://{reference}"], capture_output=True, text=True, check=False
        )
        assert done.returncode != 0
        assert "unauthorized" in done.stderr or "certificate" in done.stderr, done.stderr
