"""What an image says of itself, for platforms that know none of its names."""

from __future__ import annotations

import json
from pathlib import Path

from builder.model.digest import Digest
from builder.model.lock import LockedUser
from builder.plan import config
from builder.plan.accounts import Numbers
from dsl import loading, model
from tests.kit.project import project

COMPONENT = """\
dsl: 1
component: web
summary: a server
version: "1"
images:
  web:
    summary: a server
    extends: debian-13 ^1.0
    users: {www: {uid: 33}, keeper: {uid: 7, group: www}}
    run:
      command: [server]
      user: www
      groups: [logs]
      ports: {http: 80, admin: {port: 81, summary: for us}}
      volumes:
        data: {path: /data, owner: keeper, mode: "0700"}
        plain: /plain
      writable: [/run/web, {path: /tmp, mode: "1777", size: 64Mi}]
      stop_grace: 5s
      platform: {capabilities: [NET_ADMIN]}
    config:
      /etc/web.conf: {group: www}
      /etc/more.conf: {owner: www, mode: "0600", optional: true}
    steps:
      init: {command: [server, init], user: root, needs: [database], writable: [/out]}
"""


def test_labels_have_numbers_for_names(tmp_path: Path) -> None:
    project(tmp_path, {"component.yaml": COMPONENT})
    catalog = loading.load(loading.find(tmp_path))
    (component,) = catalog.components
    users = {"www": LockedUser("www", 33, 34, "", "", ""), "keeper": LockedUser("keeper", 7, 34, "", "", "")}
    numbers = Numbers(users, {"www": 34, "logs": 40})
    described = config.describe(component, component.images[0], numbers, model.Defaults(), Digest.of(b""))
    labels = described["Labels"]
    assert described["User"] == "33:34"
    assert json.loads(labels["org.imgbuild.run"]) == {
        "groups": [40],
        "ports": {"http": 80, "admin": {"port": 81, "summary": "for us"}},
        "volumes": {
            "data": {"path": "/data", "uid": 7, "gid": 34, "mode": "0700"},
            "plain": {"path": "/plain", "uid": 33, "gid": 34, "mode": "0755"},
        },
        "writable": [
            {"path": "/run/web", "uid": 33, "gid": 34, "mode": "0755"},
            {"path": "/tmp", "uid": 0, "gid": 0, "mode": "1777", "size": "64Mi"},
        ],
        "stop_grace": "5s",
        "platform": {"capabilities": ["NET_ADMIN"]},
    }
    assert json.loads(labels["org.imgbuild.config"]) == {
        "/etc/web.conf": {"uid": 0, "gid": 34, "mode": "0640"},
        "/etc/more.conf": {"uid": 33, "gid": 34, "mode": "0600", "optional": True},
    }
    assert json.loads(labels["org.imgbuild.step.init"]) == {
        "command": ["server", "init"],
        "needs": ["database"],
        "user": "0:0",
        "writable": [{"path": "/out", "uid": 33, "gid": 34, "mode": "0755"}],
    }
