"""What an OpenStack stands on beside its database, messages and cache: each starts by what it declares and answers."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from builder.declared import Declared
from tests.kit import inside, switch
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


def kept(running: Running) -> None:
    """It keeps a bridge."""
    switch.tell(running, "--no-wait", "add-br", "a")
    assert switch.tell(running, "list-br").split() == ["a"]


def chrony(running: Running) -> None:
    """It has the time, from where the site says."""
    assert "Stratum         : 10" in running.exec("chronyc", "-n", "tracking")


def keepalived(running: Running) -> None:
    """Alone with its address, it takes it."""
    running.says("Entering MASTER STATE")
    running.until("has the address", lambda: "192.0.2.7" in running.exec("cat", "/proc/net/fib_trie"))


def node_exporter(running: Running) -> None:
    """It tells of the host's network."""
    assert 'node_network_info{address="' in running.get("metrics", "/metrics")[1]


def libvirt(running: Running) -> None:
    """It would run virtual machines by QEMU."""
    assert "Running hypervisor: QEMU" in running.exec("virsh", "--connect=qemu:///system", "version")


def nothing(running: Running) -> None:
    """Its health says all."""


@dataclass(frozen=True, slots=True)
class Case:
    """An image that is a component of its own.

    Attributes:
        says: what its log holds.
        code: with which it ends when it is asked to.
        config: what the site says in place of the template.
        becomes: the user that it makes itself.
    """

    component: str
    works: Callable[[Running], None] = nothing
    says: str = ""
    code: int = 0
    config: tuple[tuple[str, str], ...] = ()
    becomes: str = ""


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
    "openvswitch-db-server": Case("openvswitch", kept, code=143),
    # No clock of another network is asked, and none is set.
    "chrony": Case(
        "chrony", chrony, config=(("/etc/chrony/chrony.conf", "local stratum 10\n"),), becomes="42493:42493"
    ),
    "keepalived": Case("keepalived", keepalived),
    "prometheus-node-exporter": Case("prometheus-node-exporter", node_exporter, code=143),
    "libvirt": Case("libvirt", libvirt),
}
OF_THE_KERNEL = {
    "iscsid": r"can not create NETLINK_ISCSI socket|iSCSI daemon with pid",
    "multipathd": r"cannot get kernel dm version|path checkers start up",
}
"""What asks for a part of the kernel that a machine of tests need not have: what it says of it."""


def configured(fleet: Fleet, declared: Declared, component: str) -> dict[str, str]:
    """What an image must be told, from the templates of its component."""
    templates = fleet.site / "repos" / component / "templates"
    return {
        path: rendered(templates / f"{Path(path).name}.j2")
        for path, told in declared.files.items()
        if not told.get("optional")
    }


@pytest.mark.full
@pytest.mark.parametrize("name", CASES)
def test_it_works(name: str, fleet: Fleet, docker: Docker, sites: Callable[[Engine], Site]) -> None:
    case = CASES[name]
    site = sites(docker)
    reference = fleet.load(docker, f"{case.component}/{name}")[name]
    declared = site.declared(reference)
    config = configured(fleet, declared, case.component) | dict(case.config)
    if "init" in declared.steps:
        # What is there is left alone.
        for _ in range(2):
            site.step(reference, "init", config=config)
    shares = bool(declared.run.get("platform", {}).get("host"))
    running = site.start(reference, name, config=config, host=site.host(reference) if shares else None)
    if "health" in declared.run:
        running.healthy()
    case.works(running)
    if case.says:
        running.says(case.says)
    inside.check_confinement(running, case.becomes)
    assert running.stop() == case.code
    inside.check_contents(docker, reference, declared.config["Cmd"][0])


@pytest.mark.full
@pytest.mark.parametrize("name", OF_THE_KERNEL)
def test_it_reaches_the_kernel(name: str, fleet: Fleet, docker: Docker, sites: Callable[[Engine], Site]) -> None:
    site = sites(docker)
    reference = fleet.load(docker, name)[name]
    declared = site.declared(reference)
    running = site.start(reference, name, config=configured(fleet, declared, name), host=site.host(reference))
    docker.waits_for(running.container, lambda: bool(re.search(OF_THE_KERNEL[name], running.logs())))
    inside.check_contents(docker, reference, declared.config["Cmd"][0])


@pytest.mark.full
def test_ovn_makes_a_network(fleet: Fleet, docker: Docker, sites: Callable[[Engine], Site]) -> None:
    """What one database wishes becomes, by the other, a port of a host's switch; neutron's agent finds its place in it."""
    site = sites(docker)
    images = fleet.load(docker, "openvswitch", "ovn", "neutron/neutron-ovn-metadata-agent")
    databases = []
    for name in ("ovn-nb-db-server", "ovn-sb-db-server"):
        site.step(images[name], "init")
        databases.append(site.start(images[name], name))
    wishes, orders = databases
    host, vswitchd = switch.start(site, images).values()
    told = {
        "remote": "tcp:ovn-sb-db-server:6642",
        "encap-type": "geneve",
        "encap-ip": host.ip,
        "bridge-datapath-type": "netdev",
    }
    external = [f"external_ids:ovn-{key}={value}" for key, value in told.items()]
    switch.tell(host, "set", "open_vswitch", ".", "external_ids:system-id=one", *external)
    translator = site.start(images["ovn-northd"], "ovn-northd")
    controller = site.start(images["ovn-controller"], "ovn-controller", host=host)
    wish = ("ovn-nbctl", "--db=unix:/run/ovn/ovnnb_db.sock")
    wishes.healthy()
    wishes.exec(*wish, "ls-add", "a", "--", "lsp-add", "a", "a1")
    controller.until("has its bridge", lambda: "br-int" in switch.tell(host, "list-br"))
    port = ("--", "set", "interface", "a1", "type=internal", "external_ids:iface-id=a1")
    switch.tell(host, "add-port", "br-int", "a1", *port)
    translator.until(
        "has the port", lambda: wishes.exec(*wish, "get", "logical_switch_port", "a1", "up").strip() == "true"
    )

    declared = site.declared(images["neutron-ovn-metadata-agent"])
    config = configured(fleet, declared, "neutron")
    agent = site.start(declared.reference, "neutron-ovn-metadata-agent", config=config, host=host)
    place = ("ovn-sbctl", "--db=unix:/run/ovn/ovnsb_db.sock", "list", "chassis_private")
    agent.until("finds its place", lambda: "neutron:ovn-metadata-id" in orders.exec(*place), 120)
    started = (vswitchd, translator, controller, agent)
    for running in started:
        inside.check_confinement(running)
    # Each has a reaper, which tells by which signal it ended.
    assert set(site.stop(*started).values()) == {143}
    for running in started:
        inside.check_contents(docker, running.declared.reference, running.declared.config["Cmd"][0])
