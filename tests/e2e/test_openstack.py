"""OpenStack's services beside keystone, nova and neutron, each with its steps, from our images: it answers, its workers work."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.kit import inside
from tests.kit.cloud import Cloud

pytestmark = pytest.mark.e2e


@dataclass(frozen=True, slots=True)
class Case:
    """A component of OpenStack in the tests' cloud.

    Attributes:
        kind: of the service in keystone's catalogue.
        url: of its endpoint.
        steps: (image, step), in their order.
        images: what each says in its log once it works; nothing where its health says so. The first stands for a host.
        works: asks it for what it is for.
        codes: of those that end otherwise than with 0 when they are asked to.
    """

    kind: str
    url: str
    steps: tuple[tuple[str, str], ...]
    images: dict[str, str]
    works: Callable[[Cloud], None]
    messages: bool = True
    codes: dict[str, int] = field(default_factory=dict)


def up(cloud: Cloud, image: str, seen: Callable[[], list[tuple[Any, Any]]], *names: str) -> None:
    """Wait until an API tells that workers are up."""
    wanted = {(name, "up") for name in names}
    cloud.running[image].until(f"sees {names}", lambda: {(a, b.lower()) for a, b in seen()} >= wanted, 120)


def glance(cloud: Cloud) -> None:
    """It keeps an image, before and after its schema is contracted."""
    made = cloud.ask(
        "glance-api", "image", "/v2/images", {"name": "a", "disk_format": "raw", "container_format": "bare"}
    )
    cloud.ask("glance-api", "image", f"/v2/images/{made['id']}/file", b"bytes", method="PUT")
    for _ in range(2):
        (kept,) = cloud.openstack("image", "list")
        assert (kept["Name"], kept["Status"]) == ("a", "active")
        # So far it has worked on what an old version could share; now on what is its alone.
        cloud.site.step(cloud.images["glance-api"], "db-contract", config=cloud.config("glance-api"))


def heat(cloud: Cloud) -> None:
    """An engine answers for its API."""
    path = f"/v1/{cloud.openstack('token', 'issue')['project_id']}/services"
    told = cloud.ask("heat-api", "orchestration", path)["services"]
    assert {(one["binary"], one["status"]) for one in told} == {("heat-engine", "up")}
    assert cloud.running["heat-api-cfn"].get("cloudformation")[0] == 300  # a choice of versions


def barbican(cloud: Cloud) -> None:
    """It keeps a secret."""
    told = {"name": "a", "payload": "word", "payload_content_type": "text/plain"}
    assert cloud.ask("barbican-api", "key-manager", "/v1/secrets", told)["secret_ref"].startswith("http")
    assert cloud.ask("barbican-api", "key-manager", "/v1/secrets")["total"] == 1


def cinder(cloud: Cloud) -> None:
    """Its workers are up, but for the one that asks for storage."""
    up(
        cloud, "cinder-api",
        lambda: [(one["Binary"], one["State"]) for one in cloud.openstack("volume", "service", "list")],
        "cinder-scheduler", "cinder-backup",
    )  # fmt: skip


def designate(cloud: Cloud) -> None:
    """Its workers are up."""
    path, headers = "/v2/service_statuses", {"X-Auth-All-Projects": "true"}
    up(
        cloud, "designate-api",
        lambda: [
            (one["service_name"], one["status"])
            for one in cloud.ask("designate-api", "dns", path, **headers)["service_statuses"]
        ],
        "central", "producer", "worker", "mdns",
    )  # fmt: skip


def manila(cloud: Cloud) -> None:
    """Its workers are up."""
    headers = {"X-OpenStack-Manila-API-Version": "2.7"}
    up(
        cloud, "manila-api",
        lambda: [
            (one["binary"], one["state"])
            for one in cloud.ask("manila-api", "shares", "/v2/services", **headers)["services"]
        ],
        "manila-scheduler", "manila-share", "manila-data",
    )  # fmt: skip


def octavia(cloud: Cloud) -> None:
    """It lists what it has, and who could make more."""
    assert cloud.ask("octavia-api", "load-balancer", "/v2/lbaas/loadbalancers")["loadbalancers"] == []
    told = cloud.ask("octavia-api", "load-balancer", "/v2/lbaas/providers")["providers"]
    assert "amphora" in [one["name"] for one in told]


def ironic(cloud: Cloud) -> None:
    """It lists its machines."""
    assert cloud.ask("ironic-api", "baremetal", "/v1/nodes")["nodes"] == []


def horizon(cloud: Cloud) -> None:
    """It shows the page to log in, with its style sheets."""
    status, page = cloud.running["horizon"].get("dashboard", "/auth/login/")
    assert (status, "OpenStack Dashboard" in page) == (200, True)
    sheets = re.findall(r'href="(/static/[^"]+\.css)"', page)
    assert sheets
    assert {cloud.running["horizon"].get("dashboard", sheet)[0] for sheet in sheets} == {200}


CASES = {
    "glance": Case(
        "image", "http://glance-api:9292", (("glance-api", "db-expand"), ("glance-api", "db-migrate")),
        {"glance-api": ""}, glance, messages=False,
    ),
    "heat": Case(
        "orchestration", "http://heat-api:8004/v1/%(project_id)s", (("heat-api", "db-sync"),),
        {"heat-api": "", "heat-api-cfn": "", "heat-engine": "Starting engine_worker"}, heat,
    ),
    "barbican": Case(
        "key-manager", "http://barbican-api:9311", (("barbican-api", "db-sync"),),
        {
            "barbican-api": "", "barbican-worker": "Starting the TaskServer",
            "barbican-keystone-listener": "transport for notifications",
        }, barbican,
    ),
    "cinder": Case(
        "volumev3", "http://cinder-api:8776/v3/%(project_id)s", (("cinder-api", "db-sync"),),
        {
            "cinder-api": "", "cinder-scheduler": "Starting cinder-scheduler node",
            "cinder-volume": "NFS mount failed for share nfs:/volumes", "cinder-backup": "Starting cinder-backup node",
        }, cinder,
    ),
    "designate": Case(
        "dns", "http://designate-api:9001", (("designate-api", "db-sync"),),
        {
            "designate-api": "", "designate-central": "Starting central service", "designate-worker": "Started worker",
            "designate-producer": "Starting producer service", "designate-mdns": "",
        }, designate,
    ),
    "manila": Case(
        "sharev2", "http://manila-api:8786/v2", (("manila-api", "db-sync"),),
        {
            "manila-api": "", "manila-scheduler": "Starting manila-scheduler node",
            "manila-share": "Finished initialization of driver", "manila-data": "Starting manila-data node",
        }, manila,
        codes={"manila-share": 1},  # its first process looks for itself in the database, where only the second one is
    ),
    "octavia": Case(
        "load-balancer", "http://octavia-api:9876", (("octavia-api", "db-sync"),),
        {
            "octavia-api": "", "octavia-worker": "Starting V2 consumer", "octavia-housekeeping": "Starting house keeping",
            "octavia-health-manager": "attempting to listen on 0.0.0.0 port 5555",
        }, octavia,
    ),
    "ironic": Case(
        "baremetal", "http://ironic-api:6385", (("ironic-api", "db-sync"),),
        {"ironic-api": "", "ironic-conductor": "Successfully started conductor"}, ironic,
        codes={"ironic-conductor": 137},  # it says that it has stopped, and hangs then
    ),
    "horizon": Case("dashboard", "", (), {"horizon": ""}, horizon, messages=False),
}  # fmt: skip


@pytest.mark.sampled
@pytest.mark.parametrize("name", CASES)
def test_it_works(name: str, cloud: Cloud) -> None:
    case = CASES[name]
    cloud.images |= cloud.fleet.load(cloud.site.engine, name)
    if case.url:
        cloud.join(name, case.kind, case.url, messages=case.messages)
    for image, step in case.steps:
        cloud.site.step(cloud.images[image], step, config=cloud.config(image))
    first, *others = case.images
    started = [cloud.start(first, config=cloud.config(first))]
    started += [cloud.start(image, config=cloud.config(image), host=started[0]) for image in others]
    for running in started:
        if running.declared.run.get("health"):
            running.healthy(180)
        if case.images[running.name]:
            running.says(case.images[running.name], 120)
    case.works(cloud)
    for running in started:
        inside.check_confinement(running)
    # What shares the first one's network ends before it.
    ended = cloud.site.stop(*started[1:]) if others else {}
    assert ended | cloud.site.stop(started[0]) == dict.fromkeys(case.images, 0) | case.codes
    for running in started:
        inside.check_contents(cloud.site.engine, running.declared.reference, running.declared.config["Cmd"][0])
