"""All objects of a site: which there are, in what order, and that the same input gives the same bytes."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from builder.deploy.kubernetes import objects, target, text, waves
from builder.deploy.workload import Deployment, Entrance, Step
from builder.errors import UsageError
from tests.builder.deploy.kubernetes.kit import pod, rendered, workload

PORTS = {"ports": {"http": 8080}}
DATA = {"volumes": {"data": {"path": "/data", "uid": 7, "gid": 8, "mode": "0755"}}}


def test_a_deployment() -> None:
    found = rendered(workload(run=PORTS))
    assert list(found) == [
        "Namespace/market", "ServiceAccount/shop", "NetworkPolicy/shop", "NetworkPolicy/web", "Service/web",
        "Deployment/web",
    ]  # fmt: skip
    assert {one["metadata"].get("namespace") for name, one in found.items() if "Namespace/" not in name} == {"market"}
    assert all(one["metadata"]["labels"]["app.kubernetes.io/part-of"] == "shop" for one in found.values())
    assert found["Deployment/web"]["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert found["Service/web"]["spec"] == {
        "selector": {"app.kubernetes.io/name": "web", "app.kubernetes.io/part-of": "shop"},
        "ports": [{"name": "http", "port": 8080, "targetPort": 8080, "protocol": "TCP"}],
    }
    assert "ingress" not in found["NetworkPolicy/shop"]["spec"]  # nobody
    (rule,) = found["NetworkPolicy/web"]["spec"]["ingress"]
    assert rule["from"] == [{"podSelector": {"matchLabels": {"app.kubernetes.io/part-of": "shop"}}}]


def test_what_keeps_something_is_a_stateful_set() -> None:
    found = rendered(workload(run=PORTS | DATA, storage={"data": "5G"}, storage_class="fast"))
    claim = found["PersistentVolumeClaim/web-data"]["spec"]
    assert (claim["resources"]["requests"]["storage"], claim["storageClassName"]) == ("5G", "fast")
    spec = pod(found["StatefulSet/web"])
    assert spec["volumes"] == [{"name": "volume-data", "persistentVolumeClaim": {"claimName": "web-data"}}]
    assert spec["containers"][0]["volumeMounts"] == [{"name": "volume-data", "mountPath": "/data"}]


def test_what_works_on_its_host_is_a_daemon_set() -> None:
    platform = {"host": ["network", "pid"], "mounts": ["/dev"], "shared": ["/run/netns"], "reaper": True}
    one = workload(
        run=PORTS | DATA | {"platform": platform}, user="0:0", needs=("messages",), nodes={"role": "compute"}
    )
    other = workload("queue", run=PORTS, provides=("messages",))
    found = rendered(one, other)
    spec = pod(found["DaemonSet/web"])
    assert (spec["hostNetwork"], spec["hostPID"], spec["dnsPolicy"]) == (True, True, "ClusterFirstWithHostNet")
    assert "shareProcessNamespace" not in spec  # the host's first process does it
    assert spec["nodeSelector"] == {"role": "compute"}
    assert {volume["hostPath"]["path"] for volume in spec["volumes"]} == {"/data", "/dev", "/run/netns"}
    (mount,) = (one for one in spec["containers"][0]["volumeMounts"] if one["mountPath"] == "/run/netns")
    assert mount["mountPropagation"] == "Bidirectional"
    assert not [name for name in found if name.startswith("PersistentVolumeClaim")]
    # No rule can name pods of a host's network: what they need is open, themselves cannot be closed.
    (rule,) = found["NetworkPolicy/queue"]["spec"]["ingress"]
    assert "from" not in rule
    assert "NetworkPolicy/web" not in found


def test_several_of_one_keep_apart_and_go_one_by_one() -> None:
    found = rendered(workload(run=PORTS, replicas=2))
    assert found["PodDisruptionBudget/web"]["apiVersion"] == "policy/v1"
    assert found["PodDisruptionBudget/web"]["spec"]["maxUnavailable"] == 1
    (term,) = pod(found["Deployment/web"])["affinity"]["podAntiAffinity"][
        "preferredDuringSchedulingIgnoredDuringExecution"
    ]
    assert term["podAffinityTerm"]["topologyKey"] == "kubernetes.io/hostname"
    assert "PodDisruptionBudget/web" not in rendered(workload(run=PORTS))


@pytest.mark.parametrize("run", [PORTS, PORTS | {"volumes": {"data": {"path": "/data", "uid": 7, "gid": 8}}}])
def test_what_rolls_without_a_gap_serves_on_until_others_are_asked(run: dict[str, Any]) -> None:
    one = workload(run=run, replicas=2, shared=("data",))
    found = rendered(one)["Deployment/web"]
    assert found["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert pod(found)["containers"][0]["lifecycle"] == {"preStop": {"sleep": {"seconds": 5}}}
    assert pod(found)["terminationGracePeriodSeconds"] == 35
    old = pod(rendered(one, version=(1, 20))["Deployment/web"])
    assert old["containers"][0]["lifecycle"] == {"preStop": {"exec": {"command": ["sleep", "5"]}}}


def test_what_has_a_volume_alone_goes_at_once() -> None:
    run = PORTS | {"volumes": {"data": {"path": "/data", "uid": 7, "gid": 8}}}
    for shared, replicas in (((), 1), (("data",), 1)):
        found = rendered(workload(run=run, shared=shared, replicas=replicas))
        assert "lifecycle" not in pod(found["StatefulSet/web"])["containers"][0]
        assert found["PersistentVolumeClaim/web-data"]["spec"]["accessModes"] == ["ReadWriteOnce"]


def test_groups_of_hosts_have_workloads_of_their_own() -> None:
    run = PORTS | {"platform": {"mounts": ["/dev"]}}
    ones = [workload(run=run, group=name, nodes={"role": name}) for name in ("east", "west")]
    found = rendered(*ones)
    assert {"DaemonSet/web-east", "DaemonSet/web-west", "Service/web"} <= {*found}
    selectors = [found[f"DaemonSet/web-{name}"]["spec"]["selector"]["matchLabels"] for name in ("east", "west")]
    assert selectors[0] != selectors[1]
    labels = found["DaemonSet/web-east"]["spec"]["template"]["metadata"]["labels"]
    assert found["Service/web"]["spec"]["selector"].items() <= labels.items()


def test_the_way_from_outside() -> None:
    found = rendered(workload(run=PORTS, entrance=Entrance("web.example", "http", "/", "nginx", "web-tls")))
    assert found["Ingress/web"]["spec"] == {
        "ingressClassName": "nginx",
        "rules": [
            {
                "host": "web.example",
                "http": {
                    "paths": [
                        {
                            "path": "/",
                            "pathType": "Prefix",
                            "backend": {"service": {"name": "web", "port": {"name": "http"}}},
                        }
                    ]
                },
            }
        ],
        "tls": [{"hosts": ["web.example"], "secretName": "web-tls"}],
    }
    (rule,) = found["NetworkPolicy/web"]["spec"]["ingress"]
    assert "from" not in rule


@pytest.mark.parametrize("gateway", ["public", "edge/public"])
def test_the_way_from_outside_by_a_gateway(gateway: str) -> None:
    found = rendered(workload(run=PORTS, entrance=Entrance("web.example", "http", "/shop", gateway=gateway)))
    assert "Ingress/web" not in found
    route = found["HTTPRoute/web"]
    assert route["apiVersion"] == "gateway.networking.k8s.io/v1"
    # https://gateway-api.sigs.k8s.io/reference/spec/#httproutespec
    assert route["spec"] == {
        "parentRefs": [{"name": "public", **({"namespace": "edge"} if "/" in gateway else {})}],
        "hostnames": ["web.example"],
        "rules": [
            {
                "matches": [{"path": {"type": "PathPrefix", "value": "/shop"}}],
                "backendRefs": [{"name": "web", "port": PORTS["ports"]["http"]}],
            }
        ],
    }
    (rule,) = found["NetworkPolicy/web"]["spec"]["ingress"]
    assert "from" not in rule


def test_taints_are_tolerated() -> None:
    taints = ("dedicated=compute:NoSchedule", "gpu", "edge:NoExecute", "rack=")
    steps = (Step("sync", "before"),)
    one = workload(tolerates=taints, declares={"sync": {"command": ["web", "sync"]}}, steps=steps)
    found = rendered(one)
    wanted = [
        {"key": "dedicated", "operator": "Equal", "value": "compute", "effect": "NoSchedule"},
        {"key": "gpu", "operator": "Exists"},
        {"key": "edge", "operator": "Exists", "effect": "NoExecute"},
        {"key": "rack", "operator": "Equal", "value": ""},
    ]
    of = [pod(each)["tolerations"] for each in found.values() if each["kind"] in ("Deployment", "Job")]
    assert of == [wanted, wanted]
    assert "tolerations" not in pod(rendered(workload())["Deployment/web"])


def test_older_releases_have_older_versions() -> None:
    old = rendered(workload(run=PORTS, replicas=2), version=(1, 20))
    assert old["PodDisruptionBudget/web"]["apiVersion"] == "policy/v1beta1"


def test_ports_and_names_are_those_that_kubernetes_takes() -> None:
    long = "a-very-long-name-of-a-workload-that-somebody-thought-of-" + "x" * 40
    found = rendered(workload(long, {"ports": {"a-port-with-a-long-name": 1, "dns": {"port": 53, "protocol": "udp"}}}))
    names = [name.partition("/")[2] for name in found]
    assert max(map(len, names)) <= 63
    assert max(len(value) for one in found.values() for value in one["metadata"]["labels"].values()) <= 63
    (service,) = (one for name, one in found.items() if name.startswith("Service/"))
    assert [(one["name"], one["protocol"]) for one in service["spec"]["ports"]] == [("port-1", "TCP"), ("dns", "UDP")]


def test_components_that_need_each_other_are_named() -> None:
    ones = (workload("a", needs=("two",), provides=("one",)), workload("b", needs=("one",), provides=("two",)))
    with pytest.raises(waves.CircleError) as failed:
        rendered(*ones)
    assert set(failed.value.names) == {"a", "b"}


@pytest.mark.parametrize("wrong", ["1.19", "2.0", "newest", "1", "1.99"])
def test_a_release_must_be_known(wrong: str) -> None:
    with pytest.raises(UsageError, match="no release of Kubernetes"):
        target.version(wrong)
    assert target.version("v1.31.2") == (1, 31)


def test_the_text_is_that_of_the_objects() -> None:
    told = {"a": "one\ntwo\n", "mode": text.Octal(0o640), "n": "0640", "yes": "yes"}
    said = text.stream(({"data": told}, {"b": 1}))
    assert said.startswith(text.HEAD)
    assert "  a: |\n    one\n    two\n  mode: 0640\n" in said
    assert list(yaml.safe_load_all(said)) == [{"data": told | {"mode": 0o640}}, {"b": 1}]


def test_files_are_in_the_order_of_the_objects() -> None:
    one, two = workload(run=PORTS, needs=("x",)), workload("base", provides=("x",))
    found = objects.render(Deployment("shop", (one, two), "market"), target.NEWEST)
    names = [objects.file_name(each) for each in found.objects]
    assert names == sorted(names)
    assert names[0].endswith("-namespace-market.yaml")
    assert [name.partition("-deployment-")[2] for name in names if "-deployment-" in name] == ["base.yaml", "web.yaml"]
