"""What a cluster's server says in place of doing something, and a cluster that is not there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from builder.cluster import api
from tests.kit.kubernetes.cluster import free_port
from tests.kit.project import ROOT, imgbuild


@pytest.mark.parametrize(
    ("status", "message", "hint"),
    [
        (409, 'Apply failed with 1 conflict: conflict with "kubectl": .spec.replicas', "--force"),
        (403, 'pods "a" is forbidden: exceeded quota: small, requested: cpu=2', "quota"),
        (403, 'deployments.apps is forbidden: User "me" cannot list resource', "auth can-i"),
        (422, "spec.serviceName: Forbidden: updates to statefulset spec", ""),
    ],
)
def test_the_server_is_quoted_and_the_way_out_is_told(status: int, message: str, hint: str) -> None:
    found = api.refused("Deployment web cannot be applied", status, "No", json.dumps({"message": message}))
    assert found.message == f"Deployment web cannot be applied: {message}"
    assert hint in found.hint
    assert bool(hint) == bool(found.hint)
    assert found.status == status


@pytest.mark.parametrize("body", [None, b"", b"<html>", b"[]", b"{}"])
def test_an_answer_that_is_no_status_is_told_by_its_number(body: bytes | None) -> None:
    assert api.refused("x", 502, "Bad Gateway", body).message == "x: 502 Bad Gateway"


CONFIG = """\
apiVersion: v1
kind: Config
current-context: one
contexts: [{{name: one, context: {{cluster: one, user: one}}}}]
clusters: [{{name: one, cluster: {{server: "http://127.0.0.1:{port}"}}}}]
users: [{{name: one, user: {{token: "a-token-of-mine"}}}}]
"""


@pytest.mark.parametrize(
    ("text", "words", "said"),
    [
        (None, (), "no cluster is configured"),
        ("a: [", (), "no cluster is configured"),
        (CONFIG, ("--context", "two"), "no cluster is configured"),
        (CONFIG, (), "does not answer"),
    ],
)
def test_a_cluster_that_is_not_there(text: str | None, words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    config = tmp_path / "config"
    if text is not None:
        config.write_text(text.format(port=free_port()) if text == CONFIG else text)
    env = {"KUBECONFIG": str(config), "HOME": str(tmp_path)}
    found = imgbuild("deploy", "status", "examples/hosts", *words, cache=tmp_path, cwd=ROOT, env=env)
    assert (found.code, said in found.errors, found.output) == (1, True, ""), found.errors
    assert "Traceback" not in found.errors
    assert "a-token-of-mine" not in found.errors
    assert "hint: " in found.errors
