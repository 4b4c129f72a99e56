"""What an image declares, as words of docker and podman."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from builder.declared import Declared
from builder.deploy import engine_words
from builder.deploy.engine_words import Place
from builder.errors import UsageError
from builder.transports.engine import Kind


def image(run: dict[str, Any], **labels: dict[str, Any]) -> Declared:
    """An image that declares this."""
    told = {f"org.imgbuild.{name.replace('__', '.')}": json.dumps(value) for name, value in labels.items()}
    named = {"org.opencontainers.image.title": "web", "org.imgbuild.run": json.dumps(run)}
    return Declared("web:1-r1", {"User": "7:7", "Labels": {**named, **told}})


def words(declared: Declared, kind: Kind = "docker", step: str = "", **more: Any) -> str:
    """The words after ``run``."""
    return " ".join(engine_words.words(declared, kind, Place("web", **more), step))


def test_what_declares_nothing_gets_nothing() -> None:
    said = "--read-only --stop-timeout=30 --cap-drop=ALL --security-opt=no-new-privileges web:1-r1"
    assert words(image({})) == said


@pytest.mark.parametrize(
    ("run", "said"),
    [
        ({"stop_grace": "2m"}, "--stop-timeout=120"),
        ({"platform": {"capabilities": ["NET_ADMIN"], "reaper": True}}, "--cap-add=NET_ADMIN --init"),
        ({"platform": {"host": ["network", "pid"], "devices": ["/dev/kvm"]}}, "--network=host --pid=host --device=/dev/kvm"),
        ({"platform": {"mounts": ["/dev"], "shared": ["/run"]}}, "--volume /dev:/dev --volume /run:/run:rshared"),
        ({"platform": {"capabilities": ["SYS_ADMIN"]}}, "--cap-drop=ALL --security-opt=apparmor=unconfined --cap-add=SYS_ADMIN"),
        ({"platform": {"unmasked": True}}, "--security-opt=systempaths=unconfined"),
        ({"groups": [5]}, "--group-add=5"),
        ({"volumes": {"data": {"path": "/var/lib/web", "uid": 7, "gid": 7, "mode": "0755"}}}, "--volume web-data:/var/lib/web"),
        (
            {"writable": [{"path": "/tmp", "uid": 0, "gid": 0, "mode": "1777", "size": "1Mi"}]},
            "--tmpfs /tmp:uid=0,gid=0,mode=1777,size=1048576",
        ),
        (
            {"limits": {"memory": "1G", "cpus": "500m", "pids": 9, "files": 10}},
            "--memory=1000000000 --cpus=0.5 --pids-limit=9 --ulimit=nofile=10",
        ),
    ],
)  # fmt: skip
def test_what_is_declared_is_given(run: dict[str, Any], said: str) -> None:
    assert said in words(image(run))


def test_full_access_is_not_taken_away_again() -> None:
    said = words(image({"platform": {"privileged": True}}))
    assert ("--privileged" in said, "--cap-drop" in said, "no-new-privileges" in said) == (True, False, False)


def test_podman_has_its_own_word_for_what_is_unmasked() -> None:
    assert "--security-opt=unmask=ALL" in words(image({"platform": {"unmasked": True}}), "podman")


def test_podman_makes_nothing_else_writable() -> None:
    said = words(image({"writable": [{"path": "/tmp", "uid": 0, "gid": 0, "mode": "1777"}]}), "podman")
    assert "--read-only-tmpfs=false" in said
    assert "--volume /tmp " in said


def test_a_step_runs_its_command_as_its_user_on_the_volumes_of_the_service() -> None:
    volume = {"path": "/data", "uid": 7, "gid": 7, "mode": "0755"}
    step = {"command": ["make", "it"], "user": "0:0", "env": {"A": "b"}}
    declared = image({"ports": {"http": 80}, "volumes": {"data": volume}}, step__init=step)
    said = words(declared, step="init", publish={"http": 8080})
    assert said.endswith("--user 0:0 --env A=b --volume web-data:/data web:1-r1 make it")
    assert "--publish" not in said
    with pytest.raises(UsageError, match="no step 'other'"):
        words(declared, step="other")


def test_the_site_adds_ports_a_network_variables_and_files() -> None:
    declared = image({"ports": {"http": 80, "dns": {"port": 53, "protocol": "udp"}}})
    said = words(
        declared, publish={"http": 8080, "dns": 0}, network="n", env={"A": "b"}, config={"/etc/web": Path("/x")}
    )
    assert (
        "--network n --publish=127.0.0.1:8080:80/tcp --publish=127.0.0.1::53/udp --env A=b --volume /x:/etc/web:ro"
        in said
    )


def test_the_host_s_network_has_no_ports_to_publish() -> None:
    said = words(image({"ports": {"http": 80}, "platform": {"host": ["network"]}}), publish={"http": 80}, network="n")
    assert ("--publish" in said, "--network n" in said) == (False, False)
