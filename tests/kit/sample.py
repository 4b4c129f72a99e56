"""Popular services and runtimes of Debian, as data (``tests/e2e/sample.yaml``), and a workspace in which each is a component."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.kit.project import ROOT, Run, imgbuild, project

DATA = ROOT / "tests/e2e/sample.yaml"
NEWEST = 13


@dataclass(frozen=True, slots=True)
class Row:
    """What is installed.

    Attributes:
        debian: the release of Debian.
        definition: what its image definition says: packages, users, answers.
        covers: what its packages do that others do not (``tests.kit.installed.ITEMS``).
    """

    service: str
    debian: int
    definition: Mapping[str, Any]
    covers: tuple[str, ...]

    @property
    def name(self) -> str:
        """Of its component, its image and its test."""
        return self.service if self.debian == NEWEST else f"{self.service}-{self.debian}"

    def component(self) -> str:
        """Its definition: nothing runs, so the command is any."""
        image = {
            "summary": f"{self.service}, as an image",
            "extends": f"debian-{self.debian} ^1.0",
            "run": {"command": ["true"], "user": "root"},
            "allow": {"root": "nothing runs"},
            **self.definition,
        }
        component = {
            "dsl": 1, "component": self.name, "summary": self.service, "version": "1", "images": {self.name: image}
        }  # fmt: skip
        # JSON is YAML that needs no thought on quotes.
        return json.dumps(component, indent=1)


def rows() -> tuple[Row, ...]:
    """The sample: each service on the newest Debian, some on an older one too."""
    found = []
    for service, said in yaml.safe_load(DATA.read_text()).items():
        words = said if isinstance(said, dict) else {"packages": said}
        definition = {key: value for key, value in words.items() if key not in ("debian", "covers")}
        definition["packages"] = {"apt": words["packages"].split()}
        for debian in words.get("debian", [NEWEST]):
            found.append(Row(service, debian, definition, tuple(words.get("covers", "").split())))
    return tuple(found)


class Sample:
    """The workspace: the layers that ship and a component of each row, locked when asked."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder, self.cache = folder, cache
        project(folder, {"imgbuild.yaml": "dsl: 1\nworkspace: sample\n"})
        for debian in {row.debian for row in rows()}:
            # Without their locks: the mirror drops versions.
            name = f"layers/debian-{debian}"
            (folder / name).mkdir(parents=True)
            shutil.copy(ROOT / name / "layer.yaml", folder / name)

    def add(self, row: Row) -> None:
        """Bring a row, locked."""
        project(self.folder, {f"repos/{row.name}/component.yaml": row.component()})
        if not (self.folder / f"layers/debian-{row.debian}/lock.yaml").exists():
            self.works("lock", f"debian-{row.debian}")
        self.works("lock", row.name)

    def remove(self, row: Row) -> None:
        """Take a row away, so that those of one run do not fill the disk."""
        shutil.rmtree(self.folder / f"repos/{row.name}")
        shutil.rmtree(self.folder / f"out/{row.name}", ignore_errors=True)

    def run(self, *words: str) -> Run:
        """Run imgbuild here."""
        return imgbuild(*words, cache=self.cache, cwd=self.folder)

    def works(self, *words: str) -> Run:
        """Run imgbuild here; it must end well."""
        result = self.run(*words)
        assert result.code == 0, result.errors + result.output
        return result
