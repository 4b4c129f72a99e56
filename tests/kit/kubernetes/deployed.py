"""Sites on a cluster of the tests, and the commands on them."""

from __future__ import annotations

import contextlib
import json
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.kit.fleet import Fleet
from tests.kit.kubernetes.cluster import Cluster
from tests.kit.project import IMGBUILD, ROOT, Run, environment, imgbuild

REGISTRY = "kube.local"
"""What images on the node are called by."""


@dataclass
class Deployed:
    """A site in its own folder, and the commands on it.

    Attributes:
        workspace: where its components are from.
    """

    cluster: Cluster
    fleet: Fleet
    folder: Path
    layout: Path
    workspace: Path
    namespace: str

    @property
    def secrets(self) -> dict[str, str]:
        """By name."""
        found: dict[str, str] = yaml.safe_load((self.folder / "secrets.yaml").read_text())
        return found

    def say(self, **changes: Any) -> None:
        """Change the site's file."""
        path = self.folder / "site.yaml"
        path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes))

    def words(self, command: str, *more: str) -> tuple[str, ...]:
        """The words of a command."""
        files = ("--secrets", str(self.folder / "secrets.yaml"), "--layout", str(self.layout))
        wants = command in ("apply", "diff", "render", "step", "update")
        return ("deploy", command, str(self.folder), *(files if wants else ()), *more)

    @contextlib.contextmanager
    def running(self, command: str, *more: str) -> Iterator[subprocess.Popen[str]]:
        """A command while it runs."""
        with subprocess.Popen(
            [*IMGBUILD, *self.words(command, *more)], cwd=self.workspace,
            env=environment(self.fleet.cache, self.cluster.environment),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        ) as process:  # fmt: skip
            yield process

    def run(self, command: str, *more: str, env: dict[str, str] | None = None) -> Run:
        """Run a command of `imgbuild deploy`."""
        told = {**self.cluster.environment, **(env or {})}
        return imgbuild(*self.words(command, *more), cache=self.fleet.cache, cwd=self.workspace, env=told)

    def works(self, command: str, *more: str) -> Run:
        """The same; it must end well."""
        found = self.run(command, *more)
        assert found.code == 0, found.errors + found.output
        return found

    def get(self, *words: str) -> Any:
        """Objects of its namespace."""
        return self.cluster.get("-n", self.namespace, *words)

    def names(self, kind: str) -> set[str]:
        """The names of a kind's objects."""
        return {one["metadata"]["name"] for one in self.get(kind)["items"]}

    def token(self) -> str:
        """A token that keystone issues to its first user."""
        user = {"name": "admin", "domain": {"id": "default"}, "password": self.secrets["admin-identity"]}
        asked = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}}}
        with self.cluster.forwarded(self.namespace, "keystone", 5000) as url:
            request = urllib.request.Request(
                f"{url}/v3/auth/tokens", json.dumps(asked).encode(), {"Content-Type": "application/json"}
            )
            with urllib.request.urlopen(request, timeout=60) as answer:
                return str(answer.headers["X-Subject-Token"])


def identity(cluster: Cluster, fleet: Fleet, folder: Path) -> Deployed:
    """Keystone with what it needs, not yet applied; its images are on the node."""
    return deployed(cluster, fleet, folder, yaml.safe_load((ROOT / "examples/hosts/site.yaml").read_text()))


def deployed(cluster: Cluster, fleet: Fleet, folder: Path, site: Mapping[str, Any], where: str = ".") -> Deployed:
    """A site that is not yet applied; its images are on the node. Skips if what is locked is there no more.

    Args:
        site: what its file says, but for the registry.
        where: the workspace that its components are from, below the repository's root.
    """
    layout, workspace = folder / "layout", fleet.site / where
    words = ("build", *site["components"], "--to", f"oci:{layout}", "--json")
    built = imgbuild(*words, cache=fleet.cache, cwd=workspace)
    assert built.code == 0, built.errors
    gone = [one["image"] for one in built.json["images"] if one["tag"].endswith("-dev")]
    if gone:
        pytest.skip(f"the mirror has dropped locked versions: {', '.join(gone)}")
    cluster.load(layout, [one["image"] for one in built.json["images"]], REGISTRY)
    (folder / "site.yaml").write_text(yaml.safe_dump({**site, "registry": REGISTRY}))
    return Deployed(cluster, fleet, folder, layout, workspace, site.get("namespace", site["site"]))
