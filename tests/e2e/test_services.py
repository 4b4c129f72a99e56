"""Each image that needs no other starts as its user by what it declares, does its work, and ends when asked."""

from __future__ import annotations

import socket
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.kit import inside
from tests.kit.engines import Docker, Engine, Podman
from tests.kit.fleet import Fleet
from tests.kit.running import Running, Site

pytestmark = pytest.mark.e2e


def memcached(running: Running) -> None:
    """It keeps a value."""
    with socket.create_connection(running.address("cache"), 5) as connection:
        connection.sendall(b"set a 0 0 3\r\nxyz\r\nget a\r\n")
        answer = b""
        while b"END" not in answer:
            answer += connection.recv(100)
    assert answer == b"STORED\r\nVALUE a 0 3\r\nxyz\r\nEND\r\n"


def rabbitmq(running: Running) -> None:
    """It begins to speak AMQP (0-9-1, 4.2.2)."""
    with socket.create_connection(running.address("messages"), 5) as connection:
        connection.sendall(b"AMQP\x00\x00\x09\x01")
        assert connection.recv(100)[:3] == b"\x01\x00\x00"


def mariadb(running: Running) -> None:
    """It answers a query."""
    assert "MariaDB" in running.exec("mariadb", "--execute", "select version()")


def postgresql(running: Running) -> None:
    """It answers a query."""
    told = running.exec("psql", "--host=/run/postgresql", "--command", "select version()")
    assert "PostgreSQL 17." in told


def greeter(running: Running) -> None:
    """It greets."""
    assert running.get("http") == (200, "Hello\n")


def web(running: Running) -> None:
    """It serves its page, and says so."""
    status, page = running.get("http")
    assert (status, "<!doctype html>" in page) == (200, True)
    assert '"GET / HTTP/1.1" 200' in running.logs()


def notes(running: Running) -> None:
    """It keeps a note on its volume, and shows it."""
    status, page = running.get("http")
    assert (status, "<title>Notes</title>" in page) == (200, True)
    host, port = running.address("http")
    with urllib.request.urlopen(f"http://{host}:{port}/", b"note=kept", timeout=10) as answer:
        assert "<li>kept</li>" in answer.read().decode()
    assert running.exec("/opt/notes/bin/python", "-c", BYTE_CODE).split() == ["/opt/notes", "[]"]


BYTE_CODE = """
import importlib.util, pathlib, struct, sys
stale = []
for source in pathlib.Path("/opt/notes/lib").rglob("*.py"):
    code = pathlib.Path(importlib.util.cache_from_source(str(source)))
    found = source.stat()
    if code.read_bytes()[:16] != importlib.util.MAGIC_NUMBER + struct.pack("<III", 0, int(found.st_mtime), found.st_size):
        stale.append(source)
print(sys.prefix, stale)
"""
"""Which modules of the environment have byte code that its interpreter would not use."""


def acme(running: Running) -> None:
    """It serves the site's page, under the site's tag, within the site's limit."""
    assert "Served by acme." in running.get("http")[1]
    assert "-acme-" in running.declared.reference
    assert running.declared.run["limits"] == {"memory": "256Mi"}
    assert running.site.engine("inspect", running.container, "--format", "{{.HostConfig.Memory}}").strip() == str(
        256 * 1024**2
    )


@dataclass(frozen=True, slots=True)
class Case:
    """An image and how it shows that it works.

    Attributes:
        where: its workspace.
        says: what its log holds, on stdout or stderr, once it works.
        writes: a command in it that makes something with the name ``kept``.
        reads: a command that names it, in the next container with the same volume.
    """

    image: str
    where: str
    works: Callable[[Running], None]
    says: str
    writes: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()


SQL = ("mariadb", "--execute")
PSQL = ("psql", "--host=/run/postgresql", "--command")
CASES = {
    "memcached": Case("memcached", ".", memcached, ""),
    "rabbitmq": Case(
        "rabbitmq", ".", rabbitmq, "Server startup complete",
        ("rabbitmqctl", "add_vhost", "kept"), ("rabbitmqctl", "list_vhosts"),
    ),
    "mariadb": Case(
        "mariadb", ".", mariadb, "ready for connections", (*SQL, "create database kept"), (*SQL, "show databases")
    ),
    "web": Case("web", "examples/web", web, "GET / HTTP/1.1"),
    "acme": Case("web", "examples/site-overlay", acme, "GET / HTTP/1.1"),
    "postgresql": Case(
        "postgresql", "examples/database", postgresql, "ready to accept connections",
        (*PSQL, "create database kept"), (*PSQL, "select datname from pg_database"),
    ),
    "notes": Case("notes", "examples/application", notes, "GET / HTTP/1.1"),
    "greeter": Case("greeter", "examples/own-program", greeter, "GET / HTTP/1.1"),
}  # fmt: skip


@pytest.mark.parametrize(
    "name", ["memcached", *(pytest.param(x, marks=pytest.mark.sampled) for x in CASES if x != "memcached")]
)
def test_it_works_under_docker(name: str, fleet: Fleet, docker: Docker, sites: Callable[[Engine], Site]) -> None:
    works(CASES[name], fleet, sites(docker))


@pytest.mark.sampled
@pytest.mark.parametrize("name", ["web", "postgresql", "greeter", "memcached"])
def test_it_works_under_podman(name: str, fleet: Fleet, podman: Podman, sites: Callable[[Engine], Site]) -> None:
    works(CASES[name], fleet, sites(podman))


def works(case: Case, fleet: Fleet, site: Site) -> None:
    """The life of a service, from an empty volume to its end."""
    reference = fleet.load(site.engine, case.image, where=case.where)[case.image]
    declared = site.declared(reference)
    if "init" in declared.steps:
        site.step(reference, "init")
    running = site.start(reference, case.image)
    running.healthy()
    case.works(running)
    running.says(case.says)
    if case.writes:
        running.exec(*case.writes)
    inside.check_confinement(running)
    assert running.stop() == 0
    inside.check_contents(site.engine, reference, declared.config["Cmd"][0])
    if case.writes:
        # What the volume keeps serves the next container, whatever its name.
        again = site.start(reference, case.image, hostname="another")
        again.healthy()
        assert "kept" in again.exec(*case.reads)
