"""OpenStack's control plane on a real cluster: up by one command, then used by OpenStack's own command line."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.kit import browser
from tests.kit.fleet import Fleet
from tests.kit.guest import SAYS, made
from tests.kit.kubernetes.cluster import started, until
from tests.kit.kubernetes.deployed import Deployed, deployed
from tests.kit.project import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.full]
NOVA = ("nova-api", "nova-compute", "nova-conductor", "nova-metadata", "nova-novncproxy", "nova-scheduler")
AGENTS = {f"neutron-{name}-agent" for name in ("dhcp", "l3", "metadata", "openvswitch")}
MOST = 600
"""How many seconds a wave may take: the services of a wave start all at once, on one machine."""


@dataclass(frozen=True, slots=True)
class Cloud:
    """The site, and its command line in a pod of its own."""

    site: Deployed

    def kubectl(self, *words: str, told: str | bytes | None = None) -> str:
        """What kubectl says of its namespace."""
        return self.site.cluster.kubectl("-n", self.site.namespace, *words, told=told)

    def client(self) -> None:
        """Start a pod like that of the client's step, in which commands can be run."""
        step = "app.kubernetes.io/name=openstack-client-entries"
        (job,) = self.site.get("jobs", "-l", step)["items"]
        spec = job["spec"]["template"]["spec"]
        spec["containers"][0]["command"] = ["sleep", "infinity"]
        spec["restartPolicy"] = "Always"
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "client"}, "spec": spec}
        self.kubectl("apply", "-f", "-", told=json.dumps(pod))
        self.kubectl("wait", "--for=condition=Ready", "--timeout=60s", "pod/client")

    def inside(self, *words: str) -> str:
        """What a command says in that pod."""
        return self.kubectl("exec", "client", "--", *words)

    def give(self, file: Path) -> str:
        """Write a file into that pod, and say where it lies there."""
        there, data = f"/tmp/{file.name}", file.read_bytes()
        # Told how much comes, it does not end before it has all: the end of what is sent may overtake it.
        take = f"head --bytes={len(data)} > {there}"
        self.kubectl("exec", "--stdin", "client", "--", "sh", "-c", take, told=data)
        return there

    def openstack(self, *words: str) -> Any:
        """What the command line answers, as plain data."""
        return json.loads(self.inside("openstack", *words, "-f", "json"))


@pytest.fixture(scope="module")
def cloud(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """The example on a cluster of one node, with nothing but one apply."""
    folder = tmp_path_factory.mktemp("openstack")
    told = yaml.safe_load((ROOT / "examples/openstack/site.yaml").read_text())
    site = {key: told[key] for key in ("dsl", "site", "namespace", "components")}
    # The kernel need not have the module of Open vSwitch, nor the processor what runs virtual machines.
    site["values"] = {**told["values"], "datapath": "netdev", "virtualization": "qemu"}
    with started(folder) as cluster:
        found = Cloud(deployed(cluster, fleet, folder, site))
        found.site.works("apply", "--wait", "--timeout", str(MOST))
        found.client()
        yield found


def test_all_of_it_is_up(cloud: Cloud) -> None:
    rows = {row["name"]: row["state"] for row in cloud.site.works("status", "--json").json["rows"]}
    assert rows["openstack-client/entries"] == "done"
    assert {state for name, state in rows.items() if "/" in name} == {"done"}
    services = {name: state for name, state in rows.items() if "/" not in name}
    assert set(services.values()) == {"1 of 1 ready"}
    assert {"glance-api", "placement", "neutron-server", "cinder-api", "horizon", *NOVA} <= set(services)
    # The client is no service: only its step runs.
    assert "openstack-client" not in services


def test_no_secret_lies_where_others_read(cloud: Cloud) -> None:
    secrets = cloud.site.secrets
    readable = cloud.kubectl("get", "configmaps,deployments,statefulsets,jobs,pods,events", "-o", "json")
    assert secrets["identity-glance"]
    assert not [name for name, secret in secrets.items() if secret in readable]
    log = cloud.kubectl("logs", "-l", "app.kubernetes.io/name=openstack-client-entries", "--tail", "-1")
    assert "user glance\n" in log
    assert not [name for name, secret in secrets.items() if secret in log]


def test_entries_are_made_from_what_definitions_say(cloud: Cloud) -> None:
    catalogue = {(one["Type"], one["Name"]) for one in cloud.openstack("catalog", "list")}
    assert catalogue == {
        ("identity", "keystone"), ("image", "glance"), ("placement", "placement"), ("network", "neutron"),
        ("compute", "nova"), ("volumev3", "cinderv3"),
    }  # fmt: skip
    endpoints = {(one["Service Type"], one["Interface"]): one["URL"] for one in cloud.openstack("endpoint", "list")}
    assert endpoints["volumev3", "public"] == "http://cinder-api:8776/v3/%(project_id)s"
    assert {interface for _, interface in endpoints} == {"internal", "public"}
    assigned = cloud.openstack("role", "assignment", "list", "--names", "--project", "service")
    roles = {(one["User"].partition("@")[0], one["Role"]) for one in assigned}
    users = ("cinder", "glance", "neutron", "nova", "placement")
    assert roles == {(user, role) for user in users for role in ("admin", "service")}


def test_entries_made_again_change_nothing_and_mend_what_was_changed(cloud: Cloud) -> None:
    def again() -> list[str]:
        said = cloud.site.works("step", "openstack-client", "entries").output.splitlines()
        return [
            line for line in said if line.split(" ")[0] in ("project", "user", "role", "region", "service", "endpoint")
        ]

    assert again() == []
    (one,) = cloud.openstack("endpoint", "list", "--service", "image", "--interface", "public")
    cloud.inside("openstack", "endpoint", "set", "--url", "http://elsewhere", one["ID"])
    cloud.inside("openstack", "user", "set", "--password", "other", "glance")
    assert again() == ["user glance", "endpoint http://glance-api:9292"]


def test_an_image_comes_back_as_it_was(cloud: Cloud) -> None:
    cloud.inside("dd", "if=/dev/urandom", "of=/tmp/there", "bs=1M", "count=16", "status=none")
    words = ("--disk-format", "raw", "--container-format", "bare", "--file", "/tmp/there", "disk")
    assert cloud.openstack("image", "create", *words)["status"] in ("queued", "saving", "active")
    assert cloud.openstack("image", "show", "disk")["status"] == "active"
    cloud.inside("openstack", "image", "save", "--file", "/tmp/back", "disk")
    there, back = (line.split()[0] for line in cloud.inside("sha256sum", "/tmp/there", "/tmp/back").splitlines())
    assert there == back


def test_placement_counts(cloud: Cloud) -> None:
    assert "VCPU" in {one["name"] for one in cloud.openstack("resource", "class", "list")}


@pytest.fixture(scope="module")
def networked(cloud: Cloud) -> Cloud:
    """With all agents of its networks up: a port is bound by those that are known."""

    def up() -> bool:
        told = cloud.openstack("network", "agent", "list")
        return {one["Binary"] for one in told if one["Alive"] and one["State"]} == AGENTS

    until(up, 240)
    return cloud


def test_a_network_with_a_subnet(networked: Cloud) -> None:
    cloud = networked
    assert cloud.openstack("network", "create", "inner")["status"] == "ACTIVE"
    made = cloud.openstack("subnet", "create", "--network", "inner", "--subnet-range", "192.0.2.0/24", "inner")
    assert made["gateway_ip"] == "192.0.2.1"
    port = cloud.openstack("port", "create", "--network", "inner", "mine")
    assert port["fixed_ips"][0]["ip_address"].startswith("192.0.2.")
    until(lambda: _ports(cloud, "network:dhcp") == ["ACTIVE"], 240)


def test_a_router_is_made_on_its_host(networked: Cloud) -> None:
    cloud = networked
    router = cloud.openstack("router", "create", "outward")["id"]
    cloud.openstack("network", "create", "routed")
    cloud.openstack("subnet", "create", "--network", "routed", "--subnet-range", "198.51.100.0/24", "routed")
    cloud.inside("openstack", "router", "add", "subnet", "outward", "routed")
    name = f"qrouter-{router}"

    def there() -> bool:
        # The agents see each other's namespaces: they are the host's.
        ip = ("exec", "daemonset/neutron-dhcp-agent", "--", "ip")
        return name in cloud.kubectl(*ip, "netns") and "198.51.100.1/24" in cloud.kubectl(
            *ip, "netns", "exec", name, "ip", "address"
        )

    until(there, 240)
    until(lambda: _ports(cloud, "network:router_interface") == ["ACTIVE"], 120)


def test_the_switch_carries_packets_outside_the_kernel(networked: Cloud) -> None:
    words = ("ovs-vsctl", "--db=unix:/run/openvswitch/db.sock", "get", "bridge", "br-int", "datapath_type")
    assert networked.kubectl("exec", "daemonset/openvswitch-db-server", "--", *words).strip() == "netdev"


def test_a_host_that_starts_again_keeps_its_switch(networked: Cloud) -> None:
    cloud = networked

    def bridges() -> list[str]:
        words = ("ovs-vsctl", "--db=unix:/run/openvswitch/db.sock", "list-br")
        return cloud.kubectl("exec", "daemonset/openvswitch-db-server", "--", *words).split()

    before = bridges()
    cloud.kubectl("rollout", "restart", "daemonset/openvswitch-db-server")
    cloud.kubectl("rollout", "status", "daemonset/openvswitch-db-server", f"--timeout={MOST}s")
    assert bridges() == before
    assert {"br-int", "br-tun"} <= {*before}


def test_volumes_have_a_scheduler(cloud: Cloud) -> None:
    until(lambda: _up(cloud, "volume") >= {("cinder-scheduler", "up")}, 120)
    assert cloud.openstack("volume", "type", "create", "slow")["name"] == "slow"
    # Nobody is there who could make it; what is wanted is written down all the same.
    assert cloud.openstack("volume", "create", "--size", "1", "wanted")["size"] == 1


def test_computing_has_its_workers(cloud: Cloud) -> None:
    assert cloud.openstack("flavor", "create", "--vcpus", "1", "--ram", "64", "--disk", "1", "tiny")["ram"] == 64
    until(
        lambda: _up(cloud, "compute") >= {(f"nova-{name}", "up") for name in ("compute", "conductor", "scheduler")}, 120
    )


def test_a_guest_boots_and_its_console_can_be_read(cloud: Cloud, tmp_path: Path) -> None:
    guest = made(tmp_path)
    (tmp_path / "disk").write_bytes(bytes(2**20))
    images = {
        kind: cloud.openstack(
            "image", "create", "--disk-format", kind, "--container-format", "bare" if kind == "raw" else kind,
            "--file", cloud.give(file), f"guest-{kind}",
        )["id"]
        for kind, file in (("aki", guest.kernel), ("ari", guest.initramfs), ("raw", tmp_path / "disk"))
    }  # fmt: skip
    said = (f"kernel_id={images['aki']}", f"ramdisk_id={images['ari']}", "os_command_line=console=ttyS0")
    cloud.inside("openstack", "image", "set", *(word for one in said for word in ("--property", one)), "guest-raw")
    cloud.inside("openstack", "flavor", "create", "--vcpus", "1", "--ram", "256", "--disk", "1", "guest")
    # Its cell takes a new host in by itself, after a while.
    until(lambda: cloud.openstack("hypervisor", "list"), 180)
    new = ("--flavor", "guest", "--image", "guest-raw", "--nic", "none", "guest")
    cloud.inside("openstack", "--os-compute-api-version", "2.37", "server", "create", *new)

    def state() -> str:
        told = cloud.openstack("server", "show", "guest")
        assert told["status"] != "ERROR", told
        return str(told["status"])

    until(lambda: state() == "ACTIVE", 180)
    until(lambda: SAYS in cloud.inside("openstack", "console", "log", "show", "guest"), 180)
    cloud.inside("openstack", "server", "delete", "--wait", "guest")


def test_cells_that_are_there_are_left_alone(cloud: Cloud) -> None:
    def cells() -> list[str]:
        told = ("mariadb", "--batch", "--skip-column-names", "--execute")
        sql = "select name, uuid, transport_url, database_connection from nova_api.cell_mappings order by name"
        return cloud.kubectl("exec", "mariadb-0", "--", *told, sql).splitlines()

    before = cells()
    assert [line.split("\t")[0] for line in before] == ["cell0", "cell1"]
    cloud.site.works("step", "nova-api", "cell1")
    assert cells() == before
    # One that has moved is found again.
    sql = "update nova_api.cell_mappings set transport_url = 'rabbit://elsewhere' where name = 'cell1'"
    cloud.kubectl("exec", "mariadb-0", "--", "mariadb", "--execute", sql)
    cloud.site.works("step", "nova-api", "cell1")
    assert cells() == before


def test_the_dashboard_lets_its_user_in(cloud: Cloud) -> None:
    """Its pictures lie in $IMGBUILD_TEST_PICTURES; that of the guide was made so."""
    pictures = Path(os.environ.get("IMGBUILD_TEST_PICTURES") or cloud.site.folder)
    password = cloud.site.secrets["admin-identity"]
    with cloud.site.cluster.forwarded(cloud.site.namespace, "horizon", 8080) as url, browser.started() as chromium:
        page = chromium.new_page(viewport={"width": 800, "height": 600})
        wrong: list[str] = []
        page.on("response", lambda answer: wrong.append(answer.url) if answer.status >= 400 else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(f"{url}/auth/login/", wait_until="networkidle")
        assert "OpenStack Dashboard" in page.title()
        page.screenshot(path=pictures / "openstack-dashboard.png")
        page.locator("#id_username").fill("admin")
        page.locator("#id_password").fill(password)
        page.locator("#loginBtn").click()
        page.wait_for_url(lambda at: "/auth/login" not in at, timeout=120_000)
        page.screenshot(path=pictures / "openstack-inside.png")
        assert "admin" in page.locator("nav").first.inner_text()
        assert wrong == []


def _ports(cloud: Cloud, owner: str) -> list[str]:
    """How the ports of an owner are."""
    return [str(one["Status"]) for one in cloud.openstack("port", "list", "--device-owner", owner)]


def _up(cloud: Cloud, what: str) -> set[tuple[str, str]]:
    return {(one["Binary"], one["State"]) for one in cloud.openstack(what, "service", "list")}
