"""Neutron with its agents on a host with Open vSwitch, from our images: what the API is told, the agents set up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from tests.kit import inside, switch
from tests.kit.cloud import ADMIN, Cloud
from tests.kit.running import Running

pytestmark = pytest.mark.e2e
SERVERS = ("neutron-server", "neutron-rpc-server", "neutron-periodic-workers")
AGENTS = ("neutron-openvswitch-agent", "neutron-dhcp-agent", "neutron-l3-agent", "neutron-metadata-agent")
ASKED = """\
from urllib.error import HTTPError
from urllib.request import urlopen
try:
    urlopen("http://169.254.169.254/", timeout=20)
except HTTPError as error:
    print(error.code)
"""


@pytest.fixture(scope="module")
def neutron(cloud: Cloud) -> Iterator[Mapping[str, Running]]:
    """Its services and agents, with a network that has a router, and one that has none."""
    cloud.images |= cloud.fleet.load(cloud.site.engine, "neutron", "openvswitch")
    cloud.join("neutron", "network", "http://neutron-server:9696")
    cloud.site.step(cloud.images["neutron-server"], "db-sync", config=cloud.config("neutron-server"))
    started = [cloud.start(name, config=cloud.config(name)) for name in SERVERS]
    cloud.running |= switch.start(cloud.site, cloud.images)
    host = cloud.running["openvswitch-db-server"]
    env = {"OS_OVS__LOCAL_IP": "127.0.0.1"}
    for name in AGENTS:
        started.append(cloud.start(name, config=cloud.config(name), host=host, env=env))
    cloud.running["neutron-server"].healthy(180)

    def alive() -> bool:
        told = cloud.openstack("network", "agent", "list")
        return {one["Binary"] for one in told if one["Alive"]} >= set(AGENTS)

    # A port is bound by the agents that are known.
    cloud.running["neutron-rpc-server"].until("hears its agents", alive, 180)
    for name, number in (("a", 9), ("b", 8)):
        cloud.openstack("network", "create", name)
        cloud.openstack("subnet", "create", f"--network={name}", f"--subnet-range=10.{number}.0.0/24", name)
    cloud.openstack("router", "create", "a")
    cloud.site.run(cloud.images["openstack-client"], "openstack", "router", "add", "subnet", "a", "a", env=ADMIN)
    yield {one.name: one for one in started}
    cloud.site.stop(*started)


@pytest.mark.sampled
def test_a_router_is_a_namespace_of_the_host(neutron: Mapping[str, Running], cloud: Cloud) -> None:
    """Made by root with named capabilities alone: what a package calls sudo by makes nobody root."""
    agent = neutron["neutron-l3-agent"]
    (router,) = cloud.openstack("router", "list")
    name = f"qrouter-{router['ID']}"

    def there() -> bool:
        # The agents share the namespaces of their host.
        seen = neutron["neutron-dhcp-agent"].exec("ip", "netns")
        return name in seen and "10.9.0.1/24" in agent.exec("ip", "netns", "exec", name, "ip", "address")

    agent.until("makes its namespace", there, 180)
    agent.until("masks addresses", lambda: "9697" in agent.exec("ip", "netns", "exec", name, "iptables-save"))
    assert "privsep process running with uid/gid: 0/0" in agent.logs()
    assert "sudo" not in agent.logs()
    assert agent.exec("stat", "--format=%a", "/usr/bin/sudo").strip() == "755"


@pytest.mark.sampled
def test_metadata_is_asked_for_through_the_agents(neutron: Mapping[str, Running], cloud: Cloud) -> None:
    """By the DHCP agent's proxy in a network without a router; the metadata agent knows no machine of that address."""
    agent = neutron["neutron-dhcp-agent"]
    (network,) = [one["ID"] for one in cloud.openstack("network", "list") if one["Name"] == "b"]
    asked = ("ip", "netns", "exec", f"qdhcp-{network}", "python3", "-c", ASKED)
    agent.until("asks", lambda: agent.exec(*asked, check=False).strip() == "404", 180)
    assert "dnsmasq" in agent.exec(
        "ip", "netns", "exec", f"qdhcp-{network}", "ss", "--listening", "--udp", "--processes"
    )


@pytest.mark.full
def test_each_service_has_what_it_declares_and_no_more(neutron: Mapping[str, Running]) -> None:
    for running in neutron.values():
        inside.check_confinement(running)


@pytest.mark.full
@pytest.mark.parametrize("name", [*SERVERS, *AGENTS])
def test_each_image_holds_its_packages_alone(name: str, neutron: Mapping[str, Running], cloud: Cloud) -> None:
    inside.check_contents(cloud.site.engine, cloud.images[name], neutron[name].declared.config["Cmd"][0])


@pytest.mark.full
def test_services_end_when_asked(neutron: Mapping[str, Running], cloud: Cloud) -> None:
    ended = cloud.site.stop(*neutron.values())
    # It has no word of its own for the signal.
    assert ended.pop("neutron-metadata-agent") == 143
    assert set(ended.values()) == {0}
