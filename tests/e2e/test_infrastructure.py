"""What an OpenStack stands on beside its database, messages and cache: each starts by what it declares and answers."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.kit import inside
from tests.kit.engines import Docker, Engine
from tests.kit.fleet import Fleet
from tests.kit.rendering import password, rendered
from tests.kit.running import Running, Site

pytestmark = pytest.mark.e2e


def asks(running: Running, port: str, words: bytes, end: bytes) -> bytes:
    """What is answered over TCP, up to an end."""
    with socket.create_connection(running.address(port), 10) as connection:
        connection.sendall(words)
        said = b""
        while end not in said and (piece := connection.recv(1000)):
            said += piece
    return said


def valkey(running: Running) -> None:
    """It keeps a value for who knows the password."""
    words = f"AUTH {password('valkey')}\r\nSET a xyz\r\nGET a\r\n".encode()
    assert asks(running, "key-value", words, b"xyz") == b"+OK\r\n+OK\r\n$3\r\nxyz\r\n"
    assert asks(running, "key-value", b"GET a\r\n", b"\n").startswith(b"-NOAUTH")


def etcd(running: Running) -> None:
    """It keeps a value."""
    running.exec("etcdctl", "put", "a", "xyz")
    assert running.exec("etcdctl", "get", "a").split() == ["a", "xyz"]


def haproxy(running: Running) -> None:
    """It shows its figures."""
    assert "Statistics Report" in running.get("stats")[1]


def prometheus(running: Running) -> None:
    """It answers a query."""
    assert running.get("metrics", "/api/v1/query?query=up")[0] == 200


def mysqld_exporter(running: Running) -> None:
    """It tells that the database is not there."""
    assert "mysql_up 0" in running.get("metrics", "/metrics")[1]


def rsyslog(running: Running) -> None:
    """What it is told lies in the file of the host that says it."""
    with socket.create_connection(running.address("syslog"), 10) as connection:
        connection.sendall(b"<14>Nov 26 01:00:00 elsewhere app: heard\n")
    running.says("heard")
    running.until("is kept", lambda: "heard" in running.exec("cat", "/var/log/collected/elsewhere.log", check=False))


def apache2(running: Running) -> None:
    """It serves a page."""
    assert running.get("http")[0] == 200


def database(name: str) -> Callable[[Running], None]:
    """An ovsdb-server that tells its schema (RFC 7047, 4.1.1)."""

    def works(running: Running) -> None:
        port = next(iter(running.declared.ports))
        said = asks(running, port, b'{"id":0,"method":"list_dbs","params":[]}', name.encode())
        assert name.encode() in said

    return works


def switch(running: Running) -> None:
    """It keeps a bridge."""
    running.exec("ovs-vsctl", "--db=unix:/run/openvswitch/db.sock", "--no-wait", "add-br", "a")
    assert running.exec("ovs-vsctl", "--db=unix:/run/openvswitch/db.sock", "list-br").split() == ["a"]


def nothing(running: Running) -> None:
    """Its health says all."""


@dataclass(frozen=True, slots=True)
class Case:
    """An image that is a component of its own.

    Attributes:
        says: what its log holds.
        code: with which it ends when it is asked to.
    """

    component: str
    works: Callable[[Running], None] = nothing
    says: str = ""
    code: int = 0


CASES = {
    "valkey": Case("valkey", valkey, "Ready to accept connections"),
    "etcd": Case("etcd", etcd),
    "haproxy": Case("haproxy", haproxy),
    "prometheus": Case("prometheus", prometheus, "Server is ready"),
    "prometheus-mysqld-exporter": Case("prometheus-mysqld-exporter", mysqld_exporter, code=2),
    "rsyslog": Case("rsyslog", rsyslog),
    "apache2": Case("apache2", apache2),
    "dnsmasq": Case("dnsmasq", says="started, version"),
    "ovn-nb-db-server": Case("ovn", database("OVN_Northbound"), code=143),
    "ovn-sb-db-server": Case("ovn", database("OVN_Southbound"), code=143),
    "openvswitch-db-server": Case("openvswitch", switch, code=143),
}


@pytest.mark.full
@pytest.mark.parametrize("name", CASES)
def test_it_works(name: str, fleet: Fleet, docker: Docker, sites: Callable[[Engine], Site]) -> None:
    case = CASES[name]
    site = sites(docker)
    reference = fleet.load(docker, f"{case.component}/{name}")[name]
    declared = site.declared(reference)
    templates = fleet.site / "repos" / case.component / "templates"
    config = {
        path: rendered(templates / f"{Path(path).name}.j2")
        for path, told in declared.files.items()
        if not told.get("optional")
    }
    if "init" in declared.steps:
        site.step(reference, "init", config=config)
    running = site.start(reference, name, config=config)
    running.healthy()
    case.works(running)
    if case.says:
        running.says(case.says)
    inside.check_confinement(running)
    assert running.stop() == case.code
    inside.check_contents(docker, reference, declared.config["Cmd"][0])
