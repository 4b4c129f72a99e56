"""A site's plugins, what it does without, and a source of its own: an overlay over components of others."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.kit import documents
from tests.kit.engines import Docker
from tests.kit.fleet import Fleet
from tests.kit.project import imgbuild

pytestmark = pytest.mark.e2e
WHERE = "examples/plugins"


def image(fleet: Fleet, docker: Docker, target: str, name: str) -> str:
    reference = fleet.load(docker, target, where=WHERE)[name]
    assert "-acme-" in reference
    return reference


def test_another_source_takes_the_place_of_upstreams(fleet: Fleet, docker: Docker) -> None:
    greeter = image(fleet, docker, "greeter", "greeter")
    assert "Hello from acme" in docker("run", "--rm", "--read-only", greeter, "cat", "/usr/bin/greeter")


@pytest.mark.full
def test_a_plugin_of_neutron(fleet: Fleet, docker: Docker) -> None:
    server = image(fleet, docker, "neutron/neutron-server", "neutron-server")
    plugin = "neutron_dynamic_routing.services.bgp.bgp_plugin"
    told = docker(
        "run", "--rm", "--read-only", "--tmpfs", "/tmp", server, "python3", "-c", f"import {plugin}; print('there')"
    )
    assert told.strip().endswith("there")


@pytest.mark.full
def test_panels_of_horizon(fleet: Fleet, docker: Docker) -> None:
    horizon = image(fleet, docker, "horizon", "horizon")
    modules = "import heat_dashboard, designatedashboard; print('there')"
    assert docker("run", "--rm", "--read-only", horizon, "python3", "-c", modules).strip().endswith("there")
    enabled = "/usr/lib/python3/dist-packages/openstack_dashboard/local/enabled"
    panels = docker("run", "--rm", "--read-only", horizon, "ls", enabled)
    assert "_1620_project_stacks_panel.py" in panels
    assert "designate" in panels or "dns" in panels, panels


@pytest.mark.full
def test_the_three_steps_from_kolla(fleet: Fleet, tmp_path: Path) -> None:
    clone = documents.checkout(tmp_path)
    lines = [
        line for line in (clone / "README.md").read_text().splitlines() if re.match(r"\./imgbuild .*horizon", line)
    ]
    assert len(lines) == 3
    said = []
    for line, code in zip(lines, (0, 0, 3), strict=True):
        words = line.partition("#")[0].replace("./imgbuild", "").split()
        result = imgbuild(*words, cache=fleet.cache, cwd=clone)
        assert result.code == code, result.errors
        said.append(result.output)
    assert "python3-heat-dashboard" in said[2]
    assert "python3-designate-dashboard" in said[2]


@pytest.mark.full
def test_packages_that_a_site_does_without(fleet: Fleet, docker: Docker) -> None:
    libvirt = image(fleet, docker, "libvirt", "libvirt")
    packages = docker(
        "run", "--rm", "--read-only", libvirt, "dpkg-query", "--show", "--showformat", "${Package}\n"
    ).split()
    assert "qemu-system-x86" in packages
    assert {"ovmf", "openvswitch-common"}.isdisjoint(packages)
