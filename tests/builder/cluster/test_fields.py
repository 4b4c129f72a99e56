"""What one field manager said of an object."""

from __future__ import annotations

from typing import Any

from builder.cluster import fields

SAID: dict[str, Any] = {
    "f:metadata": {"f:labels": {"f:a": {}}, "f:annotations": {".": {}, "f:ours": {}}},
    "f:spec": {
        "f:replicas": {},
        "f:template": {
            "f:spec": {
                "f:containers": {'k:{"name":"web"}': {".": {}, "f:name": {}, "f:args": {}}},
                "f:volumes": {'k:{"name":"empty"}': {".": {}, "f:name": {}, "f:emptyDir": {}}},
            }
        },
        "f:finalizers": {'v:"one"': {}},
        "f:gone": {},
    },
}


def test_what_others_said_is_left_out() -> None:
    entries = [
        {"manager": "ours", "operation": "Update", "fieldsV1": {"f:status": {}}},
        {"manager": "ours", "operation": "Apply", "fieldsV1": SAID},
    ]
    one = {
        "metadata": {
            "managedFields": entries, "name": "x", "labels": {"a": "1", "b": "2"}, "annotations": {"ours": "1", "not": "2"},
        },
        "spec": {
            "replicas": 2, "paused": False, "finalizers": ["one", "two"],
            "template": {"spec": {
                "restartPolicy": "Always",
                "containers": [{"name": "web", "args": ["a", "b"], "stdin": False}, {"name": "sidecar"}],
                "volumes": [{"name": "empty", "emptyDir": {}}],
            }},
        },
        "status": {"replicas": 2},
    }  # fmt: skip
    assert fields.owned(one, "ours") == {
        "metadata": {"labels": {"a": "1"}, "annotations": {"ours": "1"}},
        "spec": {
            "replicas": 2, "finalizers": ["one"],
            "template": {"spec": {
                "containers": [{"name": "web", "args": ["a", "b"]}], "volumes": [{"name": "empty", "emptyDir": {}}],
            }},
        },
    }  # fmt: skip
    assert fields.owned(one, "another") == {}
