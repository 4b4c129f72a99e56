"""What compose and Quadlet are told of an image is what docker and podman are told of it by their command lines."""

from __future__ import annotations

import json
from typing import Any

import yaml

from builder.declared import Declared
from builder.deploy import compose, quadlet
from builder.deploy.workload import ConfigFile, Deployment, Workload

DOCUMENTED = {
    "Unit": {"Description"},
    "Container": {
        "AddCapability", "AddDevice", "ContainerName", "DropCapability", "Environment", "Exec", "Group", "GroupAdd",
        "Image", "Network", "NoNewPrivileges", "PidsLimit", "PodmanArgs", "PublishPort", "Pull", "ReadOnly",
        "ReadOnlyTmpfs", "RunInit", "Ulimit", "Unmask", "User", "Volume",
    },
    "Service": {"Restart", "TimeoutStopSec", "Type"},
    "Install": {"WantedBy"},
    "Volume": {"VolumeName"},
    "Network": {"NetworkName"},
}  # fmt: skip
"""Keys that podman-systemd.unit(5) and systemd.service(5) document."""
RUN: dict[str, Any] = {
    "ports": {"http": 8080, "dns": {"port": 53, "protocol": "udp"}},
    "volumes": {"data": {"path": "/var/lib/web", "uid": 7, "gid": 8, "mode": "0750"}},
    "writable": [{"path": "/tmp", "uid": 0, "gid": 0, "mode": "1777"}],
    "groups": [99],
    "limits": {"memory": "64Mi", "cpus": "500m", "pids": 10, "files": 1024},
    "platform": {"capabilities": ["NET_ADMIN"], "reaper": True, "devices": ["/dev/kvm"], "mounts": ["/lib/modules"], "host": ["pid"]},
    "stop_grace": "2m",
}  # fmt: skip
STEP = {"command": ["web", "init", '--name=a $b %c "d"'], "user": "9:9", "env": {"A": "b c"}}


def deployment(run: dict[str, Any] | None = None) -> Deployment:
    labels = {
        "org.opencontainers.image.title": "web",
        "org.opencontainers.image.description": "pages",
        "org.imgbuild.run": json.dumps(RUN if run is None else run),
        "org.imgbuild.step.init": json.dumps(STEP),
    }
    declared = Declared("r.example/web:1-r1", {"User": "7:8", "Labels": labels})
    files = (ConfigFile("/etc/web.conf", 0, 8, "0640", "x\n"),)
    publish = {name: at for name, at in (("http", "127.0.0.1:80"), ("dns", "[::1]:53")) if name in declared.ports}
    return Deployment("shop", (Workload("web", declared, files, publish),))


def test_a_service_of_compose() -> None:
    services = yaml.safe_load(compose.text(deployment()))["services"]
    assert services["web"] == {
        "image": "r.example/web:1-r1",
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "cap_add": ["NET_ADMIN"],
        "init": True,
        "pid": "host",
        "devices": ["/dev/kvm:/dev/kvm"],
        "group_add": ["99"],
        "volumes": [
            "web-data:/var/lib/web",
            "/lib/modules:/lib/modules",
            "./config/web/etc/web.conf:/etc/web.conf:ro",
        ],
        "tmpfs": ["/tmp:uid=0,gid=0,mode=1777"],
        "mem_limit": 64 * 1024 * 1024,
        "cpus": 0.5,
        "pids_limit": 10,
        "ulimits": {"nofile": 1024},
        "container_name": "web",
        "restart": "unless-stopped",
        "stop_grace_period": "120s",
        "ports": ["127.0.0.1:80:8080/tcp", "[::1]:53:53/udp"],
    }


def test_a_step_of_compose() -> None:
    step = yaml.safe_load(compose.text(deployment()))["services"]["web-init"]
    assert step["profiles"] == ["steps"]
    assert step["command"] == ["web", "init", '--name=a $$b %c "d"']
    assert (step["user"], step["environment"]) == ("9:9", {"A": "b c"})
    assert "ports" not in step
    assert step["volumes"] == [
        "web-data:/var/lib/web",
        "/lib/modules:/lib/modules",
        "./config/web/etc/web.conf:/etc/web.conf:ro",
    ]


def test_of_what_is_no_service_only_steps_run() -> None:
    found = deployment({"service": False})
    assert {*yaml.safe_load(compose.text(found))["services"]} == {"web-init"}
    assert {*quadlet.units(found, "/srv")} == {"shop.network", "web-init.container"}


def test_what_is_on_the_hosts_network_publishes_nothing() -> None:
    found = deployment({"ports": {"http": 80}, "platform": {"host": ["network"], "privileged": True}})
    service = yaml.safe_load(compose.text(found))["services"]["web"]
    assert (service["network_mode"], service["privileged"], service.get("ports")) == ("host", True, None)
    assert "cap_drop" not in service
    unit = quadlet.units(found, "/srv")["web.container"]
    assert "Network=host" in unit
    assert "PublishPort" not in unit


AGENT: dict[str, Any] = {"platform": {"capabilities": ["SYS_ADMIN"], "unmasked": True, "shared": ["/run/netns"]}}


def test_what_sets_up_its_host_is_let() -> None:
    web = yaml.safe_load(compose.text(deployment(AGENT)))["services"]["web"]
    assert web["security_opt"] == ["apparmor=unconfined", "systempaths=unconfined"]
    assert "/run/netns:/run/netns:rshared" in web["volumes"]
    unit = quadlet.units(deployment(AGENT), "/srv/site")["web.container"]
    for line in ("PodmanArgs=--security-opt=apparmor=unconfined", "Unmask=ALL", "Volume=/run/netns:/run/netns:rshared"):
        assert line in unit.splitlines()
    assert "NoNewPrivileges" not in unit


def test_units_have_documented_keys_alone() -> None:
    found = quadlet.units(deployment(), "/srv/site")
    assert sorted(found) == ["shop.network", "web-data.volume", "web-init.container", "web.container"]
    for text in found.values():
        section = ""
        for line in text.splitlines()[1:]:
            if line.startswith("["):
                section = line.strip("[]")
            elif line:
                assert line.partition("=")[0] in DOCUMENTED[section], line


def test_a_unit() -> None:
    unit = quadlet.units(deployment(), "/srv/site")["web.container"].splitlines()
    for line in (
        "Image=r.example/web:1-r1", "ReadOnly=true", "ReadOnlyTmpfs=false", "DropCapability=all", "AddCapability=NET_ADMIN",
        "NoNewPrivileges=true", "RunInit=true", "Network=shop.network", "PodmanArgs=--pid=host", "AddDevice=/dev/kvm",
        "GroupAdd=99", "Volume=web-data.volume:/var/lib/web", "Volume=/srv/site/config/web/etc/web.conf:/etc/web.conf:ro",
        "Volume=/tmp", "PublishPort=127.0.0.1:80:8080/tcp", "PublishPort=[::1]:53:53/udp", "PidsLimit=10",
        "PodmanArgs=--stop-timeout=120", "TimeoutStopSec=150",
    ):  # fmt: skip
        assert line in unit


def test_a_step_is_a_unit_that_runs_once() -> None:
    unit = quadlet.units(deployment(), "/srv/site")["web-init.container"].splitlines()
    assert 'Exec=web init "--name=a $$b %%c \\"d\\""' in unit
    assert {"User=9", "Group=9", 'Environment="A=b c"', "Type=oneshot"} <= set(unit)
    assert "[Install]" not in unit
