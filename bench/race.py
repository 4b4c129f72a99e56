"""imgbuild against Dockerfiles and mmdebstrap, on one machine: ``python -m bench.race FOLDER``, as root.

FOLDER takes all that is made, packages and docker's data too (15 GB), and ``results.json``: what stands there is not measured
again, so a run that was interrupted goes on. Packages and indexes are fetched before anything is timed, through a proxy of
ours on the loopback interface that answers docker's apt afterwards. At the end, with ``--publish``, the results go to
``docs/performance.json`` and from there into the table and the chart of ``docs/performance.md``.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench import engines, race_report, watch
from bench.engines import Containerd, Docker
from bench.mirror import Mirror
from builder import __version__
from builder.formats import lockfile
from builder.make import leave_out
from builder.model.plan import LeaveOutRules
from builder.transports import oci_layout
from dsl import loading

ROOT = Path(__file__).parent.parent
_LEFT_OUT = ("bash-completion", "docs", "examples", "headers", "info", "lintian", "locales", "man")
"""What both sides leave out: all that imgbuild's definitions do, but what packages' scripts miss when dpkg leaves it out:
units, init scripts, and tests of Python packages (py3compile ends with an error)."""
_SUITES = (
    "deb http://deb.debian.org/debian trixie main",
    "deb http://deb.debian.org/debian trixie-updates main",
    "deb http://deb.debian.org/debian-security trixie-security main",
)
_PACKAGE = b"!<arch>\n"
_FIXED = "libssl3t64"


@dataclass(frozen=True, slots=True)
class Subject:
    """What is built.

    Attributes:
        chain: the Dockerfiles that the images stand on, bottom first.
        images: those that are built one after the other, as they share their steps; the longest first.
        alone: the image that is built alone, too.
        added: the image that is added to a built component.
    """

    component: str
    chain: tuple[str, ...]
    images: tuple[tuple[str, ...], ...]
    alone: str
    added: str

    @property
    def names(self) -> tuple[str, ...]:
        """All images."""
        return tuple(name for names in self.images for name in names)


SUBJECTS = {
    "nova": Subject(
        "nova",
        ("base", "openstack-base", "nova-base"),
        (
            ("nova-compute",),
            ("nova-api", "nova-metadata"),
            ("nova-novncproxy",),
            ("nova-scheduler",),
            ("nova-conductor",),
        ),
        "nova-api",
        "nova-novncproxy",
    ),
    "memcached": Subject("memcached", ("base",), (("memcached",),), "memcached", "memcached"),
}


@dataclass(frozen=True, slots=True)
class Race:
    """Where it runs, and with what."""

    folder: Path
    subject: Subject
    runs: int
    mirror: Mirror
    docker: Docker

    def imgbuild(
        self, store: str, *words: str, env: Mapping[str, str] | None = None, cwd: Path = ROOT, memory: bool = False
    ) -> watch.Usage:
        """Run imgbuild with a store of this folder."""
        settings = {
            "XDG_CACHE_HOME": str(self.folder / store),
            "http_proxy": self.mirror.address,
            "PYTHONPATH": str(ROOT),
        }
        argv = [sys.executable, "-P", "-m", "builder.cli.main", *words]
        return watch.run(argv, {**settings, **(env or {})}, cwd, memory)

    def build(self, store: str, *targets: str, **options: Any) -> watch.Usage:
        """Build targets from their locks into the store's own layout."""
        return self.imgbuild(
            store, "build", "--locked", *targets, "--to", f"oci:{self.folder / store / 'out'}", **options
        )

    def packages(self, image: str) -> str:
        """What an image and all that it stands on ask apt for, in one line."""
        (definition,) = loading.load(loading.find(ROOT)).find(f"{self.subject.component}/{image}")
        return " ".join(name for part in definition.chain() for name in part.model.packages.apt)


def link_packages(folder: Path, store: str) -> None:
    """Make a store that has the packages that were prepared, and nothing else."""
    shutil.rmtree(folder / store, ignore_errors=True)
    target = folder / store / "imgbuild/blobs/sha256"
    target.mkdir(parents=True)
    for blob in (folder / "prepared/imgbuild/blobs/sha256").iterdir():
        with blob.open("rb") as file:
            if file.read(len(_PACKAGE)) == _PACKAGE:
                os.link(blob, target / blob.name)


def main() -> None:
    """Measure what has not been measured, and publish."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=int, default=3, help="of each; medians are shown (default: 3)")
    parser.add_argument("--subject", choices=SUBJECTS, default="nova")
    parser.add_argument("--publish", action="store_true", help="write docs/performance.json, .md and .svg")
    chosen = parser.parse_args()
    if os.geteuid():
        sys.exit("dockerd and mmdebstrap want root")
    # Who is asked to end ends his daemons, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = chosen.folder.absolute()
    results = race(folder, SUBJECTS[chosen.subject], chosen.runs)
    if chosen.publish:
        race_report.publish(results)
    print(race_report.table(results))


def race(folder: Path, subject: Subject, runs: int, only: Collection[str] = ()) -> dict[str, Any]:
    """Measure what a folder's ``results.json`` does not have yet, and give all results.

    Args:
        only: names of ``STEPS``; none for all.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "results.json"
    results: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}

    def keep(name: str, found: object) -> None:
        results[name] = found
        path.with_suffix(".new").write_text(json.dumps(results, indent=1) + "\n")
        path.with_suffix(".new").rename(path)

    if results.setdefault("subject", subject.component) != subject.component:
        sys.exit(f"{folder} is of {results['subject']}: choose another folder")
    with ExitStack() as stack:
        mirror = stack.enter_context(Mirror(folder / "mirror"))
        docker = stack.enter_context(engines.docker(folder / "docker"))
        running = Race(folder, subject, runs, mirror, docker)
        if "machine" not in results:
            keep("machine", machine(folder, docker))
        for name, step in STEPS.items():
            if name not in results and (not only or name in only):
                print(f"{name} …", file=sys.stderr, flush=True)
                keep(name, step(running))
    return results


def machine(folder: Path, docker: Docker) -> dict[str, Any]:
    """What the figures were measured on."""
    cpu = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = re.search(r"^MemTotal: *(\d+)", Path("/proc/meminfo").read_text(), re.MULTILINE)
    release = platform.freedesktop_os_release()
    command = ["stat", "--file-system", "--format=%T", str(folder)]
    return {
        "processors": os.cpu_count(),
        "processor": cpu[1] if cpu else platform.machine(),
        "memory": int(memory[1]) * 1024 if memory else 0,
        "system": f"{release['PRETTY_NAME']}, Linux {platform.release()}",
        "file system": subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip(),
        "docker": docker("version", "--format", "{{.Server.Version}}").strip(),
        "storage driver": docker("info", "--format", "{{.Driver}}").strip(),
        "python": platform.python_version(),
        "imgbuild": __version__,
    }


def median(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The run in the middle by its time on the wall, with all of them."""
    ordered = sorted(runs, key=lambda run: run["wall"])
    return {**ordered[len(ordered) // 2], "walls": [run["wall"] for run in ordered]}


def ours(race_: Race, ready: Callable[[], None], go: Callable[[], watch.Usage], runs: int = 0) -> dict[str, Any]:
    """Runs of imgbuild, each made ready before it is timed."""
    found = []
    for _ in range(runs or race_.runs):
        ready()
        usage = asdict(go())
        del usage["output"]
        found.append(usage)
    return median(found)


def theirs(race_: Race, ready: Callable[[], None], go: Callable[[], None]) -> dict[str, Any]:
    """Runs of somebody else, each made ready; one in which something was still fetched from the mirror does not count."""
    found: list[dict[str, Any]] = []
    while len(found) < race_.runs:
        ready()
        before = race_.mirror.fetched
        wall, cpu = watch.called(go)
        if race_.mirror.fetched == before:
            found.append({"wall": wall, "cpu": cpu})
        else:
            print(f"  {race_.mirror.fetched - before} files were fetched meanwhile: again", file=sys.stderr, flush=True)
    return median(found)


# what is measured, in order


def prepare(race_: Race) -> dict[str, Any]:
    """All packages of the locks, and layers that the first runs of the interpreter need nothing of."""
    race_.build("prepared", race_.subject.component)
    return {}


def docker_base(race_: Race) -> dict[str, Any]:
    """The base image of the Dockerfiles: who builds on docker pulls it, so it is timed alone."""
    folder = race_.folder / "debian"

    def ready() -> None:
        shutil.rmtree(folder, ignore_errors=True)

    def go() -> None:
        mmdebstrap(race_, folder, "--variant=minbase")

    found = theirs(race_, ready, go)
    policy = folder / "usr/sbin/policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    with subprocess.Popen(["tar", "-C", str(folder), "-c", "."], stdout=subprocess.PIPE) as tar:
        subprocess.run(
            race_.docker.argv("import", "-", "bench/debian:13"), stdin=tar.stdout, check=True, capture_output=True
        )
    return found


def excluded() -> str:
    """What both sides leave out, for dpkg."""
    return leave_out.dpkg_cfg(LeaveOutRules(kinds=_LEFT_OUT))


def mmdebstrap(race_: Race, target: Path, *options: str) -> None:
    """Run it with the excludes of both sides, over the proxy."""
    keyring = ROOT / "layers/keyrings/debian-archive.gpg"
    excludes = [f"--dpkgopt={line}" for line in excluded().splitlines()]
    argv = ["mmdebstrap", "--quiet", "--mode=root", f"--keyring={keyring}", *excludes,
            f'--aptopt=Acquire::http::Proxy "{race_.mirror.address}"', *options, "trixie", str(target), *_SUITES]  # fmt: skip
    watch.run(argv)
    # What the root keeps of the proxy's address would be asked in builds, too.
    (target / "etc/apt/apt.conf.d/99mmdebstrap").unlink(missing_ok=True)


def chain(race_: Race) -> dict[str, Any]:
    """The whole component as a chain of Dockerfiles; images that stand on the same are built at once, as Kolla does."""
    subject, docker, proxy = race_.subject, race_.docker, race_.mirror.address

    def several(names: tuple[str, ...]) -> None:
        for name in names:
            docker.build(name, proxy)

    def go() -> None:
        several(subject.chain)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(several, subject.images))

    found = theirs(race_, lambda: docker.forget(("bench/debian:13",)), go)
    return {**found, "packages": {name: installed(docker, f"bench/{name}", subject, name) for name in subject.names}}


def installed(docker: Docker, reference: str, subject: Subject, image: str) -> dict[str, int]:
    """How many packages an image has, and how many of ours it has in another version or not at all."""
    query = ["dpkg-query", "-W", "-f", "${Package} ${Version}\n"]
    theirs_ = dict(line.split() for line in docker("run", "--rm", "--network", "none", reference, *query).splitlines())
    (definition,) = loading.load(loading.find(ROOT)).find(f"{subject.component}/{image}")
    locks = (lockfile.read(part.lock_path).get(part.name, "amd64") for part in definition.chain())
    ours_ = {package.name: package.version for lock in locks if lock for package in lock.packages}
    return {"theirs": len(theirs_), "ours": len(ours_), "other": sum(theirs_.get(n) != v for n, v in ours_.items())}


def chain_added(race_: Race) -> dict[str, Any]:
    """One image with its base cached."""
    name = f"bench/{race_.subject.added}"

    def ready() -> None:
        race_.docker("rmi", "--force", name)
        race_.docker("image", "prune", "--force")

    return theirs(race_, ready, lambda: race_.docker.build(race_.subject.added, race_.mirror.address))


def chain_bytes(race_: Race) -> dict[str, Any]:
    """Bytes of the unique layers of the component's images."""
    layers = race_.docker.layers(tuple(f"bench/{name}" for name in race_.subject.names))
    raw, squeezed = (sum(sizes) for sizes in zip(*layers.values(), strict=True))
    return {"layers": len(layers), "raw": raw, "compressed": squeezed}


def one_run(race_: Race) -> dict[str, Any]:
    """One image as one RUN."""
    name = f"{race_.subject.alone}-alone"
    arguments = {"PACKAGES": race_.packages(race_.subject.alone)}

    def ready() -> None:
        race_.docker.forget(
            ("bench/debian:13", *(f"bench/{one}" for one in (*race_.subject.chain, *race_.subject.names)))
        )

    return theirs(race_, ready, lambda: race_.docker.build(name, race_.mirror.address, arguments))


def bootstrap(race_: Race) -> dict[str, Any]:
    """The same packages by mmdebstrap."""
    target = race_.folder / "bootstrapped"
    include = "--include=" + race_.packages(race_.subject.alone).replace(" ", ",")

    def ready() -> None:
        shutil.rmtree(target, ignore_errors=True)

    found = theirs(race_, ready, lambda: mmdebstrap(race_, target, "--variant=essential", include))
    ready()
    return found


def cold(race_: Race) -> dict[str, Any]:
    """Nothing there but packages."""
    return cold_of(race_, race_.subject.component)


def cold_of(race_: Race, *targets: str) -> dict[str, Any]:
    """The same for some targets."""
    return ours(race_, lambda: link_packages(race_.folder, "cold"), lambda: race_.build("cold", *targets, memory=True))


def nothing(race_: Race) -> dict[str, Any]:
    """Everything is there."""
    return ours(race_, lambda: None, lambda: race_.build("cold", race_.subject.component), 10)


def state(race_: Race) -> dict[str, Any]:
    """Package layers and unpacked packages are there, states and records are not."""
    component = race_.subject.component
    plan = json.loads(race_.imgbuild("cold", "plan", component, "--json").output)

    def ready() -> None:
        forget_states(race_.folder / "cold", plan)

    return ours(race_, ready, lambda: race_.build("cold", component))


def forget_states(folder: Path, plan: Mapping[str, Any]) -> None:
    """Remove what configuring gave from a store, and its layout.

    Args:
        folder: that has the cache of the store and the layout ``out``.
        plan: what ``imgbuild plan --json`` says.
    """
    shutil.rmtree(folder / "out", ignore_errors=True)
    for layer in (layer for image in plan["images"] for layer in image["layers"]):
        if layer["kind"] in ("state", "records"):
            key = layer["cache_key"]
            (folder / f"imgbuild/layers/{key}.json").unlink(missing_ok=True)
            shutil.rmtree(folder / f"imgbuild/trees/state-{key}", ignore_errors=True)


def our_bytes(race_: Race) -> dict[str, Any]:
    """Bytes of the unique layers of the component's images."""
    blobs = race_.folder / "cold/out/blobs/sha256"
    index = json.loads((race_.folder / "cold/out/index.json").read_text())
    manifests = (json.loads((blobs / one["digest"].partition(":")[2]).read_text()) for one in index["manifests"])
    layers = {layer["digest"]: layer["size"] for manifest in manifests for layer in manifest["layers"]}
    raw = 0
    for digest in layers:
        with (blobs / digest.partition(":")[2]).open("rb") as file, gzip.open(file) as plain:
            while piece := plain.read(1 << 20):
                raw += len(piece)
    return {"layers": len(layers), "raw": raw, "compressed": sum(layers.values())}


def fetched(race_: Race) -> dict[str, Any]:
    """Nothing there at all: packages come over the proxy, as docker's do."""

    def ready() -> None:
        shutil.rmtree(race_.folder / "fetched", ignore_errors=True)

    found = ours(race_, ready, lambda: race_.build("fetched", race_.subject.component))
    ready()
    return found


def cold_alone(race_: Race) -> dict[str, Any]:
    """One image, nothing there but packages."""
    target = f"{race_.subject.component}/{race_.subject.alone}"
    found = ours(race_, lambda: link_packages(race_.folder, "alone"), lambda: race_.build("alone", target))
    shutil.rmtree(race_.folder / "alone")
    return found


def added(race_: Race) -> dict[str, Any]:
    """The last image of a component whose others are built."""
    component, last = race_.subject.component, race_.subject.added
    others = [f"{component}/{name}" for name in race_.subject.names if name != last]

    def ready() -> None:
        link_packages(race_.folder, "added")
        if others:
            race_.build("added", *others)

    return ours(race_, ready, lambda: race_.build("added", f"{component}/{last}"))


def added_unlocked(race_: Race) -> dict[str, Any]:
    """The same where the lock does not know the image yet: indexes are fetched and its packages resolved."""
    component, last = race_.subject.component, race_.subject.added
    site = race_.folder / "site"
    words = ("build", component, "--to", f"oci:{race_.folder / 'added/out'}")

    def ready() -> None:
        workspace(site, component)
        path = site / f"repos/{component}/component.yaml"
        whole = path.read_text()
        path.write_text(without(whole, last))
        link_packages(race_.folder, "added")
        race_.imgbuild("added", "lock", component, cwd=site)
        race_.imgbuild("added", *words, cwd=site)
        shutil.rmtree(race_.folder / "added/imgbuild/apt", ignore_errors=True)
        path.write_text(whole)

    if len(race_.subject.names) == 1:
        return {}
    return ours(race_, ready, lambda: race_.imgbuild("added", *words, cwd=site))


def workspace(site: Path, component: str) -> None:
    """A copy of this workspace that has one component."""
    shutil.rmtree(site, ignore_errors=True)
    shutil.copytree(ROOT / "layers", site / "layers")
    shutil.copytree(ROOT / "repos" / component, site / "repos" / component)
    shutil.copy(ROOT / "imgbuild.yaml", site)


def without(text: str, image: str) -> str:
    """A component's text without one image: from its line to the next that is not deeper."""
    return re.sub(rf"^  {image}:\n(?:(?:   .*)?\n)*", "", text, flags=re.MULTILINE)


def rebuilt(race_: Race) -> dict[str, Any]:
    """An image before and after a fix of a library in its base: what an engine is sent of the second."""
    subject, site = race_.subject, race_.folder / "site"
    image = f"{subject.component}/{subject.alone}"
    workspace(site, subject.component)
    packages: dict[str, set[tuple[str, str]]] = {}
    for kind in ("before", "after"):
        if kind == "after":
            _fix(race_, site / "layers/debian-13")
            race_.imgbuild("site-store", "lock", "debian-13", "--update", cwd=site)
        layout = f"oci:{race_.folder / 'site-store' / kind}"
        race_.imgbuild("site-store", "build", "--locked", image, "--to", layout, cwd=site)
        locks = [lock for path in site.glob("*/*/lock.yaml") for lock in lockfile.read(path).locks]
        packages[kind] = {(p.source_package, p.source_version) for lock in locks for p in lock.packages}
        shutil.rmtree(race_.folder / kind, ignore_errors=True)
        shutil.copytree(site, race_.folder / kind)
    answer: dict[str, Any] = {"fixed": sorted({source for source, _ in packages["after"] - packages["before"]})}
    for name, engine in engines.ENGINES.items():
        with engine(race_.folder / name, race_.docker) as env:
            if env is not None:
                answer[name] = _loaded(race_, name, image, env)
    with engines.containerd(race_.folder / "containerd") as containerd:
        if containerd is not None:
            answer["containerd"] = _imported(race_, containerd)
    return answer


def _fix(race_: Race, layer: Path) -> None:
    """A newer version of a library of the base, in a folder that is a source: Debian may have no fix today."""
    locks = lockfile.read(layer / "lock.yaml").locks
    library = next(p for lock in locks for p in lock.packages if p.name == _FIXED)
    tree, folder = race_.folder / "fixed", layer / "fixed"
    shutil.rmtree(tree, ignore_errors=True)
    folder.mkdir()
    blob = race_.folder / "prepared/imgbuild/blobs/sha256" / library.sha256
    watch.run(["dpkg-deb", "--raw-extract", str(blob), str(tree)])
    control = tree / "DEBIAN/control"
    control.write_text(re.sub(r"^(Version: .*)$", r"\1+bench1", control.read_text(), flags=re.MULTILINE))
    watch.run(["dpkg-deb", "--root-owner-group", "--build", str(tree), str(folder)])
    text = (layer / "layer.yaml").read_text()
    (layer / "layer.yaml").write_text(text.replace("sources:\n", "sources:\n  fixed:\n    debs: fixed\n"))


def _loaded(race_: Race, name: str, image: str, env: Mapping[str, str]) -> dict[str, Any]:
    runs = []
    for _ in range(race_.runs):
        for kind in ("before", "after"):
            words = ("build", "--locked", image, "--to", f"{name}:")
            usage = race_.imgbuild("site-store", *words, env=env, cwd=race_.folder / kind)
            sent = re.search(rf"^{name}: .*: (.*)$", usage.output, re.MULTILINE)
            if kind == "after":
                runs.append({"wall": usage.wall, "sent": sent[1] if sent else ""})
        engines.remove(name, env, race_.subject.alone)
    return median(runs)


def _imported(race_: Race, containerd: Containerd) -> dict[str, Any]:
    """The same for containerd, to which imgbuild does not speak: its own command imports what it lacks."""
    layouts = race_.folder / "site-store"
    before, after = (oci_layout.read(layouts / kind) for kind in ("before", "after"))
    runs: list[dict[str, Any]] = []
    for _ in range(race_.runs):
        containerd.forget()
        containerd.load(before, f"{race_.subject.alone}:before")
        began = time.perf_counter()
        sent = containerd.load(after, f"{race_.subject.alone}:after")
        runs.append({"wall": round(time.perf_counter() - began, 3), "sent": f"{sent / 1e6:.1f} MB"})
    return median(runs)


STEPS: dict[str, Callable[[Race], dict[str, Any]]] = {
    "prepared": prepare,
    "cold": cold,
    "nothing changed": nothing,
    "state anew": state,
    "bytes": our_bytes,
    "cold, fetched": fetched,
    "cold, alone": cold_alone,
    "added": added,
    "added, resolved": added_unlocked,
    "docker base": docker_base,
    "docker chain": chain,
    "docker added": chain_added,
    "docker bytes": chain_bytes,
    "docker alone": one_run,
    "mmdebstrap alone": bootstrap,
    "rebuilt": rebuilt,
}
"""What is measured, by the name that it has in the results."""

if __name__ == "__main__":
    main()
