"""Kolla's config.json in our language."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from builder.errors import UsageError
from builder.propose import kolla
from dsl import model, schema
from tests.kit.project import ROOT

NOVA = {
    "command": "nova-api",
    "config_files": [
        {"source": "/var/lib/kolla/config_files/nova.conf", "dest": "/etc/nova/nova.conf", "owner": "nova", "perm": "0600"},
        {
            "source": "/var/lib/kolla/config_files/policy.yaml", "dest": "/etc/nova/policy.yaml", "owner": "nova",
            "perm": "600", "optional": True,
        },
    ],
    "permissions": [
        {"path": "/var/log/kolla/nova", "owner": "nova:nova", "recurse": True},
        {"path": "/var/lib/nova/", "owner": "nova:kvm", "recurse": True},
        {"path": "/run/nova", "owner": "nova", "perm": "0750"},
    ],
}  # fmt: skip


def migrated(told: dict[str, Any]) -> kolla.Migrated:
    return kolla.parse(json.dumps(told), "config.json")


def test_what_kolla_copies_and_owns_is_said() -> None:
    found = migrated(NOVA)
    assert found.data == {
        "run": {
            "command": ["nova-api"],
            "user": "nova",
            "volumes": {"nova": {"path": "/var/lib/nova", "owner": "nova", "group": "kvm"}},
            "writable": [{"path": "/run/nova", "owner": "nova", "mode": "0750"}],
        },
        "config": {
            "/etc/nova/nova.conf": {"template": "templates/nova.conf.j2", "owner": "nova", "mode": "0600"},
            "/etc/nova/policy.yaml": {
                "template": "templates/policy.yaml.j2", "owner": "nova", "mode": "0600", "optional": True,
            },
        },
    }  # fmt: skip
    assert found.look == ("/var/log/kolla/nova: a service logs to its standard output and needs no folder for it",)


def test_it_is_what_the_language_takes() -> None:
    data = migrated(NOVA).data
    assert list(Draft202012Validator(schema.of_node(model.Run)).iter_errors(data["run"])) == []
    for one in data["config"].values():
        assert list(Draft202012Validator(schema.of_node(model.ConfigFile)).iter_errors(one)) == []


@pytest.mark.parametrize(
    ("change", "look"),
    [
        ({"command": "sudo -E kolla_x"}, "sudo stands before"),
        ({"command": "a && b"}, "the command is the shell's"),
        ({"command": "a --log-file /var/log/kolla/a.log"}, "logs to its standard output"),
        ({"config_files": []}, "no file says who"),
        ({"config_files": [{"source": "/x/ceph.*", "dest": "/etc/ceph/", "owner": "glance"}]}, "is several files"),
    ],
)
def test_what_is_to_be_decided_is_said(change: dict[str, Any], look: str) -> None:
    assert look in "\n".join(migrated({**NOVA, **change}).look)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "config.json:1:2: it is no JSON"),
        ("[]", r"\$: \[\] is not of type 'object'"),
        ("{}", "'command' is a required property"),
        ('{"command": "a", "config_files": [{"dest": "x"}]}', "config_files"),
        ('{"command": "a \'b"}', "cannot be split"),
    ],
)
def test_what_is_none_is_said(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        kolla.parse(text, "config.json")


def test_the_document_s_example_is_true() -> None:
    text = (ROOT / "docs/from-kolla.md").read_text()
    (told,) = re.findall(r"^```json\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    (printed,) = re.findall(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert kolla.parse(told, "config.json").text == printed
