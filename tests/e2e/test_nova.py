"""Nova's six services with what they need, from our images: steps, then each does what it is for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.kit import inside
from tests.kit.cloud import REGION, Cloud
from tests.kit.project import imgbuild
from tests.kit.running import Running

pytestmark = pytest.mark.e2e
NETWORKED = ("nova-api", "nova-metadata", "nova-conductor", "nova-scheduler", "nova-novncproxy")
SERVICES_OF_NOVA = (*NETWORKED, "nova-compute")


@pytest.fixture(scope="module")
def nova(cloud: Cloud) -> Mapping[str, Running]:
    """Nova and placement, with schema, cells and accounts."""
    cloud.images |= cloud.fleet.load(cloud.site.engine, "nova")
    cloud.images |= cloud.fleet.load(cloud.site.engine, "placement")
    cloud.database("placement", "nova_api")
    cloud.database("nova", "nova_cell0", user="nova")
    for name, kind, address in (
        ("nova", "compute", "http://nova-api:8774/v2.1"),
        ("placement", "placement", "http://placement:8778"),
    ):
        cloud.user(name, "service")
        cloud.openstack("service", "create", "--name", name, kind)
        cloud.openstack("endpoint", "create", "--region", REGION, kind, "public", address)
    cloud.site.step(cloud.images["placement"], "db-sync", config=cloud.config("placement"))
    cloud.start("placement", config=cloud.config("placement"))
    beside = ["--volume", f"{cloud.fleet.site}/repos/nova/templates/cell1.py:/etc/nova/cell1.py:ro"]
    # The last one again: a cell that is there is left alone.
    for step in ("api-db-sync", "cell0", "db-sync", "cell1", "cell1"):
        cloud.site.step(cloud.images["nova-api"], step, config=cloud.config("nova-api"), options=beside)
    assert cloud.query("select name from nova_api.cell_mappings order by name") == ["cell0", "cell1"]
    for name in NETWORKED:
        cloud.start(name, config=cloud.config(name))
    # It shares the host's network, which knows no names of the site.
    hosts = [f"--add-host={name}:{cloud.running[name].ip}" for name in ("mariadb", "rabbitmq", "keystone", "placement")]
    cloud.start("nova-compute", config=cloud.config("nova-compute"), options=hosts)
    return {name: cloud.running[name] for name in SERVICES_OF_NOVA}


@pytest.mark.full
def test_the_api_tells_its_versions(nova: Mapping[str, Running]) -> None:
    nova["nova-api"].healthy(180)
    status, text = nova["nova-api"].get("compute")
    assert (status, [one["id"] for one in json.loads(text)["versions"]]) == (200, ["v2.0", "v2.1"])


@pytest.mark.full
def test_metadata_is_served(nova: Mapping[str, Running]) -> None:
    nova["nova-metadata"].healthy(180)
    status, text = nova["nova-metadata"].get("metadata")
    assert (status, "latest" in text.splitlines()) == (200, True)


@pytest.mark.full
def test_workers_register_and_stay(nova: Mapping[str, Running], cloud: Cloud) -> None:
    for name in ("nova-conductor", "nova-scheduler"):
        nova[name].says(f"Starting {name.removeprefix('nova-')} node", 120)
    wanted = {("nova-conductor", "up"), ("nova-scheduler", "up")}

    def up() -> bool:
        told = cloud.openstack("compute", "service", "list")
        return {(one["Binary"], one["State"]) for one in told} >= wanted

    nova["nova-conductor"].until("is up", up, 120)
    assert all(nova[name].state()["Running"] for name in ("nova-conductor", "nova-scheduler"))


@pytest.mark.full
def test_the_console_serves_its_page(nova: Mapping[str, Running]) -> None:
    nova["nova-novncproxy"].healthy()
    status, page = nova["nova-novncproxy"].get("console", "/vnc.html")
    assert (status, "noVNC" in page) == (200, True)


@pytest.mark.full
def test_compute_asks_for_libvirt(nova: Mapping[str, Running]) -> None:
    nova["nova-compute"].says(r"libvirt-sock': No such file or directory", 120)


PRIVILEGED = """\
from nova import config
config.parse_args(["nova-compute", "--config-file=/etc/nova/nova.conf"])
import nova.privsep
from nova.privsep import path
path.makedirs("/tmp/made")
import os
print(os.stat("/tmp/made").st_uid)
"""


@pytest.mark.full
def test_compute_does_what_wants_root_without_sudo(nova: Mapping[str, Running], cloud: Cloud) -> None:
    config = cloud.config("nova-compute")
    assert cloud.site.run(cloud.images["nova-compute"], "python3", "-c", PRIVILEGED, config=config).strip() == "0"
    assert nova["nova-compute"].declared.user == "0:0"


@pytest.mark.full
def test_each_service_has_what_it_declares_and_no_more(nova: Mapping[str, Running]) -> None:
    for name in NETWORKED:
        inside.check_confinement(nova[name])


@pytest.mark.full
@pytest.mark.parametrize("name", SERVICES_OF_NOVA)
def test_each_image_holds_its_packages_alone(name: str, nova: Mapping[str, Running], cloud: Cloud) -> None:
    inside.check_contents(cloud.site.engine, cloud.images[name], nova[name].declared.config["Cmd"][0])


@pytest.mark.full
def test_services_end_when_asked(nova: Mapping[str, Running]) -> None:
    # nova-compute has ended by itself: there is no libvirt.
    assert {name: nova[name].stop() for name in NETWORKED} == dict.fromkeys(NETWORKED, 0)


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
