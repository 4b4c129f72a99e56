"""Rendered configuration → immutable ConfigMaps and Secrets whose names say what they hold, and where they are mounted."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from builder.deploy.kubernetes import metadata
from builder.deploy.kubernetes.target import Target
from builder.deploy.kubernetes.text import Octal
from builder.deploy.kubernetes.waves import FIRST
from builder.deploy.workload import ConfigFile, Variable, Workload


@dataclass(frozen=True, slots=True)
class Kept:
    """What pods are configured from.

    Attributes:
        objects: the ConfigMaps and Secrets.
        withheld: the names of those Secrets that are left out, each with the secrets that its texts want.
        volumes, mounts: of a pod, for files.
        env: of a container, for variables.
    """

    objects: tuple[dict[str, Any], ...] = ()
    withheld: tuple[tuple[str, tuple[str, ...]], ...] = ()
    volumes: tuple[dict[str, Any], ...] = ()
    mounts: tuple[dict[str, Any], ...] = ()
    env: tuple[dict[str, Any], ...] = ()


def files(one: Workload, target: Target) -> Kept:
    """The files of a workload: those with secrets in a Secret, the others in a ConfigMap, each at its final path."""
    found = _Found(one, target)
    for secret, name in ((False, "config"), (True, "secret-config")):
        mine = [file for file in one.files if bool(file.secrets) == secret]
        if not mine:
            continue
        keys = _keys(mine)
        texts = {keys[file.path]: file.text for file in mine}
        called = found.put(name, texts, sorted({each for file in mine for each in file.secrets}), secret=secret)
        items = [
            {"key": keys[file.path], "path": keys[file.path], "mode": Octal(int(file.mode, 8))} for file in mine
        ]  # fmt: skip
        source = {"secret": {"secretName": called, "items": items}} if secret else {}
        found.volumes.append({"name": name, **(source or {"configMap": {"name": called, "items": items}})})
        found.mounts += [
            {"name": name, "mountPath": file.path, "subPath": keys[file.path], "readOnly": True} for file in mine
        ]
    return found.kept()


def variables(one: Workload, target: Target, name: str, given: Sequence[Variable]) -> Kept:
    """Variables of the site's: those with secrets from a Secret, the others as they are.

    Args:
        name: what the Secret's name says after the workload's: ``env``, or a step's.
    """
    found = _Found(one, target)
    secret = [each for each in given if each.secrets]
    called = ""
    if secret:
        texts = {each.name: each.text for each in secret}
        called = found.put(name, texts, sorted({s for each in secret for s in each.secrets}), secret=True)
    for each in given:
        source = {"valueFrom": {"secretKeyRef": {"name": called, "key": each.name}}}
        found.env.append({"name": each.name, **(source if each.secrets else {"value": each.text})})
    return found.kept()


class _Found:
    """What is found on the way."""

    def __init__(self, one: Workload, target: Target) -> None:
        self._one, self._target = one, target
        self._objects: list[dict[str, Any]] = []
        self._withheld: list[tuple[str, tuple[str, ...]]] = []
        self.volumes: list[dict[str, Any]] = []
        self.mounts: list[dict[str, Any]] = []
        self.env: list[dict[str, Any]] = []

    def put(self, name: str, texts: dict[str, str], wanted: Sequence[str], *, secret: bool) -> str:
        """Keep some texts: the name of the object."""
        called = metadata.marked(f"{self._one.key}-{name}", texts)
        labels = metadata.lasting(self._one, self._target)
        described = metadata.described(called, self._target, labels, FIRST)
        if not secret:
            self._objects.append(
                {"apiVersion": "v1", "kind": "ConfigMap", "metadata": described, "immutable": True, "data": texts}
            )
        elif self._target.unknown.intersection(wanted):
            self._withheld.append((called, tuple(wanted)))
        else:
            data = {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}
            kind = {"apiVersion": "v1", "kind": "Secret", "type": "Opaque"}
            self._objects.append({**kind, "metadata": described, "immutable": True, "data": data})
        return called

    def kept(self) -> Kept:
        """All of it."""
        return Kept(
            tuple(self._objects), tuple(self._withheld), tuple(self.volumes), tuple(self.mounts), tuple(self.env)
        )  # fmt: skip


def _keys(files_: Iterable[ConfigFile]) -> dict[str, str]:
    # A key has no slash: /etc/nova/nova.conf is etc.nova.nova.conf.
    found: dict[str, str] = {}
    for file in files_:
        key = re.sub(r"[^A-Za-z0-9._-]", "-", file.path.strip("/").replace("/", "."))
        found[file.path] = f"{key}-{metadata.hashed(file.path)}" if key in found.values() else key
    return found
