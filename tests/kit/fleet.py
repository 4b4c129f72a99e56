"""The definitions that ship and the examples, built once for a run of the tests, in a store of their own."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.kit.engines import Docker, Engine
from tests.kit.project import ROOT, imgbuild, take_kept


class Fleet:
    """Images by the folder of their definition and their name.

    The definitions are a copy, since a build writes locks. Packages of ``$IMGBUILD_TEST_CACHE``, a folder as
    ``$XDG_CACHE_HOME`` is one, are not fetched again.
    """

    def __init__(self, folder: Path) -> None:
        self.cache = folder / "cache"
        self.site = folder / "site"
        for name in ("layers", "repos", "examples"):
            shutil.copytree(ROOT / name, self.site / name)
        shutil.copy(ROOT / "imgbuild.yaml", self.site)
        take_kept(self.cache)
        self._asked: set[tuple[str, str, str]] = set()
        self._references: dict[tuple[str, str, str], str] = {}

    def layout(self, *targets: str) -> Path:
        """Build into a layout of its own: all of ``repos/`` if nothing is named."""
        out = self.cache.with_name(f"layout-{'-'.join(targets) or 'all'}")
        built = imgbuild(
            "-C", str(self.site), "build", *(targets or ("--all",)), "--locked", "--to", f"oci:{out}", "--json",
            cache=self.cache,
        )  # fmt: skip
        assert built.code == 0, built.errors + built.output
        return out

    def load(self, engine: Engine, *targets: str, where: str = ".") -> dict[str, str]:
        """Build what is not built yet, load it into an engine, and give the references by the images' names.

        Args:
            where: the workspace, below the repository's root.
        """
        kind = "docker" if isinstance(engine, Docker) else "podman"
        wanted = [target for target in targets if (kind, where, target) not in self._asked]
        if wanted:
            env = {"DOCKER_HOST": engine.host, "CONTAINER_HOST": engine.host, **engine.environment}
            words = ("-C", str(self.site / where), "build", *wanted, "--to", f"{kind}:", "--json")
            built = imgbuild(*words, cache=self.cache, env=env)
            assert built.code == 0, built.errors + built.output
            self._asked |= {(kind, where, target) for target in wanted}
            for one in built.json["images"]:
                self._references[kind, where, one["image"]] = f"{one['image']}:{one['tag']}"
        return {name: ref for (*there, name), ref in self._references.items() if there == [kind, where]}
