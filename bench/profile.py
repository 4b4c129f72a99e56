"""Where the processor time of a cold build goes: ``python -m bench.profile FOLDER [--publish]``.

The build runs under ``perf`` (Debian's linux-perf), which looks 199 times a second at what each processor does for it. FOLDER
is one of ``bench.race`` and has the packages. With ``--publish`` the table goes into ``docs/performance.md``.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from bench import race_report, watch
from bench.race import ROOT, link_packages

START = "<!-- bench.profile -->"
_RATE = 199
_LINE = re.compile(r"^\s*(.+?)\s+[0-9a-f]+\s+\((.*)\)$")
STAGES = (
    ("decompressing packages (xz)", r"^python", r"liblzma"),
    ("compressing layers (isal)", r"^python", r"isal"),
    ("checksums (SHA-256)", r"^python", r"libcrypto|_sha2|_hashlib"),
    ("copying bytes", r"^python", r"libc\.so|libc-"),
    ("reading archives, writing tars, planning: Python", r"^python", r"python|\.so"),
    ("files of layers, trees and mounts: the kernel, for us", r"^python", r"kernel|unknown"),
    ("byte code: the target's interpreter", r"^ld-linux", r""),
    ("configuring: dpkg and the packages' scripts", r"", r""),
)
"""A name, and patterns of the program and of the library or kernel; the first that fits has the sample."""


def stage(program: str, place: str) -> str:
    """The stage of a sample."""
    return next(name for name, of, within in STAGES if re.search(of, program) and re.search(within, place))


def stages(lines: Iterable[str]) -> Counter[str]:
    """Samples by stage.

    Args:
        lines: of ``perf script -F comm,ip,dso``.
    """
    found: Counter[str] = Counter()
    for line in lines:
        if match := _LINE.match(line):
            found[stage(match[1], match[2])] += 1
    return found


def table(found: Counter[str]) -> str:
    """The stages with their seconds, in the order of the list."""
    total = sum(found.values())
    rows = ["| stage | CPU | share |", "|---|--:|--:|"]
    for name, _, _ in STAGES:
        rows.append(f"| {name} | {found[name] / _RATE:.1f} s | {100 * found[name] / max(total, 1):.0f} % |")
    return "\n".join([*rows, f"| all | {total / _RATE:.1f} s | |"])


def measured(folder: Path) -> Counter[str]:
    """Build, and give the samples by stage."""
    if not shutil.which("perf"):
        sys.exit("perf is not installed: the Debian package linux-perf has it")
    link_packages(folder, "profiled")
    data = folder / "perf.data"
    build = [
        sys.executable,
        "-P",
        "-m",
        "builder.cli.main",
        "build",
        "--locked",
        "nova",
        "--to",
        f"oci:{folder}/profiled/out",
    ]
    env = {"XDG_CACHE_HOME": str(folder / "profiled"), "PYTHONPATH": str(ROOT)}
    watch.run(["perf", "record", "-q", "-o", str(data), "-e", "cpu-clock", "-F", str(_RATE), *build], env, ROOT)
    words = ["perf", "script", "-i", str(data), "-F", "comm,ip,dso"]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, errors="replace"
    ) as script:
        assert script.stdout is not None
        found = stages(script.stdout)
    shutil.rmtree(folder / "profiled")
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--publish", action="store_true", help="write the table into docs/performance.md")
    chosen = parser.parse_args()
    found = table(measured(chosen.folder.absolute()))
    if chosen.publish:
        path = race_report.DOCS / "performance.md"
        path.write_text(race_report.put(path.read_text(), START, found))
    print(found)


if __name__ == "__main__":
    main()
