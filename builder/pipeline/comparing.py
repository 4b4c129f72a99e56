"""Images that were built → held against the ordinary way of installing the same packages: are they the same system?"""

from __future__ import annotations

import difflib
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder import file_differences, transports
from builder.compare import exceptions, ordinary, own, view
from builder.compare.exceptions import Exception_
from builder.errors import CompareError
from builder.file_differences import FileDifference
from builder.formats import tree
from builder.model.image import StoredImage
from builder.model.lock import Artifact, LockedPackage
from builder.model.plan import ImagePlan, StateLayerPlan, WheelLayerPlan
from builder.pipeline import packages, rebuilding
from builder.pipeline.edges import Edges
from builder.tools import process, rootless
from builder.tools.store import Store
from dsl.catalog import Catalog

TEXT_LIMIT = 1 << 20


@dataclass(frozen=True, slots=True)
class Compared:
    """An image and how it differs from the ordinary way.

    Attributes:
        name: of the image, as it is called on the command line.
        paths, records: how many were compared.
        packages: how many were installed.
        definition: how many paths and records are the definition's own, by what they are; they are as it says.
        explained: differences by the name of the exception that explains them.
        unexplained: what nothing explains; the ordinary way is the old side.
        texts: unified diffs of texts that differ unexplained, by path.
        kept: where both sides of files that differ unexplained lie, if they were kept.
    """

    name: str
    paths: int
    records: int
    packages: int
    definition: Mapping[str, int]
    explained: Mapping[str, tuple[FileDifference, ...]]
    unexplained: tuple[FileDifference, ...]
    texts: Mapping[str, str]
    kept: str = ""

    @property
    def same(self) -> bool:
        """Whether every difference has its reason."""
        return not self.unexplained

    def data(self) -> dict[str, Any]:
        """For machines."""
        return {
            "image": self.name,
            "same": self.same,
            "paths": self.paths,
            "records": self.records,
            "packages": self.packages,
            "definition": dict(self.definition),
            "explained": {name: [one.path for one in found] for name, found in self.explained.items()},
            "unexplained": [
                {"path": one.path, "ordinary": one.old, "image": one.new, "diff": self.texts.get(one.path)}
                for one in self.unexplained
            ],
            "kept": self.kept or None,
        }


def compare(
    catalog: Catalog,
    images: Iterable[StoredImage],
    edges: Edges,
    *,
    rules: tuple[Exception_, ...] | None = None,
    keep: Path | None = None,
) -> Iterator[Compared]:
    """Install the packages of images the ordinary way, and compare everything.

    Args:
        images: of layouts, which keep their locks.
        rules: what may differ; the list that ships if None.
        keep: a folder for both sides of files that differ without a reason.

    Raises:
        ImageError: an image has no lock beside it, or is damaged.
        StaleLock: its definition, or imgbuild's rules, are not those it was made by.
        FetchError: a locked package is nowhere to be had.
        CompareError: mmdebstrap is not there, or cannot install the packages.
    """
    require()
    scans: tree.Scans = {}
    for stored in images:
        yield _compare(catalog, stored, edges, exceptions.shipped() if rules is None else rules, keep, scans)


def stored(catalog: Catalog, targets: Iterable[str], store: Store) -> tuple[StoredImage, ...]:
    """The stored images that targets mean: a component is the newest release of each of its images.

    Raises:
        UsageError: there is none.
    """
    own_ = {
        component.name: [f"{image.name}:{component.stream}".rstrip(":") for image in component.images]
        for component in catalog.components
    }
    names = []
    for target in targets:
        place, colon, name = target.rpartition(":")
        component, _, image = name.rpartition("/")
        if name in own_ and (place in ("", "oci") or not colon or place.startswith("oci:")):
            names += [f"{place}{colon}{one}" for one in own_[name]]
        elif component in own_ and (found := [one for one in own_[component] if one.partition(":")[0] == image]):
            names.append(f"{place}{colon}{found[0]}")
        else:
            names.append(target)
    return tuple(found for name in dict.fromkeys(names) for found in transports.read_chosen(name, store, catalog.names))


def require() -> str:
    """mmdebstrap's version.

    Raises:
        CompareError: it is not installed.
    """
    try:
        return process.run([ordinary.PROGRAM, "--version"], check=False).text.strip()
    except FileNotFoundError:
        message = f"{ordinary.PROGRAM} is not installed: it is the ordinary way that images are compared with"
        raise CompareError(message, ordinary.HINT) from None


def _compare(
    catalog: Catalog,
    stored: StoredImage,
    edges: Edges,
    rules: tuple[Exception_, ...],
    keep: Path | None,
    scans: tree.Scans,
) -> Compared:
    image = transports.parsed(stored)
    definition, locks, plan = rebuilding.planned(catalog, stored, image, edges)
    state = _state(plan)
    wanted = tuple(package for part in state.chain() for package in part.packages)
    wheels = [layer for layer in plan.layers if isinstance(layer, WheelLayerPlan)]
    artifacts: list[Artifact] = [*wanted]
    for layer in wheels:
        artifacts += [*layer.wheels, *layer.compiler]
    packages.fetch(catalog, (definition,), tuple(artifacts), edges, locks.values())
    edges.reporter.step(f"installing {len(wanted)} packages of {plan.image} the ordinary way")
    rootless.require()
    with edges.store.temporary_folder() as folder:
        try:
            tar = rootless.call(
                ordinary.install, state, edges.store, folder, edges.store.log(f"compare-{plan.image}-{plan.tag}")
            )
            edges.reporter.step(f"comparing {plan.image}:{plan.tag}")
            translations = "locales" not in state.leave_out.kinds
            left = view.of(tree.of_tar(tar, view.wanted), translations=translations)
            there = tree.of_image(image, view.wanted, scans)
            right = view.of(there, translations=translations)
            expected = own.expected(left, right, plan, view.numbers(there), edges.store)
            found = file_differences.compared(expected.view, right)
            changed = [one.path for one in found if "content" in one.old and "content" in one.new]
            texts = (
                tree.contents_of_tar(tar, changed, TEXT_LIMIT),
                tree.contents(image, changed, TEXT_LIMIT),
            )
            return _told(stored.name, expected, right, wanted, found, rules, texts, keep)
        finally:
            rootless.call(_empty, folder)


def _told(
    name: str, expected: own.Expected, right: view.View, wanted: tuple[LockedPackage, ...],
    found: Iterable[FileDifference], rules: tuple[Exception_, ...],
    texts: tuple[Mapping[str, bytes], Mapping[str, bytes]], keep: Path | None,
) -> Compared:  # fmt: skip
    explained: dict[str, list[FileDifference]] = {}
    unexplained: list[FileDifference] = []
    diffs: dict[str, str] = {}
    for one in found:
        lines = _lines(one.path, texts)
        differing = [line[1:] for line in lines[2:] if line[:1] in "+-"]
        if "content" not in one.old:
            differing += [*one.old.values(), *one.new.values()]
        dangling = expected.dangling(one.path)
        reason = expected.reason(one) or next(
            (rule.name for rule in rules if rule.explains(one, differing, dangling=dangling)), ""
        )
        if not reason:
            unexplained.append(one)
            if lines:
                diffs[one.path] = "\n".join(lines)
        else:
            explained.setdefault(reason, []).append(one)
    kept = ""
    paths = [one.path for one in unexplained if one.path in texts[0] or one.path in texts[1]]
    if keep and paths:
        kept = str(keep)
        for side, files in zip(("ordinary", "image"), texts, strict=True):
            for path in paths:
                if path in files:
                    place = keep / side / path
                    place.parent.mkdir(parents=True, exist_ok=True)
                    place.write_bytes(files[path])
    kinds = Counter(":" in path.partition("/")[0] for path in right)
    return Compared(
        name, kinds[False], kinds[True], len(wanted), expected.counts,
        {reason: tuple(rows) for reason, rows in sorted(explained.items())}, tuple(unexplained), diffs, kept,
    )  # fmt: skip


def _lines(path: str, texts: tuple[Mapping[str, bytes], Mapping[str, bytes]]) -> list[str]:
    """A unified diff; empty if one side is no text."""
    sides = []
    for found in texts:
        data = found.get(path)
        if data is None or b"\0" in data:
            return []
        sides.append(data.decode(errors="backslashreplace").splitlines())
    return list(difflib.unified_diff(sides[0], sides[1], f"ordinary/{path}", f"image/{path}", lineterm="", n=1))


def _state(plan: ImagePlan) -> StateLayerPlan:
    return [layer for layer in plan.layers if isinstance(layer, StateLayerPlan)][-1]


def _empty(folder: Path) -> None:
    """Remove what is in a folder, whoever owns it."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
