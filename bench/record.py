"""What the record weighs and how fast it answers: ``python -m bench.record FOLDER [--publish]``.

FOLDER gets a workspace of as many images as are asked for, each of some 400 packages in a chain of four definitions, as
OpenStack's are; a feed of advisories of their sources; and a record of years in which every image is released each night,
because something below all of them moved. Then the commands are timed as whole processes. With ``--publish`` the figures go
into ``docs/record.md``. Times are the processor's: each command runs on one, so that is what it takes where nothing else runs.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import Connection

from bench import race_report
from builder.formats import lockfile
from builder.model.digest import CacheKey
from builder.model.lock import RULES, Grouping, Lock, LockedPackage, LockFile, Revision
from builder.model.release import Held, Publication, Release, ReleasedLayer
from builder.plan import groups
from builder.record import database, publications, releases

MARK = "<!-- bench.record -->"
RUNS = 5
DAY = 86400
PER_COMPONENT = 5
BASE, COMMON, SHARED, OWN = 70, 290, 30, 8
"""Packages of each definition of a chain: nova-api has 433 in all."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A row of the table.

    Attributes:
        goals: what must be, and what is aimed at.
    """

    name: str
    value: float
    unit: str
    goals: tuple[float, float] | None = None

    def row(self) -> str:
        """As the table has it."""
        shown = f"{self.value:.2f} s" if self.unit == "s" else f"{self.value:,.0f} {self.unit}"
        if self.goals is None:
            return f"| {self.name} | {shown} | | | |"
        must, aim = self.goals
        word = "aim" if self.value <= aim else "must" if self.value <= must else "**not reached**"
        return f"| {self.name} | {shown} | ≤ {must:g} {self.unit} | ≤ {aim:g} {self.unit} | {word} |"


def definitions(count: int) -> Iterator[tuple[str, str]]:
    """Files of a workspace with so many images."""
    yield "imgbuild.yaml", "dsl: 1\nworkspace: fleet\nfeeds: [feed.json]\n"
    source = "sources: {debian: {apt: http://deb.debian.org/debian, suites: [trixie], keyring: key.gpg}}\n"
    told = 'distribution: {id: debian, version: "13", codename: trixie}\n' + source
    yield "layers/base/key.gpg", ""
    yield "layers/base/layer.yaml", f"dsl: 1\nlayer: base\nversion: 1.0.0\nsummary: the base\n{told}"
    yield "layers/common/layer.yaml", "dsl: 1\nlayer: common\nversion: 1.0.0\nsummary: shared\nextends: base ^1.0\n"
    for number in range(-(-count // PER_COMPONENT)):
        name = f"c{number:03}"
        lines = [
            f"dsl: 1\ncomponent: {name}\nsummary: a component\nversion: '1.0'\nlayers:\n  {name}-base:\n"
            "    summary: shared\n    extends: common ^1.0\nimages:\n"
        ]
        for image in images(name, count - number * PER_COMPONENT):
            lines.append(
                f"  {image}:\n    summary: an image\n    extends: {name}-base\n    packages: {{apt: [{image}]}}\n"
                f"    users: {{app: {{uid: 8000}}}}\n    run: {{command: [{image}], user: app}}\n"
            )
        yield f"repos/{name}/component.yaml", "".join(lines)


def images(component: str, left: int) -> list[str]:
    """The names of a component's images."""
    return [f"{component}-{number}" for number in range(min(PER_COMPONENT, left))]


def locked(name: str, count: int) -> tuple[LockedPackage, ...]:
    """The packages of a definition."""
    return tuple(
        LockedPackage(
            f"{name}-p{n}", "1.0-1", "amd64", f"{name}-s{n // 2}", "1.0-1", "debian", "trixie",
            f"pool/main/{name}-p{n}_1.0-1_amd64.deb", 100_000, CacheKey.of("package", [name, n]), "asked for",
        )
        for n in range(count)
    )  # fmt: skip


def lock(name: str, count: int, below: Lock | None) -> Lock:
    """The lock of a definition."""
    grouping = Grouping(max(1, count // 14), tuple(f"{name}-s{n}" for n in range(min(count // 20, 14))))
    return Lock(name, "amd64", RULES, "", below.digest() if below else None, (), locked(name, count), (), (), grouping)


def make(folder: Path, count: int) -> dict[str, tuple[Lock, ...]]:
    """Write the workspace with its locks: the chain of each image, bottom first."""
    shutil.rmtree(folder, ignore_errors=True)
    for path, text in definitions(count):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    base = lock("base", BASE, None)
    common = lock("common", COMMON, base)
    chains: dict[str, tuple[Lock, ...]] = {}
    for one in (base, common):
        (folder / "layers" / one.name / "lock.yaml").write_text(lockfile.text(LockFile((one,))))
    for file in sorted((folder / "repos").glob("*/component.yaml")):
        name = file.parent.name
        shared = lock(f"{name}-base", SHARED, common)
        mine = {image: lock(image, OWN, shared) for image in images(name, count - int(name[1:]) * PER_COMPONENT)}
        rows = tuple(Revision(image, "1.0", 1, CacheKey.of("content", image)) for image in mine)
        (file.parent / "lock.yaml").write_text(lockfile.text(LockFile((shared, *mine.values()), rows)))
        chains |= {image: (base, common, shared, own) for image, own in mine.items()}
    return chains


def feed(folder: Path, chains: dict[str, tuple[Lock, ...]], count: int) -> None:
    """Write so many advisories of what is locked, in the form of Debian's tracker; one of a hundred is open."""
    chance = random.Random(1)
    sources = sorted({p.source_package for chain in chains.values() for one in chain for p in one.packages})
    told: dict[str, dict[str, object]] = {}
    for number in range(count):
        state = {"status": "resolved", "fixed_version": "0.9-1+deb13u1", "urgency": "medium", "repositories": {}}
        if number % 100 == 0:
            state |= {"fixed_version": "1.0-1+deb13u1"} if number % 200 else {"status": "open"}
        flaw = {"description": "A flaw in a program, told in a line as long as those of CVEs are " * 3, "scope": "remote",
                "releases": {"trixie": state}}  # fmt: skip
        told.setdefault(chance.choice(sources), {})[f"CVE-{2000 + number % 26}-{number}"] = flaw
    (folder / "feed.json").write_text(json.dumps(told))


def nights(chains: dict[str, tuple[Lock, ...]], count: int) -> Iterator[Release]:
    """Each night two packages of what all images share move, and one of every tenth component's own."""
    chance = random.Random(2)
    parts = {one.name: _held(one) for chain in chains.values() for one in chain}
    layers: dict[str, dict[str, ReleasedLayer]] = {name: {} for name in parts}
    moved = list(parts)
    begin = int(time.time()) - count * DAY
    own = [name for name in parts if name.endswith("-base")]
    for night in range(count):
        for name in moved:
            known = {one.layer for one in parts[name]}
            for group in known if night == 0 else {chance.choice(sorted(known))}:
                layers[name][group] = ReleasedLayer(
                    name, group, chance.randbytes(32).hex(), f"sha256:{chance.randbytes(32).hex()}", 1_000_000
                )  # fmt: skip
        for image, chain in chains.items():
            yield Release(
                image.rpartition("-")[0], image, "1.0", night + 1, chance.randbytes(32).hex(),
                f"sha256:{chance.randbytes(32).hex()}", chance.randbytes(20).hex(), begin + night * DAY,
                f"sha256:{chance.randbytes(32).hex()}", f"sha256:{chance.randbytes(32).hex()}",
                tuple(parts[one.name] for one in chain), tuple(x for one in chain for x in layers[one.name].values()),
            )  # fmt: skip
        moved = ["base", "common", *chance.sample(own, len(own) // 10)]
        for name in moved:
            at = chance.randrange(len(parts[name]))
            old = parts[name][at]
            version = f"1.0-1+deb13u{night + 1}"
            new = Held(old.definition, old.layer, old.name, version, old.source, version, old.why)
            parts[name] = (*parts[name][:at], new, *parts[name][at + 1 :])


def behind(chains: dict[str, tuple[Lock, ...]]) -> Iterator[Release]:
    """What runs while a fix waits to be published: each image, with two packages of what all share a version older."""
    parts = {one.name: _held(one) for chain in chains.values() for one in chain}
    for name in ("base", "common"):
        first, *rest = parts[name]
        parts[name] = (replace(first, version="0.8-1", source_version="0.8-1"), *rest)
    for image, chain in chains.items():
        yield Release(
            image.rpartition("-")[0], image, "0.9", 1, CacheKey.of("content", [image, "published"]),
            f"sha256:{CacheKey.of('lock', image)}", "", int(time.time()) - DAY, f"sha256:{CacheKey.of('image', image)}",
            f"sha256:{CacheKey.of('config', image)}", tuple(parts[one.name] for one in chain), (),
        )  # fmt: skip


def publish(connection: Connection, found: Iterable[Release]) -> None:
    """Add releases, and that they lie in a registry."""
    each = tuple(found)
    releases.add(connection, "fleet", each)
    publications.add(
        connection, "fleet",
        (Publication(one.component, one.image, one.version, one.revision, f"registry.example/{one.image}", one.digest, (), one.time)
         for one in each),
    )  # fmt: skip


def _held(one: Lock) -> tuple[Held, ...]:
    found = groups.groups(one.packages, one.grouping)
    return tuple(
        Held(one.name, group.name, p.name, p.version, p.source_package, p.source_version, p.why)
        for group in found
        for p in group.packages
    )


def command(folder: Path, record: Path, *words: str) -> str:
    """What a command of ours says."""
    env = {**os.environ, "IMGBUILD_RECORD": str(record), "XDG_CACHE_HOME": str(folder / "cache")}
    argv = [sys.executable, "-m", "builder.cli.main", "-C", str(folder / "site"), *words]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, cwd=race_report.DOCS.parent, check=False)
    assert done.returncode in (0, 3), done.stderr
    return done.stdout


def timed(folder: Path, record: Path, *words: str) -> float:
    """The median of some runs of a command, in seconds of the processor."""
    found = []
    for _ in range(RUNS):
        before = _busy()
        command(folder, record, *words)
        found.append(_busy() - before)
    return statistics.median(found)


def _busy() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure(folder: Path, count: int, years: int, advisories: int) -> list[Figure]:
    """Make everything, and time it."""
    chains = make(folder / "site", count)
    feed(folder / "site", chains, advisories)
    record = folder / "record.sqlite"
    record.unlink(missing_ok=True)
    command(folder, record, "check")
    told = json.loads(command(folder, record, "security", "status", "--json"))
    assert {image for one in told["open"] for image in one["images"]} == chains.keys(), (
        "each image has some that are open"
    )
    what = f"`security status`, {count} images × {advisories:,} advisories"
    found = [
        Figure(what, timed(folder, record, "security", "status"), "s", (2, 0.5)),
        Figure("the record then", record.stat().st_size / 1e6, "MB"),
    ]
    with database.opened(str(record)).writing() as connection:
        publish(connection, behind(chains))
    unpublished = json.loads(command(folder, record, "security", "status", "--json"))
    assert unpublished["unpublished"], "what is fixed and not yet published is told"
    found.append(
        Figure(
            f"{what}, each with a fix that is not yet published",
            timed(folder, record, "security", "status"),
            "s",
            (2, 0.5),
        )
    )
    started = time.process_time()
    with database.opened(str(record)).writing() as connection:
        number = releases.add(connection, "fleet", nights(chains, round(years * 365.25)))
    filled = time.process_time() - started
    return [
        *found,
        Figure(f"the record after {years} years: {number:,} releases", record.stat().st_size / 1e6, "MB", (1000, 1000)),
        Figure(f"`security status`, {years} years", timed(folder, record, "security", "status"), "s", (5, 1)),
        Figure("`find base-s7`", timed(folder, record, "find", "base-s7"), "s"),
        Figure("`find 'base-s7 (<< 1.0-1+deb13u9)' --releases all`",
               timed(folder, record, "find", "base-s7 (<< 1.0-1+deb13u9)", "--releases", "all"), "s"),
        Figure("`record`", timed(folder, record, "record"), "s"),
        Figure("all these releases written in one transaction", filled, "s"),
    ]  # fmt: skip


def page(figures: list[Figure]) -> str:
    """The table, and what it was measured on."""
    head = ["| what | measured | must | aim | reached |", "|---|--:|--:|--:|---|"]
    release = platform.freedesktop_os_release()["PRETTY_NAME"]
    machine = f"Seconds of the processor, medians of {RUNS} runs of whole processes, each on one processor; {os.cpu_count()} processors, {release}, Python {platform.python_version()}, SQLite."
    return "\n".join([*head, *(one.row() for one in figures), "", machine])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--years", type=int, default=5)
    parser.add_argument("--advisories", type=int, default=30_000)
    parser.add_argument("--publish", action="store_true", help="write the table into docs/record.md")
    chosen = parser.parse_args()
    told = page(measure(chosen.folder.absolute(), chosen.images, chosen.years, chosen.advisories))
    if chosen.publish:
        path = race_report.DOCS / "record.md"
        path.write_text(race_report.put(path.read_text(), MARK, told))
    print(told)


if __name__ == "__main__":
    main()
