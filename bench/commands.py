"""How long commands take that have nothing to do: ``python -m bench.commands FOLDER``.

FOLDER takes a store and a layout; what is to be built is built first. Each command runs as a process of its own; the
figures are its own processor time (user and system) and the time on the wall, in seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
TEN = (
    "mariadb", "rabbitmq", "memcached", "keystone", "glance", "placement", "nova", "horizon",
    "neutron/neutron-server", "cinder/cinder-api",
)  # fmt: skip
"""A site of ten components."""


@dataclass(frozen=True, slots=True)
class Timing:
    """A command's times over several runs, in seconds."""

    command: str
    runs: int
    process_min: float
    process_median: float
    wall_median: float


def timed(words: list[str], environment: dict[str, str], runs: int) -> Timing:
    """Run a command several times.

    Raises:
        CalledProcessError: it fails.
    """
    process, wall = [], []
    for _ in range(runs):
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        program = [sys.executable, "-m", "builder.cli.main", *words]
        subprocess.run(program, env=environment, cwd=ROOT, check=True, capture_output=True)
        wall.append(time.perf_counter() - started)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        process.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    shown = f"imgbuild {words[0]}" + (f" {words[1]}" if len(words) > 1 else "")
    return Timing(shown, runs, min(process), statistics.median(process), statistics.median(wall))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--all", action="store_true", help="build the whole fleet, not nova alone")
    chosen = parser.parse_args()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "XDG_CACHE_HOME": str(chosen.folder.absolute() / "cache"), "PYTHONPATH": str(ROOT)}
    what = "--all" if chosen.all else "nova"
    build = ["build", what, "--to", f"oci:{chosen.folder.absolute() / 'out'}"]
    timed(build, environment, 1)
    site = chosen.folder / "site.yaml"
    site.write_text(json.dumps({"dsl": 1, "site": "ten", "components": list(TEN)}))
    deploy = ["deploy", "render", str(site.absolute())]
    commands = (["--help"], build, ["list"], ["show", "nova"], ["plan", what], ["check", "--all"], deploy)
    found = [timed(words, environment, chosen.runs) for words in commands]
    if chosen.json:
        machine = {"processors": os.cpu_count(), "python": platform.python_version()}
        print(json.dumps({"machine": machine, "timings": [asdict(one) for one in found]}, indent=2))
        return
    print("| command | runs | process time, least | median | wall, median |\n|---|--:|--:|--:|--:|")
    for one in found:
        print(
            f"| `{one.command}` | {one.runs} | {one.process_min:.2f} s | {one.process_median:.2f} s "
            f"| {one.wall_median:.2f} s |"
        )


if __name__ == "__main__":
    main()
