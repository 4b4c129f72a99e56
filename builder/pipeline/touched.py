"""A change in git → the components that it touches."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.tools import git
from dsl.catalog import Catalog, CatalogComponent, Definition


@dataclass(frozen=True, slots=True)
class Touched:
    """A component that a change touches.

    Attributes:
        images: all of its images.
        because: the files that changed, from the top of the workspace.
    """

    component: str
    images: tuple[str, ...]
    because: tuple[str, ...]

    def data(self) -> dict[str, Any]:
        """For machines."""
        return {"component": self.component, "images": list(self.images), "because": list(self.because)}


def since(catalog: Catalog, reference: str) -> tuple[Touched, ...]:
    """The components whose definition, overlay, lock or files are other than in a commit, or those of a layer definition below.

    What the workspace itself says concerns all of them.

    Args:
        reference: a branch, tag or commit: what counts is where this one left it.

    Raises:
        UsageError: there is no such commit, or no git.
    """
    root = catalog.root.resolve()
    files = [path for path in git.changed(root, reference) if path.is_relative_to(root)]
    found = ((component, tuple(_because(component, files, root))) for component in catalog.components)
    return tuple(
        Touched(component.name, tuple(image.name for image in component.images), tuple(str(p) for p in because))
        for component, because in found
        if because
    )


def _because(component: CatalogComponent, files: Iterable[Path], root: Path) -> list[Path]:
    parts: list[Definition | CatalogComponent] = [component]
    parts += [part for image in component.images for part in image.chain()]
    folders = {
        file.resolve().parent for part in parts for file in (part.document.file, part.lock_path, *part.document.others)
    }
    workspace = root / "imgbuild.yaml"
    return [
        file.relative_to(root)
        for file in files
        if file == workspace or any(file.is_relative_to(folder) for folder in folders)
    ]
