"""The results of ``bench.race`` as a table, a chart and a page: nothing here measures."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import chart

DOCS = Path(__file__).parent.parent / "docs"
START, END = "<!-- bench.race -->", "<!-- end -->"
"""What ``docs/performance.md`` has around the results."""
_MB = 1e6

Results = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Case:
    """One row: a figure of ours, what it is held against, and how far it is to be.

    Attributes:
        value: of the results, in the unit of the goals: how many times faster, seconds, percent, megabytes.
        less: whether less is better.
    """

    name: str
    shown: Callable[[Results], tuple[str, str]]
    value: Callable[[Results], float]
    must: float | None
    aim: float | None
    unit: str
    less: bool = False

    def word(self, value: float) -> str:
        """Whether the goals are reached."""
        if self.must is None or self.aim is None:
            return ""
        reached = [(value <= goal if self.less else value >= goal) for goal in (self.must, self.aim)]
        return "aim" if reached[1] else "must" if reached[0] else "**not reached**"

    def goal(self, value: float | None) -> str:
        """A goal as the table has it."""
        return "" if value is None else f"{'≤' if self.less else '≥'} {self.amount(value)}"

    def amount(self, value: float) -> str:
        """A value in its unit."""
        match self.unit:
            case "×":
                return f"{value:.1f}×" if value < 10 and value != int(value) else f"{value:.0f}×"
            case "s":
                return f"{value:.2f} s".replace(".00", "")
            case _:
                return f"{value:.0f} {self.unit}" if value >= 10 else f"{value:.2g} {self.unit}"


def times(name: str, ours: str, theirs: str, must: float | None = None, aim: float | None = None) -> Case:
    """How many times faster a step is than another."""
    return Case(
        name,
        lambda results: (_seconds(results[ours]["wall"]), _seconds(results[theirs]["wall"])),
        lambda results: float(results[theirs]["wall"] / results[ours]["wall"]),
        must, aim, "×",
    )  # fmt: skip


def share(kind: str, must: float | None = None, aim: float | None = None) -> Case:
    """What part of somebody else's bytes ours are."""
    return Case(
        f"unique bytes of all images, {kind}",
        lambda results: (_megabytes(results["bytes"][kind]), _megabytes(results["docker bytes"][kind])),
        lambda results: 100.0 * results["bytes"][kind] / results["docker bytes"][kind],
        must, aim, "%", less=True,
    )  # fmt: skip


def _loaded(engine: str) -> Case:
    return Case(
        f"loading a fixed image into {engine} that has its other layers",
        lambda results: (f"{_seconds(results['rebuilt'][engine]['wall'])}, {results['rebuilt'][engine]['sent']} sent", ""),
        lambda results: float(results["rebuilt"][engine]["wall"]),
        1, 1, "s", less=True,
    )  # fmt: skip


CASES = (
    times("all images, nothing cached but packages; chain of Dockerfiles", "cold", "docker chain", 3, 5),
    times("… packages fetched by both from the proxy", "cold, fetched", "docker chain"),
    times("all images, package layers cached, state anew; chain of Dockerfiles", "state anew", "docker chain", 12, 25),
    Case(
        "nothing changed",
        lambda results: (_seconds(results["nothing changed"]["wall"]), ""),
        lambda results: float(results["nothing changed"]["wall"]),
        0.5, 0.2, "s", less=True,
    ),
    times("one image added, its base built; `docker build` with cached base", "added", "docker added", 5, 20),
    times("… not locked yet: indexes fetched, packages resolved, as docker does", "added, resolved", "docker added"),
    share("compressed", 75, 55),
    share("raw", 75, 55),
    Case(
        "peak memory of the cold build (RSS of all its processes)",
        lambda results: (f"{_megabytes(results['cold']['rss'])} (PSS {_megabytes(results['cold']['pss'])})", ""),
        lambda results: results["cold"]["rss"] / _MB,
        600, 300, "MB", less=True,
    ),
    _loaded("docker"),
    _loaded("podman"),
    _loaded("containerd"),
    times("one image, nothing cached but packages; one `RUN apt-get install`", "cold, alone", "docker alone"),
    times("one image, nothing cached but packages; `mmdebstrap`", "cold, alone", "mmdebstrap alone"),
)  # fmt: skip


def table(results: Results, cases: Sequence[Case] = CASES) -> str:
    """The table of all cases that were measured."""
    rows = ["| case | imgbuild | against | result | must | aim | reached |", "|---|--:|--:|--:|--:|--:|---|"]
    for case in cases:
        try:
            value, (ours, theirs) = case.value(results), case.shown(results)
        except KeyError:
            # A component of one image has none to add, a machine not every engine.
            continue
        words = case.name, ours, theirs, case.amount(value), case.goal(case.must), case.goal(case.aim), case.word(value)
        rows.append("| " + " | ".join(words) + " |")
    return "\n".join(rows)


def page(results: Results) -> str:
    """What ``docs/performance.md`` has between its marks: the table, the machine, and what was compared."""
    lines = [
        # Written by hand into results that are not to be taken for more than they are.
        *([results["note"], ""] if "note" in results else []),
        f"Component {results['subject']}; {runs(results['cold'])}.",
        "",
        table(results),
        "",
        *machine(results),
    ]
    if "docker chain" in results:
        packages = results["docker chain"]["packages"]
        counts = "; ".join(f"{name} {found['ours']} and {found['theirs']}" for name, found in sorted(packages.items()))
        other = max(found["other"] for found in packages.values())
        lines += [
            f"- Packages, ours and docker's (whose base has apt): {counts}. Of ours, at most {other} are in another version",
            "  there, or missing.",
        ]
    if "docker bytes" in results:
        lines.append(f"- Unique layers: {results['bytes']['layers']} and {results['docker bytes']['layers']}.")
    if "rebuilt" in results:
        lines.append(f"- The fix that is loaded is of {', '.join(results['rebuilt']['fixed'])}.")
    return "\n".join(lines)


def runs(result: Results) -> str:
    """Of how many runs a result is the median."""
    count = len(result["walls"])
    return "of one run" if count == 1 else f"medians of {count} runs"


def machine(results: Results) -> list[str]:
    """What the figures were measured on, as items of a list."""
    found = results["machine"]
    lines = [
        f"- Machine: {found['processors']} processors ({found['processor']}), {found['memory'] / 2**30:.0f} GiB,",
        f"  {found['file system']}; {found['system']}; Python {found['python']}; docker {found['docker']} "
        f"({found['storage driver']}).",
    ]
    if "docker base" in results:
        lines += [
            f"- docker's base image took mmdebstrap {_seconds(results['docker base']['wall'])}; it is in none of docker's",
            "  times, though imgbuild's cold builds make the base as well: who builds on docker pulls it.",
        ]
    return lines


def drawing(results: Results) -> str:
    """The chart of times."""
    wanted = (
        ("all images, cold", "cold", "docker chain"),
        ("all images, state anew", "state anew", "docker chain"),
        ("one image added", "added", "docker added"),
        ("one image, cold; RUN apt-get", "cold, alone", "docker alone"),
        ("one image, cold; mmdebstrap", "cold, alone", "mmdebstrap alone"),
    )
    rows = [
        chart.Row(name, (results[ours]["wall"], results[theirs]["wall"]))
        for name, ours, theirs in wanted
        if ours in results and theirs in results
    ]
    title = f"Building {results['subject']}: seconds (log scale)"
    return chart.svg(title, ("imgbuild", "Dockerfiles, mmdebstrap"), rows, (0.1, 1, 10, 100, 1000), "s")


def publish(results: Results, folder: Path = DOCS) -> None:
    """Write the results, the chart, and the part of the page that is made from them."""
    (folder / "performance.json").write_text(json.dumps(results, indent=1) + "\n")
    (folder / "performance.svg").write_text(drawing(results))
    path = folder / "performance.md"
    path.write_text(published(path.read_text(), results))


def published(text: str, results: Results) -> str:
    """A page with the results in their place."""
    return put(text, START, page(results))


def publish_part(name: str, page_name: str, mark: str, results: Results, found: str) -> None:
    """Write results as ``NAME.json``, and what is made from them between a mark of a page and the next end."""
    (DOCS / f"{name}.json").write_text(json.dumps(results, indent=1) + "\n")
    path = DOCS / page_name
    path.write_text(put(path.read_text(), mark, found))


def put(text: str, mark: str, found: str) -> str:
    """A page with something between a mark and the next end."""
    before, _, rest = text.partition(mark)
    return "\n".join([before + mark, found, END]) + rest.partition(END)[2]


def _seconds(value: float) -> str:
    return f"{value:.2f} s" if value < 10 else f"{value:.0f} s"


def _megabytes(value: float) -> str:
    return f"{value / _MB:.0f} MB"
