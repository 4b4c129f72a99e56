"""What a site takes from its cluster: secrets that are there already, a Gateway's routes where they are known, nodes with taints."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.distribution import Site
from tests.kit.kubernetes.cluster import Cluster, started
from tests.kit.project import Run, project

pytestmark = [pytest.mark.integration, pytest.mark.full]
SITE = """\
dsl: 1
site: home
components: [app]
registry: kube.local/home
secrets: {session: {secret: session, key: password}}
topology: {all: {tolerates: ["dedicated=home:NoSchedule"]}}
"""
GATEWAY = "ingress: {app: {host: a.example, gateway: edge/public}}\n"
ROUTES = """\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: httproutes.gateway.networking.k8s.io
  annotations: {api-approved.kubernetes.io: "https://github.com/kubernetes-sigs/gateway-api"}
spec:
  group: gateway.networking.k8s.io
  scope: Namespaced
  names: {kind: HTTPRoute, plural: httproutes}
  versions:
    - name: v1
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
"""
"""That there are routes. None is made: this server, built by a newer Go than it is for, ends when it reads an object of such a kind."""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster of the test's own."""
    with started(tmp_path / "kubernetes") as found:
        yield found


@pytest.fixture
def deployed(site: Site) -> Site:
    """The component with a port and a template that asks for a secret, built; and a site's file."""
    site.edit(
        "repos/app/component.yaml",
        "run: {",
        "config: {/etc/app.conf: app.conf.j2}\n    run: {ports: {serving: 80}, ",
    )
    project(site.folder, {"repos/app/app.conf.j2": "key = {{ secret('session') }}\n", "site.yaml": SITE})
    site.works("lock", "app")
    site.works("build", "app")
    return site


def test_what_is_there_already_and_what_is_not(deployed: Site, cluster: Cluster) -> None:
    def run(*words: str) -> Run:
        return deployed.run("deploy", *words, env=cluster.environment)

    missing = run("apply", ".")
    assert (missing.code, "there is no Secret 'session' in the namespace 'home'" in missing.errors) == (2, True)
    cluster.kubectl("create", "namespace", "home")
    cluster.kubectl("-n", "home", "create", "secret", "generic", "session", "--from-literal=password=very secret")
    first = run("apply", ".")
    assert first.code == 0, first.errors
    assert "very secret" not in first.output + first.errors
    (made,) = (
        one for one in cluster.get("-n", "home", "secrets")["items"] if one["metadata"]["name"].startswith("app-secret")
    )
    assert base64.b64decode(made["data"]["etc.app.conf"]) == b"key = very secret\n"
    template = cluster.get("-n", "home", "deployment", "app")["spec"]["template"]
    assert template["spec"]["tolerations"] == [
        {"key": "dedicated", "operator": "Equal", "value": "home", "effect": "NoSchedule"}
    ]
    again = run("diff", ".")
    assert (again.code, again.output) == (0, ""), again.errors + again.output

    # Where routes are not known, that is told, and only where one is wanted.
    deployed.edit("site.yaml", "topology:", f"{GATEWAY}topology:")
    unknown = run("apply", ".")
    assert unknown.code == 1
    assert "HTTPRoute app cannot be read: this cluster does not know such objects" in unknown.errors
    cluster.kubectl("apply", "-f", "-", told=ROUTES)
    cluster.kubectl("wait", "--for=condition=Established", "crd/httproutes.gateway.networking.k8s.io")
    routed = run("diff", ".")
    assert (routed.code, "+++ HTTPRoute app (wanted)" in routed.output) == (3, True), routed.errors
    deployed.edit("site.yaml", GATEWAY, "")
    assert run("diff", ".").code == 0

    gone = run("delete", ".")
    assert gone.code == 0, gone.errors
    names_left = [one["metadata"]["name"] for one in cluster.get("-n", "home", "secrets")["items"]]
    assert "session" in names_left
    assert not any(name.startswith("app-secret") for name in names_left)
