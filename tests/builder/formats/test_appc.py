"""An image's manifest, said as the App Container specification has it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from builder.declared import Declared
from builder.errors import ImageError
from builder.formats import appc

PATHS = ("usr/bin/nova-api", "usr/bin", "usr")


def told(run: dict[str, Any], **config: Any) -> dict[str, Any]:
    """The manifest of an image that runs so."""
    labels = {"org.imgbuild.run": json.dumps(run), "org.opencontainers.image.url": "https://nova.example"}
    given = {
        "Cmd": ["nova-api", "--config-file=/etc/nova.conf"], "Env": ["PATH=/usr/sbin:/usr/bin", "A=b=c"],
        "User": "42436:42436", "WorkingDir": "/", "Labels": labels, **config,
    }  # fmt: skip
    declared = Declared("nova-api:31.0.0-r4", given)
    return appc.manifest(
        declared, PATHS, name="example.com/nova-api", architecture="arm64", created="2025-01-01T00:00:00Z"
    )


def isolators(found: dict[str, Any]) -> dict[str, Any]:
    """Its isolators by name."""
    return {one["name"]: one["value"] for one in found["app"]["isolators"]}


def test_it_says_what_runs_as_whom() -> None:
    found = told({"groups": [7]})
    app = found["app"]
    assert app["exec"] == ["/usr/bin/nova-api", "--config-file=/etc/nova.conf"]
    assert (app["user"], app["group"], app["supplementaryGIDs"]) == ("42436", "42436", [7])
    assert app["environment"] == [{"name": "PATH", "value": "/usr/sbin:/usr/bin"}, {"name": "A", "value": "b=c"}]
    assert found["labels"] == [
        {"name": "version", "value": "31.0.0-r4"},
        {"name": "os", "value": "linux"},
        {"name": "arch", "value": "aarch64"},
    ]
    assert {"name": "homepage", "value": "https://nova.example"} in found["annotations"]


def test_ports_and_folders() -> None:
    ports = {"api_v2": 8774, "metadata": {"port": 53, "protocol": "udp"}}
    place = {"uid": 1, "gid": 1, "mode": "0755"}
    run = {
        "ports": ports,
        "volumes": {"state": {"path": "/var/lib/nova", **place}},
        "writable": [{"path": "/tmp", **place}],
        "platform": {"mounts": ["/run/libvirt"]},
    }
    app = told(run)["app"]
    assert app["ports"] == [
        {"name": "api-v2", "port": 8774, "protocol": "tcp"},
        {"name": "metadata", "port": 53, "protocol": "udp"},
    ]
    assert [(one["name"], one["path"]) for one in app["mountPoints"]] == [
        ("state", "/var/lib/nova"),
        ("writable-tmp", "/tmp"),
        ("host-run-libvirt", "/run/libvirt"),
    ]


def test_without_capabilities_all_that_is_given_is_taken() -> None:
    found = isolators(told({}))
    assert len(found["os/linux/capabilities-remove-set"]["set"]) == 14
    assert found["os/linux/no-new-privileges"] is True
    assert "os/linux/capabilities-retain-set" not in found


def test_capabilities_are_all_that_is_kept() -> None:
    found = isolators(told({"platform": {"capabilities": ["NET_ADMIN", "SYS_ADMIN"]}}))
    assert found == {"os/linux/capabilities-retain-set": {"set": ["CAP_NET_ADMIN", "CAP_SYS_ADMIN"]}}


def test_full_access_is_no_isolator() -> None:
    assert isolators(told({"platform": {"privileged": True}})) == {}


def test_limits() -> None:
    found = isolators(told({"limits": {"memory": "2Gi", "cpus": "500m"}}))
    assert (found["resource/memory"], found["resource/cpu"]) == ({"limit": str(2 << 30)}, {"limit": "500m"})


@pytest.mark.parametrize(
    ("config", "message"),
    [({"Cmd": ["gone"]}, "there is no gone in /usr/sbin:/usr/bin"), ({"Cmd": []}, "names no command to run")],
)
def test_what_cannot_run_is_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ImageError, match=message):
        told({}, **config)


def test_names_are_identifiers() -> None:
    declared = Declared("web:1-r1", {"Cmd": ["/x"]})
    with pytest.raises(ImageError, match="is no name"):
        appc.manifest(declared, (), name="example.com/Web", architecture="amd64", created="")
