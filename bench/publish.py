"""Publishing the fleet against docker push and skopeo: ``python -m bench.publish FOLDER``, as root.

FOLDER is that of ``bench.fleet``: what it has built on both sides is taken, what is missing is built. A registry of ours (Debian's
docker-registry, on the loopback interface, with its data in FOLDER) begins empty for each run, and what comes is counted on its disk. With
``--publish`` the results go to ``docs/publish.json`` and into the table of ``docs/publish.md``; ``--only`` takes some components alone,
to try it out.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any

from bench import fixes, fleet, race, race_report, watch
from bench.race import Race
from bench.race_report import Case
from dsl import loading
from dsl.catalog import Catalog
from tests.kit.registry import Registry, registry

START = "<!-- bench.publish -->"
FIXED = "openssl"
"""The source package that is fixed: it lies under everything."""
AT_ONCE = 4
"""How much `imgbuild publish` sends at once, and how many skopeos and dockers run at once, where they do."""
_BASE = "bench/debian:13"
Step = Callable[[Race], dict[str, Any]]


def everything() -> tuple[str, ...]:
    """The components that are measured: those that the Dockerfiles install as well."""
    catalog = loading.load(loading.find(race.ROOT))
    there = {image.key for image in fleet.comparable(catalog)}
    return tuple(one.name for one in catalog.components if all(image.key in there for image in one.images))


def _catalog(components: Collection[str]) -> tuple[Catalog, tuple[str, ...]]:
    """This workspace, and the names of the images of some components."""
    catalog = loading.load(loading.find(race.ROOT))
    chosen = [one for one in catalog.components if one.name in components]
    return catalog, tuple(image.name for one in chosen for image in one.images)


def prepared(components: Collection[str]) -> Step:
    """Everything is built on both sides."""

    def step(race_: Race) -> dict[str, Any]:
        catalog, names = _catalog(components)
        race_.build("cold", *components)
        there = set(race_.docker("images", "--format", "{{.Repository}}:{{.Tag}}").split())
        if _BASE not in there:
            race.docker_base(race_)
        files = fleet.dockerfiles(catalog)
        wanted = {below for name in names for below in _standing_on(name, files)}
        missing = tuple(name for name in files if name in wanted and f"bench/{name}:latest" not in there)
        if missing:
            fleet.chain(race_, missing)
        return {"images": len(names)}

    return step


def _standing_on(name: str, files: Mapping[str, str]) -> Iterator[str]:
    """A Dockerfile, and all that it stands on."""
    while name in files:
        yield name
        name = fleet.base_of(files[name])


def _runs(race_: Race, what: Callable[[Registry], dict[str, Any]]) -> dict[str, Any]:
    """Something done some times, each with a registry that has nothing."""
    found, folder = [], race_.folder / "registry"
    for _ in range(race_.runs):
        shutil.rmtree(folder, ignore_errors=True)
        with registry(folder) as there:
            found.append(what(there))
        shutil.rmtree(folder)
    return race.median(found)


def _bytes(there: Registry) -> int:
    """What lies there: layers, configs, manifests, and what refers to images."""
    blobs = (there.folder / "data/docker/registry/v2/blobs").glob("sha256/*/*/data")
    return sum(blob.stat().st_size for blob in blobs)


def _sent(there: Registry, what: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What something took, and how much it brought."""
    before = _bytes(there)
    found = what()
    return {**found, "sent": _bytes(there) - before}


def _each(function: Callable[[str], object], names: Collection[str], at_once: int) -> dict[str, Any]:
    """A program run for each of some names."""
    with ThreadPoolExecutor(at_once) as pool:
        wall, cpu = watch.called(lambda: list(pool.map(function, names)))
    return {"wall": wall, "cpu": cpu, "images": len(names)}


def _published(
    race_: Race, there: Registry, cwd: Path, components: Collection[str], *, memory: bool = False
) -> dict[str, Any]:
    words = (
        "publish", *components, "--from", f"oci:{race_.folder / 'cold/out'}", "--registry", f"{there.host}/fleet",
        "--jobs", str(AT_ONCE), "--json",
    )  # fmt: skip
    usage = race_.imgbuild("cold", *words, cwd=cwd, memory=memory)
    told = fixes.told(usage)["images"]
    found = asdict(usage)
    del found["output"]
    return {**found, "images": len(told), "new": sum(one["status"] == "published" for one in told)}


def first(components: Collection[str]) -> Step:
    """All of a layout."""
    return lambda race_: _runs(
        race_, lambda there: _sent(there, lambda: _published(race_, there, race.ROOT, components, memory=True))
    )


def copied(components: Collection[str], at_once: int) -> Step:
    """The same by `skopeo copy --all`, image by image: the releases that the locks say are current."""

    def step(race_: Race) -> dict[str, Any]:
        plan = fixes.told(race_.imgbuild("cold", "plan", *components, "--json"))
        names = [f"{one['image']}:{one['tag']}" for one in plan["images"]]

        def run(there: Registry) -> dict[str, Any]:
            def copy(name: str) -> None:
                source, target = f"oci:{race_.folder / 'cold/out'}:{name}", f"docker://{there.host}/fleet/{name}"
                watch.run(["skopeo", "copy", "--quiet", "--all", "--dest-tls-verify=false", source, target])

            return _sent(there, lambda: _each(copy, names, at_once))

        return _runs(race_, run)

    return step


def pushed(components: Collection[str], at_once: int) -> Step:
    """The same fleet made anew from Dockerfiles, by `docker push`: none of its layers is one that the registry has.

    All but that of the image that the Dockerfiles begin with, which somebody else makes: it is there before.
    """

    def step(race_: Race) -> dict[str, Any]:
        names = _catalog(components)[1]

        def run(there: Registry) -> dict[str, Any]:
            def push(name: str) -> None:
                race_.docker("push", "--quiet", f"{there.host}/fleet/{name}")

            for name in names:
                race_.docker("tag", f"bench/{name}", f"{there.host}/fleet/{name}")
            race_.docker("tag", _BASE, f"{there.host}/fleet/debian")
            push("debian")
            found = _sent(there, lambda: _each(push, names, at_once))
            race_.docker("rmi", *(f"{there.host}/fleet/{name}" for name in (*names, "debian")))
            return found

        return _runs(race_, run)

    return step


def fix_published(components: Collection[str]) -> Step:
    """A fix below everything, built, into a registry that has the releases before; and once more, when all is there."""

    def step(race_: Race) -> dict[str, Any]:
        numbers = count(1)

        def run(there: Registry) -> dict[str, Any]:
            site, repository = fixes.workspace(race_, components)
            _published(race_, there, site, components)
            fixes.fix(race_, site, repository, FIXED, f"+publish{next(numbers)}")
            found = _sent(there, lambda: _published(race_, there, site, components))
            return {**found, "again": _published(race_, there, site, components)["wall"]}

        return _runs(race_, run)

    return step


def steps(components: Collection[str]) -> dict[str, Step]:
    """What is measured, by the name that it has in the results."""
    return {
        "prepared": prepared(components),
        "first": first(components),
        "skopeo": copied(components, 1),
        "skopeo, several at once": copied(components, AT_ONCE),
        "push": pushed(components, 1),
        "push, several at once": pushed(components, AT_ONCE),
        # Last: it adds releases to the layout.
        "fix": fix_published(components),
    }


def _quickest(results: dict[str, Any], name: str) -> dict[str, Any]:
    """The quicker way of two: one image after the other, or several at once."""
    found: dict[str, Any] = min((results[name], results[f"{name}, several at once"]), key=lambda one: one["wall"])
    return found


def _times(name: str, ours: str, theirs: str, must: float, aim: float) -> Case:
    return Case(
        name,
        lambda results: (f"{results[ours]['wall']:.2f} s", f"{_quickest(results, theirs)['wall']:.1f} s"),
        lambda results: float(_quickest(results, theirs)["wall"] / results[ours]["wall"]),
        must, aim, "×",
    )  # fmt: skip


CASES = (
    _times(f"a fix of {FIXED}, under everything: `docker push` of the rebuilt fleet", "fix", "push", 10, 50),
    Case(
        "… bytes that come to the registry",
        lambda results: (_megabytes(results["fix"]["sent"]), _megabytes(_quickest(results, "push")["sent"])),
        lambda results: 100.0 * results["fix"]["sent"] / _quickest(results, "push")["sent"],
        1, 0.3, "%", less=True,
    ),
    _times("first publish: `skopeo copy --all` of the same layout", "first", "skopeo", 1, 2),
    Case(
        "published again, nothing changed: each image",
        lambda results: (f"{results['fix']['again']:.2f} s for {results['fix']['images']}", ""),
        lambda results: float(results["fix"]["again"] / results["fix"]["images"]),
        1, 0.1, "s", less=True,
    ),
)  # fmt: skip


def _megabytes(value: float) -> str:
    return f"{value / 1e6:.1f} MB"


def main() -> None:
    """Measure what has not been measured, and publish."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=int, default=1, help="of each; medians are shown (default: 1)")
    parser.add_argument("--only", nargs="+", metavar="COMPONENT", default=(), help="these alone, to try it out")
    parser.add_argument(
        "--publish", action="store_true", help="write docs/publish.json and the table of docs/publish.md"
    )
    chosen = parser.parse_args()
    if os.geteuid():
        sys.exit("dockerd wants root")
    if chosen.only and chosen.publish:
        sys.exit("what is published is measured on all of them: leave out --only")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    results = fleet.run(chosen.folder.absolute(), chosen.runs, steps(chosen.only or everything()), "publish.json")
    if chosen.publish:
        race_report.publish_part("publish", "publish.md", START, results, page(results))
    print(race_report.table(results, CASES))


def page(results: dict[str, Any]) -> str:
    """What ``docs/publish.md`` has between its marks."""
    found = {name: results[name] for name in ("skopeo", "push")}
    several = {name: results[f"{name}, several at once"] for name in found}
    ways = "; ".join(f"{name} {found[name]['wall']:.1f} s and {several[name]['wall']:.1f} s" for name in found)
    return "\n".join(
        [
            f"{results['first']['images']} images; {race_report.runs(results['first'])}.",
            "",
            race_report.table(results, CASES),
            "",
            *race_report.machine(results),
            f"- Image after image, and {AT_ONCE} at once: {ways}; the quicker one counts. `imgbuild publish` is one run.",
            f"- First publish: {results['first']['sent'] / 1e6:.0f} MB; skopeo {_quickest(results, 'skopeo')['sent'] / 1e6:.0f} MB.",
            f"- Memory of `publish` (RSS of all its processes): {results['first']['rss'] / 1e6:.0f} MB.",
        ]
    )


if __name__ == "__main__":
    main()
