"""mariadb, rabbitmq and keystone from our images on a real docker: schema by a step, then a token."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.kit.engines import Docker
from tests.kit.project import imgbuild

pytestmark = pytest.mark.e2e
IDENTITY = "http://127.0.0.1:25000/v3"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory, docker: Docker) -> dict[str, str]:
    """The images, loaded: name → reference."""
    words = ("build", "mariadb", "rabbitmq", "keystone", "--to", "docker:", "--json")
    result = imgbuild(*words, cache=tmp_path_factory.mktemp("cache"), env={"DOCKER_HOST": docker.host})
    assert result.code == 0, result.errors + result.output
    return {one["image"]: f"{one['image']}:{one['tag']}" for one in json.loads(result.output)["images"]}


def mounts(volumes: dict[str, str], *writable: str) -> tuple[str, ...]:
    """Options for a read-only root with the declared folders."""
    words = ["--read-only", "--cap-drop=ALL"]
    for volume, path in volumes.items():
        words += ["--volume", f"{volume}:{path}"]
    for path in writable:
        words += ["--tmpfs", path]
    return tuple(words)


MARIADB = mounts({"db": "/var/lib/mysql"}, "/tmp", "/run/mysqld:uid=42434,gid=42434")


@pytest.fixture(scope="module")
def database(docker: Docker, images: dict[str, str]) -> str:
    """The address of a database with keystone's schema-to-be."""
    docker(
        "run",
        "--rm",
        *MARIADB,
        images["mariadb"],
        "mariadb-install-db",
        "--user=mysql",
        "--datadir=/var/lib/mysql",
        "--skip-test-db",
    )
    name = docker.start(images["mariadb"], *MARIADB)
    assert docker.waits_for(name, lambda: docker("exec", name, "mariadb-admin", "ping", check=False, code=True) == "0")
    grant = "create database k; create user 'k'@'%' identified by 'pw'; grant all on k.* to 'k'@'%'"
    docker("exec", name, "mariadb", "-e", grant)
    return docker("inspect", name, "--format", "{{.NetworkSettings.IPAddress}}").strip()


def test_a_token_is_issued(docker: Docker, images: dict[str, str], database: str) -> None:
    options = (
        *mounts({"fernet": "/etc/keystone/fernet-keys", "credential": "/etc/keystone/credential-keys"},
                "/tmp", "/var/lib/keystone:uid=42425,gid=42425", "/var/log/keystone:uid=42425,gid=42425"),
        "--env", f"OS_DATABASE__CONNECTION=mysql+pymysql://k:pw@{database}/k",
        "--env", "OS_DEFAULT__USE_STDERR=true",
    )  # fmt: skip
    for step in (
        ("db_sync",),
        ("fernet_setup", "--keystone-user=keystone", "--keystone-group=keystone"),
        ("bootstrap", "--bootstrap-password=secret", f"--bootstrap-public-url={IDENTITY}"),
    ):
        docker("run", "--rm", *options, images["keystone"], "keystone-manage", *step)
    name = docker.start(images["keystone"], *options, "--publish", "127.0.0.1:25000:5000")
    scope = {"project": {"name": "admin", "domain": {"id": "default"}}}
    user = {"name": "admin", "domain": {"id": "default"}, "password": "secret"}
    asked = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": scope}}
    request = urllib.request.Request(
        f"{IDENTITY}/auth/tokens", json.dumps(asked).encode(), {"Content-Type": "application/json"}
    )
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                token, body = answer.headers["X-Subject-Token"], json.load(answer)
            break
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            assert time.monotonic() < deadline, docker("logs", name)
            time.sleep(0.5)
    assert token
    assert body["token"]["user"]["name"] == "admin"
    assert docker("exec", name, "id", "-u").strip() == "42425"


def test_rabbitmq_starts(docker: Docker, images: dict[str, str]) -> None:
    options = mounts({"queues": "/var/lib/rabbitmq"}, "/tmp", "/var/log/rabbitmq:uid=42439,gid=42439")
    name = docker.start(images["rabbitmq"], *options, "--hostname=broker")
    assert docker.waits_for(name, lambda: "Server startup complete" in docker("logs", name), 60)


def test_keystone_and_nova_share_openstack(tmp_path: Path) -> None:
    """By their plans, from the locks that ship."""
    layers: dict[str, dict[str, set[str]]] = {}
    for target in ("keystone/keystone", "nova/nova-api", "nova/nova-conductor"):
        result = imgbuild("plan", target, "--json", cache=tmp_path)
        assert result.code == 0, result.errors
        (image,) = json.loads(result.output)["images"]
        found = layers.setdefault(image["image"], {})
        for layer in image["layers"]:
            found.setdefault(layer["definition"], set()).add(layer["cache_key"])
    for shared in ("debian-13", "python-13", "openstack"):
        assert layers["keystone"][shared] == layers["nova-api"][shared]
    assert layers["nova-api"]["nova-base"] == layers["nova-conductor"]["nova-base"]
