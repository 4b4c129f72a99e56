"""Programs of Debian 13, found by our own resolver: those that an older libc runs as well, on whatever machine the tests run."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from builder.model.digest import Digest
from builder.pipeline import locking, packages, workspace
from builder.pipeline.edges import Edges
from builder.report import Silent
from builder.tools.store import Store
from tests.kit.project import imgbuild, project, take_kept

_COMPONENT = """\
dsl: 1
component: tools
summary: programs that tests run
version: "1"
images:
  tools:
    summary: all of them
    extends: {layer} ^1.0
    packages: {{apt: [{names}]}}
    run: {{command: [none], user: www-data}}
"""


@dataclass(frozen=True, slots=True)
class Tools:
    """Unpacked packages.

    Attributes:
        versions: of them, by name.
    """

    root: Path
    versions: Mapping[str, str]

    @property
    def programs(self) -> Path:
        """Where they lie."""
        return self.root / "usr/bin"

    def run(
        self, name: str, *words: str | Path, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a program, whatever becomes of it."""
        return subprocess.run(
            [self.programs / name, *words],
            env={**os.environ, **(env or {})},
            capture_output=True,
            text=True,
            check=False,
        )


def tools(folder: Path, names: Sequence[str], layer: str = "debian-13") -> Tools:
    """Packages of a release of Debian, with what they need, unpacked and not configured.

    Args:
        layer: the definition that says of which.
    """
    site = project(
        folder / "site",
        {
            "imgbuild.yaml": "dsl: 1\nworkspace: tools\n",
            "repos/tools/component.yaml": _COMPONENT.format(names=", ".join(names), layer=layer),
        },
    )
    cache = folder / "cache"
    take_kept(cache)
    locked = imgbuild("lock", "tools", cache=cache, cwd=site)
    assert locked.code == 0, locked.errors
    store = Store(cache / "imgbuild")
    catalog = workspace.load(site, (), store, Silent())
    images = catalog.find("tools")
    locks = locking.read(images[0].chain(), packages.architecture(catalog))
    wanted = locks[images[0].key].packages
    packages.fetch(catalog, images, wanted, Edges(store, Silent(), 2), locks.values())
    root = folder / "root"
    for one in wanted:
        subprocess.run(["dpkg-deb", "--extract", store.path(Digest.from_hex(one.sha256)), root], check=True)
    return Tools(root, {one.name: one.version for one in wanted})
