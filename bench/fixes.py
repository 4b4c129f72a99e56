"""A fix in the whole fleet against rebuilding Dockerfiles: ``python -m bench.fixes FOLDER``, as root, after ``bench.fleet``.

FOLDER is that of ``bench.fleet``, with its store, its docker and its results: all images are built on both sides. A fix is a
locked package with a higher version, in a signed repository of ours that all definitions have as a source. With ``--publish`` the results
go to ``docs/fixes.json`` and into the table of ``docs/security.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable, Collection, Iterable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench import engines, fleet, race, race_report, watch
from bench.race import Race
from bench.race_report import Case
from builder.formats import lockfile
from builder.model.lock import LockedPackage
from dsl import loading
from dsl.catalog import Catalog
from tests.kit.apt_repo import AptRepo
from tests.kit.registry import registry

START = "<!-- bench.fixes -->"
FIXES = {"openssl": "under everything", "libxml2": "under OpenStack and a few others", "nova": "one component"}
"""What is fixed, by its source package, and where it lies."""
_SITE = "fixes"


def workspace(race_: Race, components: Collection[str] = ()) -> tuple[Path, AptRepo]:
    """A copy of this workspace whose definitions have one more source, which is empty; its locks know of it, and it is built.

    Args:
        components: those that it has; none for all.
    """
    site = race_.folder / _SITE
    shutil.rmtree(site, ignore_errors=True)
    shutil.copytree(race.ROOT / "layers", site / "layers")
    for name in components or os.listdir(race.ROOT / "repos"):
        shutil.copytree(race.ROOT / "repos" / name, site / "repos" / name)
    shutil.copy(race.ROOT / "imgbuild.yaml", site)
    (site / "feed.json").write_text("{}")
    repository = AptRepo(site / "repository")
    repository.publish()
    layer = site / "layers/debian-13"
    shutil.copy(repository.keyring, layer / "fixed.gpg")
    source = f"sources:\n  fixed: {{apt: 'file://{repository.folder}', suites: [stable], keyring: fixed.gpg}}\n"
    text = (layer / "layer.yaml").read_text()
    (layer / "layer.yaml").write_text(text.replace("sources:\n", source, 1))
    race_.imgbuild("cold", "lock", "--all", cwd=site)
    race_.imgbuild("cold", "build", "--all", "--locked", "--to", f"oci:{race_.folder / 'cold/out'}", cwd=site)
    return site, repository


def locked(site: Path, source: str) -> list[LockedPackage]:
    """The packages of a source that Debian 13's definitions have locked, each once."""
    paths = [path for path in site.glob("*/*/lock.yaml") if path.parent.name not in ("debian-12", "debug")]
    found = {p.sha256: p for path in paths for lock in lockfile.read(path).locks for p in lock.packages}
    return sorted(p for p in found.values() if p.source_package == source)


def repack(race_: Race, package: LockedPackage, folder: Path, suffix: str) -> None:
    """The same package with a higher version, and so with its depending on others of its source."""
    tree = race_.folder / "repacked"
    shutil.rmtree(tree, ignore_errors=True)
    blob = race_.folder / "cold/imgbuild/blobs/sha256" / package.sha256
    watch.run(["dpkg-deb", "--raw-extract", str(blob), str(tree)])
    control = tree / "DEBIAN/control"
    text = control.read_text()
    text = text.replace(f"(= {package.version})", f"(= {package.version}{suffix})")
    control.write_text(re.sub(r"^(Version: .*)$", rf"\1{suffix}", text, flags=re.MULTILINE))
    watch.run(["dpkg-deb", "-Zxz", "-z0", "--root-owner-group", "--build", str(tree), str(folder)])
    shutil.rmtree(tree)


def fix(race_: Race, site: Path, repository: AptRepo, source: str, suffix: str) -> watch.Usage:
    """Give a source package its fix, and bring it into everything that has it: locks, layers, the layout."""
    for package in locked(site, source):
        repack(race_, package, repository.folder / "pool/stable", suffix)
    repository.publish()
    to = f"oci:{race_.folder / 'cold/out'}"
    return race_.imgbuild(
        "cold", "security", "update", "--only", source, "--feed", "feed.json", "--to", to, "--json", cwd=site
    )


def told(usage: watch.Usage) -> Any:
    """The JSON of a command, which may have told other things before."""
    return json.loads(usage.output[usage.output.index("{\n") :])


def fixed(source: str) -> Callable[[Race], dict[str, Any]]:
    """Everything that has a source package gets its fix: locks, layers, images."""

    def step(race_: Race) -> dict[str, Any]:
        runs = []
        for number in range(1, race_.runs + 1):
            site, repository = workspace(race_)
            layout = race_.folder / "cold/out"
            before = _blobs(layout)
            usage = fix(race_, site, repository, source, f"+bench{number}")
            images = told(usage)["images"]
            after = _blobs(layout)
            run = asdict(usage)
            del run["output"]
            runs.append(
                {
                    **run,
                    "images": len(images),
                    "sent": sum(size for blob, size in after.items() if blob not in before),
                    "layers": len({layer["layer"] for image in images for layer in image["layers"]}),
                }
            )
        return race.median(runs)

    return step


def pulled(source: str) -> Callable[[Race], dict[str, Any]]:
    """What engines that have all images fetch of the fixed ones, in bytes.

    Of the Dockerfiles' they fetch all that is pushed: no layer above the base is one that they have.
    """

    def step(race_: Race) -> dict[str, Any]:
        site, repository = workspace(race_)
        folder = race_.folder / "registry"
        shutil.rmtree(folder, ignore_errors=True)
        with registry(folder, counts=True) as there, ExitStack() as stack:
            pulls = _pulls(race_, stack)
            found: dict[str, Any] = {}
            for kind in ("before", "after"):
                if kind == "after":
                    fix(race_, site, repository, source, "+pulled")
                words = ("publish", "--from", f"oci:{race_.folder / 'cold/out'}", "--registry", f"{there.host}/fleet")
                images = told(race_.imgbuild("cold", *words, "--json", cwd=site))["images"]
                names = [one["reference"] for one in images if one["status"] == "published"]
                for engine, pull in pulls.items():
                    fetched = there.fetched
                    for name in names:
                        pull(name)
                    found[engine] = there.fetched - fetched
                found["images"] = len(names)
        shutil.rmtree(folder)
        return found

    return step


def _pulls(race_: Race, stack: ExitStack) -> dict[str, Callable[[str], object]]:
    """How each engine that is installed pulls an image."""
    found: dict[str, Callable[[str], object]] = {"docker": lambda name: race_.docker("pull", "--quiet", name)}
    for name in ("podman", "containerd"):
        stack.callback(engines.drop, race_.folder / name)
    env = stack.enter_context(engines.ENGINES["podman"](race_.folder / "podman", race_.docker))
    if env is not None:
        words = ["podman", "--remote", "pull", "--quiet", "--tls-verify=false"]
        found["podman"] = lambda name: watch.run([*words, name], env)
    containerd = stack.enter_context(engines.containerd(race_.folder / "containerd"))
    if containerd is not None:
        found["containerd"] = lambda name: containerd("image", "pull", "--plain-http", name)
    return found


def _blobs(layout: Path) -> dict[str, int]:
    """The size of each blob of a layout."""
    return {file.name: file.stat().st_size for file in (layout / "blobs/sha256").iterdir()}


def rebuilt(source: str) -> Callable[[Race], dict[str, Any]]:
    """The Dockerfiles that install the package, and all that stand on them, anew; what lies below is cached.

    Where that is all of them, it is what ``bench.fleet`` has measured.
    """

    def step(race_: Race) -> dict[str, Any]:
        catalog = loading.load(loading.find(race.ROOT))
        found = touched(catalog, source)
        images = {image.name for image in fleet.comparable(catalog)}
        if len(found) == len(fleet.dockerfiles(catalog)):
            known = json.loads((race_.folder / "results.json").read_text())
            return {**known["docker chain"], "images": len(images), "sent": known["docker bytes"]["compressed"]}
        built = fleet.chain(race_, found)
        layers = race_.docker.layers([f"bench/{name}" for name in found if name in images])
        kept = [f"bench/{name}" for name in fleet.dockerfiles(catalog) if name not in found]
        old = race_.docker.layers(kept) if kept else {}
        sent = sum(sizes[1] for layer, sizes in layers.items() if layer not in old)
        return {**built, "images": len(images & {*found}), "sent": sent}

    return step


def touched(catalog: Catalog, source: str) -> tuple[str, ...]:
    """The Dockerfiles that have a source package's packages, and those that stand on them."""
    files = fleet.dockerfiles(catalog)
    found: set[str] = set()
    for image in fleet.comparable(catalog):
        own = fleet.layers_of(image)[1]
        for part in image.chain():
            lock = lockfile.read(part.lock_path).get(part.name, "amd64")
            if lock and any(package.source_package == source for package in lock.packages):
                layer = fleet.SHARED if fleet.shares(image) else own[0].name
                found.add("base" if part.extends is None else layer if part.kind == "layer" else part.name)
    for name, text in files.items():
        if fleet.base_of(text) in found:
            found.add(name)
    return tuple(name for name in files if name in found)


STEPS: dict[str, Callable[[Race], dict[str, Any]]] = {
    name: step
    for source in FIXES
    for name, step in ((f"{source} fixed", fixed(source)), (f"{source} rebuilt", rebuilt(source)))
} | {"openssl pulled": pulled("openssl")}
"""What is measured, by the name that it has in the results."""


def _cases() -> Iterable[Case]:
    for source, where in FIXES.items():
        must, aim = (None, None) if source == "libxml2" else (15, 50)
        yield race_report.times(f"a fix of {source}, {where}: all images that have it", f"{source} fixed",
                                f"{source} rebuilt", must, aim)  # fmt: skip
        yield Case(
            "… compressed bytes that are pushed of them",
            lambda results, source=source: (  # type: ignore[misc]
                _megabytes(results[f"{source} fixed"]["sent"]), _megabytes(results[f"{source} rebuilt"]["sent"])
            ),
            lambda results, source=source: (  # type: ignore[misc]
                100.0 * results[f"{source} fixed"]["sent"] / results[f"{source} rebuilt"]["sent"]
            ),
            1 if source == "openssl" else None, 0.3 if source == "openssl" else None, "%", less=True,
        )  # fmt: skip
    for engine in ("docker", "podman", "containerd"):
        yield Case(
            f"the fix of openssl: bytes that {engine} then pulls of all images",
            lambda results, engine=engine: (  # type: ignore[misc]
                _megabytes(results["openssl pulled"][engine]), _megabytes(results["openssl rebuilt"]["sent"])
            ),
            lambda results, engine=engine: (  # type: ignore[misc]
                100.0 * results["openssl pulled"][engine] / results["openssl rebuilt"]["sent"]
            ),
            15, 3, "%", less=True,
        )  # fmt: skip


def _megabytes(value: float) -> str:
    return f"{value / 1e6:.1f} MB"


CASES = tuple(_cases())


def main() -> None:
    """Measure what has not been measured, and publish."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=int, default=1, help="of each; medians are shown (default: 1)")
    parser.add_argument(
        "--publish", action="store_true", help="write docs/fixes.json and the table of docs/security.md"
    )
    chosen = parser.parse_args()
    folder = chosen.folder.absolute()
    if os.geteuid():
        sys.exit("dockerd wants root")
    if not (folder / "results.json").exists():
        sys.exit(f"{folder} has no results of bench.fleet: run that first")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    results = fleet.run(folder, chosen.runs, STEPS, "fixes.json")
    if chosen.publish:
        race_report.publish_part("fixes", "security.md", START, results, page(results))
    print(race_report.table(results, CASES))


def page(results: dict[str, Any]) -> str:
    """What ``docs/security.md`` has between its marks."""
    counts = "; ".join(
        f"{source} {results[f'{source} fixed']['images']} and {results[f'{source} rebuilt']['images']}"
        for source in FIXES
    )
    return "\n".join(
        [
            f"Times {race_report.runs(results['openssl fixed'])}.",
            "",
            race_report.table(results, CASES),
            "",
            *race_report.machine(results),
            f"- Images that are new, ours and docker's: {counts}.",
        ]
    )


if __name__ == "__main__":
    main()
