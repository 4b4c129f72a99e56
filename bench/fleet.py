"""The whole fleet against a chain of Dockerfiles as Kolla makes it: ``python -m bench.fleet FOLDER``, as root.

FOLDER takes all that is made (40 GB), and ``results.json``: what stands there is not measured again. The Dockerfiles are
made from the definitions: base → openstack-base → COMPONENT-base → each image, each with the packages that its
definition asks for. What has environments of wheels, which the Dockerfiles would not install, stays out of both.
Everything else is as in ``bench.race``, whose proxy, base image and daemon are used. With ``--publish``
the results go to ``docs/fleet.json`` and into the table of ``docs/fleet.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import signal
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench import engines, race, race_report
from bench.mirror import Mirror
from bench.race import Race, Subject
from dsl import loading, model
from dsl.catalog import Catalog, Definition

START = "<!-- bench.fleet -->"
SHARED = "openstack-base"
"""What the images of OpenStack stand on; all others stand on the base alone."""
_INSTALL = (
    "apt-get update && apt-get -y install --no-install-recommends {} && apt-get clean && rm -rf /var/lib/apt/lists/*"
)
BASE = frozenset({"adduser", "ca-certificates", "netbase", "tzdata"})
"""What every Dockerfile stands on."""
_EVERYTHING = Subject("--all", (), (), "", "")


def dockerfiles(catalog: Catalog) -> dict[str, str]:
    """The text of each Dockerfile by the name of what it makes, those below before those above."""
    found = {"base": _base(catalog)}
    for image in comparable(catalog):
        layers, own = layers_of(image)
        below = "base"
        if shares(image):
            below = SHARED
            found.setdefault(SHARED, "\n".join(["FROM bench/base", *_steps(layers)]) + "\n")
            layers = ()
        for part in own:
            found.setdefault(part.name, "\n".join([f"FROM bench/{below}", *_steps([*layers, part])]) + "\n")
            below, layers = part.name, ()
    return found


def comparable(catalog: Catalog) -> tuple[Definition, ...]:
    """The images that packages make alone."""
    images = (image for component in catalog.components for image in component.images)
    return tuple(image for image in images if not any(part.model.environments for part in image.chain()))


def layers_of(image: Definition) -> tuple[tuple[Definition, ...], tuple[Definition, ...]]:
    """The layer definitions above the base that an image stands on, and what is its component's own."""
    above = image.chain()[1:]
    return tuple(p for p in above if p.kind == "layer"), tuple(p for p in above if p.kind != "layer")


def shares(image: Definition) -> bool:
    """Whether an image stands on what those of OpenStack share."""
    return any(part.name == "openstack" for part in layers_of(image)[0])


def groups(files: dict[str, str]) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
    """What is built one after the other, as it stands on each other: on the base alone, and on what OpenStack shares."""
    names: dict[str, list[str]] = {}
    top: dict[str, str] = {}
    for name, text in files.items():
        below = base_of(text)
        if name in ("base", SHARED):
            continue
        top[name] = top.get(below, name)
        names.setdefault(top[name], []).append(name)
    on_base = [tuple(found) for first, found in names.items() if files[first].startswith("FROM bench/base\n")]
    return on_base, [tuple(found) for first, found in names.items() if tuple(found) not in on_base]


def _base(catalog: Catalog) -> str:
    users = {}
    for definition in catalog.definitions():
        for name, user in definition.model.users.items():
            if user.uid is not None:
                users[name] = user.uid
    made = " && ".join(
        f"(getent group {name} > /dev/null || groupadd --gid {uid} {name}) && useradd --uid {uid} --gid {name} --no-create-home {name}"
        for name, uid in sorted(users.items())
    )
    # adduser takes no user for a system's whose number is higher than its own would be.
    raised = "printf 'LAST_SYSTEM_UID=59999\\nLAST_SYSTEM_GID=59999\\n' >> /etc/adduser.conf"
    return (
        "FROM bench/debian:13\nENV LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive\n"
        f"RUN {made}\nRUN {_INSTALL.format(' '.join(sorted(BASE)))} && {raised}\n"
    )


def _steps(parts: Sequence[Definition]) -> Iterator[str]:
    answers = [
        f"{package} {question} {_answer(answer)}"
        for part in parts
        for package, asked in part.model.debconf.items()
        for question, answer in asked.items()
    ]
    if answers:
        yield f"RUN printf '%s\\n' {' '.join(map(shlex.quote, answers))} | debconf-set-selections"
    packages = [name for part in parts for name in part.model.packages.apt]
    if packages:
        yield f"RUN {_INSTALL.format(' '.join(map(shlex.quote, packages)))}"


def _answer(answer: str | bool | int | model.Answer) -> str:
    if isinstance(answer, model.Answer):
        return f"{answer.type} {str(answer.value).lower() if isinstance(answer.value, bool) else answer.value}"
    return f"boolean {str(answer).lower()}" if isinstance(answer, bool) else f"string {answer}"


def base_of(text: str) -> str:
    """The name of the Dockerfile that a Dockerfile stands on."""
    return text.partition("\n")[0].removeprefix("FROM bench/")


def chain(race_: Race, names: Collection[str] | None = None) -> dict[str, Any]:
    """Images as Dockerfiles; what does not stand on each other is built at once.

    Args:
        names: of the Dockerfiles to build, if not all: what they stand on is there.
    """
    files = dockerfiles(loading.load(loading.find(race.ROOT)))
    wanted = files.keys() if names is None else names
    folder = race_.folder / "dockerfiles"
    for name, text in files.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / "Dockerfile").write_text(text)
    on_base, on_shared = groups(files)

    def several(some: tuple[str, ...]) -> None:
        for name in some:
            if name in wanted:
                race_.docker.build(name, race_.mirror.address, folder=folder)

    def go() -> None:
        several(("base",))
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            shared = pool.submit(several, (SHARED,))
            work: list[Future[None]] = [pool.submit(several, names) for names in on_base]
            shared.result()
            work += [pool.submit(several, names) for names in on_shared]
            for one in work:
                one.result()

    kept = ("bench/debian:13", *(f"bench/{name}" for name in files if name not in wanted))
    return race.theirs(race_, lambda: race_.docker.forget(kept), go)


def docker_bytes(race_: Race) -> dict[str, Any]:
    """Bytes of the unique layers of all images."""
    names = [f"bench/{image.name}" for image in comparable(loading.load(loading.find(race.ROOT)))]
    layers = race_.docker.layers(names)
    raw, squeezed = (sum(sizes) for sizes in zip(*layers.values(), strict=True))
    return {"images": len(names), "layers": len(layers), "raw": raw, "compressed": squeezed}


def cold(race_: Race) -> dict[str, Any]:
    """Nothing there but packages."""
    images = comparable(loading.load(loading.find(race.ROOT)))
    return race.cold_of(race_, *(f"{image.component}/{image.name}" for image in images))


def nothing(race_: Race) -> dict[str, Any]:
    """Everything is there, what has environments as well."""
    race_.build("cold", "--all")
    return race.nothing(race_)


STEPS: dict[str, Callable[[Race], dict[str, Any]]] = {
    "prepared": race.prepare,
    "cold": cold,
    "bytes": race.our_bytes,
    "nothing changed": nothing,
    "docker base": race.docker_base,
    "docker chain": chain,
    "docker bytes": docker_bytes,
}
"""What is measured, by the name that it has in the results."""
CASES = (
    race_report.times("all images, nothing cached but packages; chain of Dockerfiles", "cold", "docker chain", 5, 10),
    race_report.share("compressed", 60, 40),
    race_report.share("raw"),
    race_report.Case(
        "nothing changed: `build --all`",
        lambda results: (f"{results['nothing changed']['wall']:.2f} s", ""),
        lambda results: float(results["nothing changed"]["wall"]),
        2, 2, "s", less=True,
    ),
)  # fmt: skip


def main() -> None:
    """Measure what has not been measured, and publish."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=int, default=1, help="of each; medians are shown (default: 1)")
    parser.add_argument("--publish", action="store_true", help="write docs/fleet.json and the table of docs/fleet.md")
    chosen = parser.parse_args()
    if os.geteuid():
        sys.exit("dockerd and mmdebstrap want root")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    results = run(chosen.folder.absolute(), chosen.runs, STEPS)
    if chosen.publish:
        race_report.publish_part("fleet", "fleet.md", START, results, page(results))
    print(race_report.table(results, CASES))


def run(
    folder: Path, runs: int, steps: Mapping[str, Callable[[Race], dict[str, Any]]], file: str = "results.json"
) -> dict[str, Any]:
    """Measure what a folder's results do not have yet, and give all of them."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / file
    results: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    with ExitStack() as stack:
        mirror = stack.enter_context(Mirror(folder / "mirror"))
        docker = stack.enter_context(engines.docker(folder / "docker"))
        running = Race(folder, _EVERYTHING, runs, mirror, docker)
        results.setdefault("machine", race.machine(folder, docker))
        for name, step in steps.items():
            if name not in results:
                print(f"{name} …", file=sys.stderr, flush=True)
                results[name] = step(running)
                path.with_suffix(".new").write_text(json.dumps(results, indent=1) + "\n")
                path.with_suffix(".new").rename(path)
                shutil.rmtree(folder / "fetched", ignore_errors=True)
    return results


def page(results: dict[str, Any]) -> str:
    """What ``docs/fleet.md`` has between its marks."""
    count, layers = results["docker bytes"]["images"], results["docker bytes"]["layers"]
    return "\n".join(
        [
            f"{count} images; {race_report.runs(results['cold'])}.",
            "",
            race_report.table(results, CASES),
            "",
            *race_report.machine(results),
            f"- Unique layers: {results['bytes']['layers']} and {layers}.",
        ]
    )


if __name__ == "__main__":
    main()
