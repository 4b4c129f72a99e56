"""``imgbuild deploy render``: a site on one host, as its README says, by docker compose; and its units in podman's eyes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
import yaml

from tests.kit import documents
from tests.kit.engines import Docker
from tests.kit.fleet import Fleet

pytestmark = pytest.mark.e2e
SITE = "examples/hosts/site.yaml"


@pytest.fixture(scope="module", autouse=True)
def _released(fleet: Fleet, docker: Docker) -> None:
    """What is rendered names the revisions of the locks; images of versions that the mirror has dropped are ``-dev``."""
    found = fleet.load(docker, "mariadb", "memcached", "keystone")
    gone = [found[name] for name in ("mariadb", "memcached", "keystone") if found[name].endswith("-dev")]
    if gone:
        pytest.skip(f"the mirror has dropped locked versions: {', '.join(gone)}")


def test_keystone_with_what_it_needs_on_one_host(fleet: Fleet, docker: Docker, tmp_path: Path) -> None:
    clone = documents.checkout(tmp_path)
    port = _free_port()
    site = clone / SITE
    site.write_text(site.read_text().replace("identity: 5000", f"identity: {port}"))
    try:
        with documents.followed("examples/hosts/README.md", clone, fleet.cache, docker, port):
            secrets = yaml.safe_load((clone / "secrets.yaml").read_text())
            assert _token(port, secrets["admin-identity"]).startswith("gAAAA")  # Fernet's mark
            told = {name: json.loads(docker("inspect", name))[0] for name in ("mariadb", "memcached", "keystone")}
            for one in told.values():
                assert (one["HostConfig"]["ReadonlyRootfs"], one["HostConfig"]["CapDrop"]) == (True, ["ALL"])
            assert (clone / "secrets.yaml").stat().st_mode & 0o777 == 0o600
            assert (clone / "units/keystone.container").exists()
    finally:
        subprocess.run(
            ["docker-compose", "--file", clone / "rendered/compose.yaml", "down", "--volumes"],
            env={"DOCKER_HOST": docker.host, "PATH": "/usr/bin:/bin"}, check=False, capture_output=True,
        )  # fmt: skip


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def _token(port: int, password: str) -> str:
    user = {"name": "admin", "domain": {"id": "default"}, "password": password}
    asked = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}}}
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v3/auth/tokens", json.dumps(asked).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return str(answer.headers["X-Subject-Token"])


@pytest.mark.full
def test_ansible_runs_the_same_site(fleet: Fleet, docker: Docker, tmp_path: Path) -> None:
    ansible = tmp_path / "ansible"
    subprocess.run([sys.executable, "-m", "venv", str(ansible)], check=True)
    installed = [
        str(ansible / "bin/pip"),
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "ansible>=12,<13",
        "requests",
    ]
    subprocess.run(installed, check=True)
    clone = documents.checkout(tmp_path)
    site = clone / SITE
    site.write_text(site.read_text().replace("identity: 5000", f"identity: {_free_port()}"))
    playbook = clone / "examples/ansible/playbook.yaml"
    playbook.write_text(playbook.read_text().replace("/etc/imgbuild-site", str(tmp_path / "site")))
    # Which Python a host has is the host's; here it is the one that has `requests`.
    python = {"ANSIBLE_PYTHON_INTERPRETER": f"{ansible}/bin/python"}
    paths = {"PATH": f"{ansible}/bin:{clone}:{os.environ['PATH']}", **python}
    names = ("mariadb", "memcached", "keystone")
    with documents.followed("examples/ansible/README.md", clone, fleet.cache, docker, 0, paths) as output:
        assert "mariadb-install-db" in output or "OK" in output
        before = [docker("inspect", "--format", "{{.Id}} {{.HostConfig.ReadonlyRootfs}}", name) for name in names]
        assert all(" true" in one for one in before)
        again = subprocess.run(
            ["ansible-playbook", "--inventory", "localhost,", "--connection", "local", playbook],
            env={**os.environ, **paths, "DOCKER_HOST": docker.host}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert "changed=0" in again.stdout, again.stdout
        assert before == [
            docker("inspect", "--format", "{{.Id}} {{.HostConfig.ReadonlyRootfs}}", name) for name in names
        ]
