"""Where the processor time of a build goes: ``python -m bench.profile FOLDER [--case CASE]… [--publish]``.

The build runs under ``perf`` (Debian's linux-perf), which looks 3999 times a second at what each processor does for it. FOLDER
is one of ``bench.race`` and has the packages. Cases are those of the race; without ``--case`` all are built. With
``--publish`` the tables go into ``docs/performance.md``.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from bench import race_report, watch
from bench.race import ROOT, SUBJECTS, forget_states, link_packages

_RATE = 3999
"""A second. perf begins to count anew with each process, so it sees none that is over before its first look: scripts start thousands."""
_LINE = re.compile(r"^\s*(.+?)\s+[0-9a-f]+\s+\((.*)\)$")
STAGES = (
    ("decompressing packages (xz)", r"^python", r"liblzma"),
    ("compressing layers (libdeflate)", r"^python", r"deflate"),
    ("checksums (SHA-256)", r"^python", r"libcrypto|_sha2|_hashlib"),
    ("copying bytes", r"^python", r"libc\.so|libc-"),
    ("reading archives, writing tars, planning: Python", r"^python", r"python|\.so"),
    ("files of layers, trees and mounts: the kernel, for us", r"^python", r"kernel|unknown"),
    ("byte code: the target's interpreter", r"^ld-linux", r""),
    ("configuring: deb-systemd-helper (perl)", r"^deb-systemd", r""),
    ("configuring: debconf's frontend (perl)", r"^frontend", r""),
    ("configuring: dpkg", r"^dpkg$", r""),
    ("configuring: all else that packages' scripts run", r"", r""),
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
    """The stages that took time, with their seconds, in the order of the list."""
    total = sum(found.values())
    rows = ["| stage | CPU | share |", "|---|--:|--:|"]
    for name, _, _ in STAGES:
        if found[name]:
            rows.append(f"| {name} | {found[name] / _RATE:.2f} s | {100 * found[name] / max(total, 1):.0f} % |")
    return "\n".join([*rows, f"| all | {total / _RATE:.1f} s | |"])


def _imgbuild(folder: Path, words: Iterable[str], under: Iterable[str] = ()) -> str:
    env = {"XDG_CACHE_HOME": str(folder / "profiled"), "PYTHONPATH": str(ROOT)}
    return watch.run([*under, sys.executable, "-P", "-m", "builder.cli.main", *words], env, ROOT).output


def _build(folder: Path, targets: Iterable[str], under: Iterable[str] = ()) -> None:
    _imgbuild(folder, ("build", "--locked", *targets, "--to", f"oci:{folder}/profiled/out"), under)


def _cold(folder: Path) -> str:
    link_packages(folder, "profiled")
    return "nova"


def _state(folder: Path) -> str:
    link_packages(folder, "profiled")
    _build(folder, ["nova"])
    forget_states(folder / "profiled", json.loads(_imgbuild(folder, ("plan", "nova", "--json"))))
    return "nova"


def _added(folder: Path) -> str:
    subject = SUBJECTS["nova"]
    link_packages(folder, "profiled")
    _build(folder, [f"nova/{name}" for name in subject.names if name != subject.added])
    return f"nova/{subject.added}"


CASES: dict[str, Callable[[Path], str]] = {"cold": _cold, "state anew": _state, "added": _added}
"""By the name that the race has for it, what makes a folder ready for a case and says what is built then."""


def measured(folder: Path, case: str) -> Counter[str]:
    """Build, and give the samples by stage."""
    data = folder / "perf.data"
    target = CASES[case](folder)
    _build(folder, [target], ["perf", "record", "-q", "-o", str(data), "-e", "cpu-clock", "-F", str(_RATE)])
    words = ["perf", "script", "-i", str(data), "-F", "comm,ip,dso"]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, errors="replace"
    ) as script:
        assert script.stdout is not None
        found = stages(script.stdout)
    shutil.rmtree(folder / "profiled")
    return found


def published(page: str, case: str, found: str) -> str:
    """The page on performance with a case's table.

    Raises:
        ValueError: it has no place for it.
    """
    mark = f"<!-- bench.profile: {case} -->"
    if mark not in page:
        raise ValueError(f"docs/performance.md has no line {mark}")
    return race_report.put(page, mark, found)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--case", choices=CASES, action="append", help="one of these alone; may be given again")
    parser.add_argument("--publish", action="store_true", help="write the tables into docs/performance.md")
    chosen = parser.parse_args()
    if not shutil.which("perf"):
        sys.exit("perf is not installed: the Debian package linux-perf has it")
    path = race_report.DOCS / "performance.md"
    for case in chosen.case or CASES:
        found = table(measured(chosen.folder.absolute(), case))
        if chosen.publish:
            path.write_text(published(path.read_text(), case, found))
        print(f"{case}\n\n{found}\n", flush=True)


if __name__ == "__main__":
    main()
