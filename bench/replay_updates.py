"""Replay Debian's updates over nova's images and over the fleet, for several ways to split them into layers.

``python -m bench.replay_updates CACHE_FOLDER`` takes the images from the locks, the updates of Debian 13 from the
versions in its indexes (see ``bench.learn_sources``), and writes the table and the chart of ``docs/layers.md``.
A layer's bytes are those of its .deb files: the same estimate for every way.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bench import chart, learn_sources
from builder.formats import lockfile
from builder.model.lock import LockedPackage
from builder.plan import groups
from dsl import loading

ROOT = Path(__file__).parent.parent
CONTROLLER = ("nova-api", "nova-conductor", "nova-metadata", "nova-novncproxy", "nova-scheduler")
COMPUTE = ("nova-compute",)
BUDGET = 100
"""Package layers of an image, for the ways that know no definitions (nixpkgs' default)."""
RECORDS = 95_000
"""Bytes of a records layer, which every fix sends for each image."""
NODES = {"controller": CONTROLLER, "compute": COMPUTE}
START, END = "<!-- bench.replay_updates -->", "<!-- end -->"
"""What ``docs/layers.md`` has around the results."""


@dataclass(frozen=True, slots=True)
class Definition:
    """A definition's packages. ``kind``: what ``groups.BUDGETS`` calls it."""

    name: str
    kind: str
    packages: tuple[LockedPackage, ...]


@dataclass(frozen=True, slots=True)
class Split:
    """One layer of an image. ``below``: a fix there makes this layer anew, as a Dockerfile's steps are."""

    packages: frozenset[LockedPackage]
    below: frozenset[LockedPackage] = frozenset()

    def changes(self, fixed: frozenset[str]) -> bool:
        """Whether a fix of some source packages gives this layer another digest."""
        return any(p.source_package in fixed for p in (*self.packages, *self.below))

    def size(self) -> int:
        """Bytes, roughly."""
        return sum(p.size for p in self.packages)


Chain = tuple[Definition, ...]
Layers = tuple[Split, ...]
Updates = tuple[tuple[frozenset[str], int], ...]
"""Source packages that are fixed at once, and how often that happened."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Mean bytes of a fix.

    Attributes:
        kept: bytes of all layers.
        layers: of the image that has the most.
        pushed: to a registry, for all images.
        pulled: layers that a node lacks: what it fetches where blobs are kept (containerd, podman).
        above: layers at or over the lowest that changed: what docker's graph driver fetches, and any engine unpacks.
    """

    kept: int
    layers: int
    pushed: float
    pulled: dict[str, float]
    above: dict[str, float]


def chains() -> dict[str, Chain]:
    """Each image of the fleet with the definitions it stands on, bottom first."""
    catalog = loading.load(loading.find(ROOT), ())
    images = [image for component in catalog.components for image in component.images if "@" not in image.title]
    names = {image.name for image in images}
    packages: dict[str, Definition] = {}
    for path in (*ROOT.glob("layers/*/lock.yaml"), *ROOT.glob("repos/*/lock.yaml")):
        for lock in lockfile.read(path).locks:
            kind = "layer" if path.parts[-3] == "layers" else "image" if lock.name in names else "shared"
            # Why a package is there is no part of a layer.
            packages[lock.name] = Definition(lock.name, kind, tuple(replace(one, why="") for one in lock.packages))
    return {image.name: tuple(packages[one.name] for one in image.chain() if one.name in packages) for image in images}


def everything(chain: Chain) -> tuple[LockedPackage, ...]:
    """The packages of an image, sorted by name."""
    return tuple(sorted(package for definition in chain for package in definition.packages))


def one_layer(chain: Chain) -> Layers:
    """All packages together."""
    return (Split(frozenset(everything(chain))),)


def dockerfile(chain: Chain) -> Layers:
    """A layer for each definition, as images built FROM one another: a new one below makes all above anew."""
    below: list[LockedPackage] = []
    found: list[Split] = []
    for definition in chain:
        found.append(Split(frozenset(definition.packages), frozenset(below)))
        below += definition.packages
    return tuple(found)


def by_size(chain: Chain) -> Layers:
    """A layer for each package up to the budget, largest first; the others share the top one."""
    return _one_each(sorted(everything(chain), key=lambda p: (-p.size, p.name)))


def popularity(depends: dict[str, frozenset[str]]) -> Callable[[Chain], Layers]:
    """A layer for each package up to the budget, those that most others need first (nixpkgs' order)."""

    def split(chain: Chain) -> Layers:
        packages = everything(chain)
        names = {p.name for p in packages}
        needed: Counter[str] = Counter()
        for package in packages:
            reached, todo = {package.name}, [package.name]
            while todo:
                fresh = (depends.get(todo.pop(), frozenset()) & names) - reached
                reached |= fresh
                todo += fresh
            needed.update(reached)
        return _one_each(sorted(packages, key=lambda p: (-needed[p.name], p.name)))

    return split


def ours(chain: Chain) -> Layers:
    """Cold groups definition by definition, then hot groups in one order: as a new lock groups, and the planner lays."""
    found: list[groups.Group] = []
    for definition in chain:
        found += groups.groups(definition.packages, groups.grouping(definition.packages, None, definition.kind))
    cold = [group for group in found if not group.hot]
    hot = sorted((group for group in found if group.hot), key=lambda group: groups.hot_rank(group.name))
    return tuple(Split(frozenset(group.packages)) for group in (*cold, *hot))


@contextmanager
def table(path: Path) -> Iterator[None]:
    """Groups by another table for a while."""
    shipped = groups.TABLE
    try:
        groups.TABLE = path
        groups.clear()
        yield
    finally:
        groups.TABLE = shipped
        groups.clear()


def cost(images: dict[str, Layers], updates: Updates) -> Cost:
    """What an update costs, the mean over all that touch an image."""
    pushed, weight = 0.0, 0
    pulled, above = dict.fromkeys(NODES, 0.0), dict.fromkeys(NODES, 0.0)
    for fixed, count in updates:
        changed = {name: tuple(layer.changes(fixed) for layer in layers) for name, layers in images.items()}
        touched = [name for name, marks in changed.items() if any(marks)]
        if not touched:
            continue
        weight += count
        pushed += count * (_sum_new(images, changed, touched) + RECORDS * len(touched))
        for node, names in NODES.items():
            here = [name for name in names if name in touched]
            records = RECORDS * len(here)
            pulled[node] += count * (_sum_new(images, changed, here) + records)
            above[node] += count * (_sum_above(images, changed, here) + records)
    return Cost(
        sum(layer.size() for layer in {layer for layers in images.values() for layer in layers}),
        max(len(layers) for layers in images.values()),
        pushed / weight,
        {node: value / weight for node, value in pulled.items()},
        {node: value / weight for node, value in above.items()},
    )


def _one_each(ordered: list[LockedPackage]) -> Layers:
    alone, rest = ordered[: BUDGET - 1], ordered[BUDGET - 1 :]
    return (*(Split(frozenset({package})) for package in alone), *([Split(frozenset(rest))] if rest else []))


def _sum_new(images: dict[str, Layers], changed: dict[str, tuple[bool, ...]], names: Iterable[str]) -> int:
    new = {layer for name in names for layer, mark in zip(images[name], changed[name], strict=True) if mark}
    return sum(layer.size() for layer in new)


def _sum_above(images: dict[str, Layers], changed: dict[str, tuple[bool, ...]], names: Iterable[str]) -> int:
    found: set[Layers] = set()
    for name in names:
        layers = images[name]
        found.update(layers[: end + 1] for end in range(changed[name].index(True), len(layers)))
    return sum(layers[-1].size() for layers in found)


def dependencies(text: str) -> dict[str, frozenset[str]]:
    """What each package of an index depends on, by name."""
    found: dict[str, frozenset[str]] = {}
    for fields in learn_sources.stanzas(text):
        wanted = f"{fields.get('Depends', '')}, {fields.get('Pre-Depends', '')}"
        names = {re.split(r"[\s:(\[]", part.strip(), maxsplit=1)[0] for part in re.split(r"[,|]", wanted)}
        found[fields["Package"]] = frozenset(names - {""})
    return found


def main(cache: Path) -> None:
    """Replay the updates and write table and chart."""
    history = learn_sources.history(cache)
    single: Updates = tuple((frozenset({source}), count) for source, count in sorted(history["trixie"].items()))
    newer = [learn_sources.ahead(*learn_sources.release(cache, name)) for name in learn_sources.RELEASES]
    ahead: Updates = ((frozenset().union(*newer), 1),)
    fleet = chains()
    popular = popularity(dependencies(learn_sources.index(cache, "trixie")))
    ways: tuple[tuple[str, Callable[[Chain], Layers]], ...] = (
        ("one layer", one_layer),
        ("a layer per definition, FROM", dockerfile),
        ("popularity order", popular),
        ("a layer per package", by_size),
        ("imgbuild", ours),
    )
    splits = {name: {image: way(chain) for image, chain in fleet.items()} for name, way in ways}
    with table(cache / "debian-12.yaml"):
        learn_sources.write(groups.TABLE, history["bookworm"], learn_sources.index(cache, "bookworm"))
        splits["imgbuild, table of Debian 12 alone"] = {image: ours(chain) for image, chain in fleet.items()}
    nova = {name: {image: images[image] for image in (*CONTROLLER, *COMPUTE)} for name, images in splits.items()}
    costs = {name: cost(images, single) for name, images in nova.items()}
    at_once = {name: cost(images, ahead).pushed for name, images in nova.items()}
    whole = {name: cost(images, single) for name, images in splits.items()}
    touched = {p.source_package for image in (*CONTROLLER, *COMPUTE) for p in everything(fleet[image])}
    count = sum(times for fixed, times in single if fixed & touched)
    together = len(ahead[0][0] & touched)
    rows = [
        f"Mean megabytes per update, over the {count} updates of Debian 13 that touched nova's six images; in the last",
        f"column the {together} of their sources that a security suite (of Debian 12 or 13) has newer than its main suite,",
        "all at once.",
        "",
        *_rows(costs, at_once),
        "",
        f"All {len(fleet)} images of this repository, over all updates that touched one:",
        "",
        "| way | most layers | all packages | pushed |",
        "|---|--:|--:|--:|",
        *(f"| {name} | {x.layers} | {x.kept / 1e6:.0f} | {x.pushed / 1e6:.1f} |" for name, x in whole.items()),
    ]
    _write_results(rows, costs)


def _rows(costs: dict[str, Cost], at_once: dict[str, float]) -> list[str]:
    rows = [
        "| way | layers | pushed | controller fetches | … unpacks | compute node fetches | … unpacks | all at once, pushed |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name, found in costs.items():
        nodes = (value for node in NODES for value in (found.pulled[node], found.above[node]))
        values = (found.pushed, *nodes, at_once[name])
        rows.append(f"| {name} | {found.layers} | " + " | ".join(f"{value / 1e6:.1f}" for value in values) + " |")
    return rows


def _write_results(rows: list[str], costs: dict[str, Cost]) -> None:
    page = ROOT / "docs/layers.md"
    before, _, rest = page.read_text().partition(START)
    page.write_text("\n".join([before + START, *rows, END]) + rest.partition(END)[2])
    drawn = [
        chart.Row(name, (x.pushed / 1e6, x.pulled["controller"] / 1e6, x.above["controller"] / 1e6))
        for name, x in costs.items()
    ]
    series = ("pushed to the registry", "fetched by a controller", "unpacked by a controller")
    title = "A security update of nova's six images: megabytes (log scale)"
    (ROOT / "docs/layers.svg").write_text(chart.svg(title, series, drawn, (1, 10, 100, 1000)))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m bench.replay_updates CACHE_FOLDER")
    main(Path(sys.argv[1]))
