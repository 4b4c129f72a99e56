"""What an image declares is what its pod has, and nothing more."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from builder.deploy.kubernetes import objects, pods, probes, target
from builder.deploy.workload import ConfigFile, Deployment, Variable
from tests.builder.deploy.kubernetes.kit import declared, pod, rendered, workload

PLAIN = ConfigFile("/etc/web/web.conf", 0, 8, "0640", "a = 1\n")
SECRET = ConfigFile("/etc/web/password", 0, 8, "0440", "very secret\n", ("web",))


def container(run: dict[str, Any] | None = None, user: str = "7:8", version: tuple[int, int] = target.NEWEST) -> Any:
    """The container of a deployment."""
    (found,) = (
        one
        for name, one in rendered(workload(run=run, user=user), version=version).items()
        if name.endswith("Set/web") or name == "Deployment/web"
    )
    return pod(found)["containers"][0]


def test_an_ordinary_service_may_nothing() -> None:
    found = rendered(workload(run={"groups": [99], "stop_grace": "2m"}))
    spec = pod(found["Deployment/web"])
    assert spec["securityContext"] == {
        "runAsUser": 7,
        "runAsGroup": 8,
        "runAsNonRoot": True,
        "supplementalGroups": [99],
        "fsGroup": 8,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert spec["containers"][0]["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert (spec["automountServiceAccountToken"], spec["enableServiceLinks"]) == (False, False)
    assert spec["terminationGracePeriodSeconds"] == 120
    assert spec["containers"][0]["command"] == ["web", "--serve"]
    assert "hostNetwork" not in spec


def test_capabilities_are_the_declared_ones() -> None:
    run = {"platform": {"capabilities": ["NET_ADMIN", "SYS_ADMIN"]}}
    found = container(run, "0:0")["securityContext"]
    assert found["capabilities"] == {"drop": ["ALL"], "add": ["NET_ADMIN", "SYS_ADMIN"]}
    # Kubernetes takes SYS_ADMIN with no less, and AppArmor's default would forbid what it is for.
    assert found["allowPrivilegeEscalation"] is True
    assert found["appArmorProfile"] == {"type": "Unconfined"}
    old = rendered(workload(run=run, user="0:0"), version=(1, 29))["Deployment/web"]
    assert "appArmorProfile" not in pod(old)["containers"][0]["securityContext"]
    noted = old["spec"]["template"]["metadata"]["annotations"]
    assert noted == {"container.apparmor.security.beta.kubernetes.io/web": "unconfined"}


@pytest.mark.parametrize("key", ["privileged", "unmasked", "shared", "devices"])
def test_full_access_only_where_there_is_nothing_less(key: str) -> None:
    platform: dict[str, Any] = {key: ["/dev/x"] if key in ("shared", "devices") else True}
    one = workload(run={"platform": platform})
    found = objects.render(Deployment("shop", (one,)), target.NEWEST)
    (runner,) = (each for each in found.objects if each["kind"] in ("DaemonSet", "Deployment"))
    assert pod(dict(runner))["containers"][0]["securityContext"]["privileged"] is True
    assert [key in note for note in found.notes] == ([] if key == "privileged" else [True])
    assert "privileged" not in container({"platform": {"mounts": ["/dev"]}})["securityContext"]


def test_folders_limits_and_reaper() -> None:
    run = {
        "writable": [{"path": "/tmp", "uid": 0, "gid": 0, "mode": "1777"}, {"path": "/run/web", "size": "5K"}],
        "limits": {"memory": "64M", "cpus": "500m"},
        "platform": {"reaper": True},
    }
    spec = pod(rendered(workload(run=run))["Deployment/web"])
    assert spec["volumes"] == [
        {"name": "empty-tmp", "emptyDir": {}},
        {"name": "empty-run-web", "emptyDir": {"sizeLimit": "5k"}},
    ]
    assert spec["containers"][0]["resources"] == {"limits": {"cpu": "500m", "memory": "64M"}}
    assert spec["shareProcessNamespace"] is True


def test_only_a_pod_knows_its_address() -> None:
    one = workload(given=(Variable("URL", "http://$(POD_IP)/ $x"),))
    found = pod(rendered(one)["Deployment/web"])["containers"][0]
    assert found["env"] == [
        {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "URL", "value": "http://$(POD_IP)/ $$x"},
    ]


def test_what_only_a_pod_knows_is_found_in_a_text() -> None:
    assert pods.words("$(HOST_IP):1,$(POD_IP) $(HOST_IP) $(hostname) $HOST_IP") == ("$(HOST_IP)", "$(POD_IP)")
    assert pods.words("") == ()


HTTP = {"ports": {"http": 80, "more": 81}, "health": {"http": "http", "path": "/deep", "interval": "20s"}}


def test_a_dead_database_does_not_restart_what_needs_it() -> None:
    found = probes.of(declared("web", HTTP))
    assert found["readinessProbe"]["httpGet"] == {"path": "/deep", "port": 80, "scheme": "HTTP"}
    for name in ("livenessProbe", "startupProbe"):
        assert found[name]["tcpSocket"] == {"port": 80}
    assert found["livenessProbe"]["periodSeconds"] == 20
    assert found["startupProbe"]["periodSeconds"] * found["startupProbe"]["failureThreshold"] == 60


def test_a_command_is_asked_for_readiness_alone() -> None:
    found = probes.of(declared("web", {"health": {"exec": ["ask"]}}))
    assert list(found) == ["readinessProbe"]
    assert found["readinessProbe"]["exec"] == {"command": ["ask"]}
    assert probes.of(declared("web", {"ports": {"dns": {"port": 53, "protocol": "udp"}}})) == {}


def test_configuration_is_immutable_and_named_by_what_it_holds() -> None:
    found = rendered(workload(files=(PLAIN, SECRET)))
    (map_,) = (one for one in found.values() if one["kind"] == "ConfigMap")
    (secret,) = (one for one in found.values() if one["kind"] == "Secret")
    assert (map_["immutable"], secret["immutable"]) == (True, True)
    assert map_["data"] == {"etc.web.web.conf": "a = 1\n"}
    assert {key: base64.b64decode(one).decode() for key, one in secret["data"].items()} == {
        "etc.web.password": "very secret\n"
    }
    spec = pod(found["Deployment/web"])
    mounts = {one["mountPath"]: one for one in spec["containers"][0]["volumeMounts"]}
    assert mounts["/etc/web/web.conf"] == {
        "name": "config",
        "mountPath": "/etc/web/web.conf",
        "subPath": "etc.web.web.conf",
        "readOnly": True,
    }
    volumes = {one["name"]: one for one in spec["volumes"]}
    assert volumes["config"]["configMap"]["name"] == map_["metadata"]["name"]
    assert volumes["secret-config"]["secret"]["items"][0]["mode"] == 0o440
    # Another text is another object, the same text the same.
    other = rendered(workload(files=(ConfigFile("/etc/web/web.conf", 0, 8, "0640", "a = 2\n"), SECRET)))
    assert map_["metadata"]["name"] not in {name.partition("/")[2] for name in other}
    assert secret["metadata"]["name"] in {name.partition("/")[2] for name in other}
    assert found == rendered(workload(files=(PLAIN, SECRET)))


def test_secrets_are_left_out_and_named() -> None:
    one = workload(files=(PLAIN, SECRET), given=(Variable("KEY", "x", ("key",)),))
    found = objects.render(Deployment("shop", (one,)), target.NEWEST, unknown=("key", "web"))
    assert [each["kind"] for each in found.objects if each["kind"] in ("ConfigMap", "Secret")] == ["ConfigMap"]
    assert [(name.rpartition("-")[0], wanted) for name, wanted in found.withheld] == [
        ("web-env", ("key",)),
        ("web-secret-config", ("web",)),
    ]
    (runner,) = (each for each in found.objects if each["kind"] == "Deployment")
    (variable,) = pod(dict(runner))["containers"][0]["env"]
    assert variable["valueFrom"]["secretKeyRef"] == {"name": found.withheld[0][0], "key": "KEY"}
    assert "very secret" not in str(found.objects)


def test_only_what_wants_an_unknown_secret_is_left_out() -> None:
    one = workload(files=(SECRET,), given=(Variable("KEY", "x", ("key",)),))
    found = objects.render(Deployment("shop", (one,)), target.NEWEST, unknown=("key",))
    assert [(name.rpartition("-")[0], wanted) for name, wanted in found.withheld] == [("web-env", ("key",))]
    (secret,) = (each for each in found.objects if each["kind"] == "Secret")
    assert secret["metadata"]["name"].startswith("web-secret-config-")


def test_two_paths_never_have_one_key() -> None:
    files = (ConfigFile("/etc/a/b", 0, 0, "0644", "1"), ConfigFile("/etc/a.b", 0, 0, "0644", "2"))
    (map_,) = (one for one in rendered(workload(files=files)).values() if one["kind"] == "ConfigMap")
    assert sorted(map_["data"].values()) == ["1", "2"]
