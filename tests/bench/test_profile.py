"""Samples of perf by what the processor did."""

from __future__ import annotations

import pytest

from bench import profile, race_report


@pytest.mark.parametrize(
    ("line", "stage"),
    [
        (
            "          python            4faf63 (/usr/lib/x86_64-linux-gnu/liblzma.so.5.4.1)",
            "decompressing packages (xz)",
        ),
        ("  python  3eb (/x/deflate/_deflate.abi3.so)", "compressing layers (libdeflate)"),
        (
            "          python            539e0a (/usr/bin/python3.11)",
            "reading archives, writing tars, planning: Python",
        ),
        ("  python  ffffffff8161f657 ([kernel.kallsyms])", "files of layers, trees and mounts: the kernel, for us"),
        ("  ld-linux-x86-64  ffffffff8161f657 ([kernel.kallsyms])", "byte code: the target's interpreter"),
        (" deb-systemd-hel  4faf63 (/usr/bin/perl)", "configuring: deb-systemd-helper (perl)"),
        (" frontend  4faf63 (/usr/bin/perl)", "configuring: debconf's frontend (perl)"),
        (" dpkg  4faf63 (/usr/bin/dpkg)", "configuring: dpkg"),
        (" my prog 12 (/x/y)", "configuring: all else that packages' scripts run"),
    ],
)
def test_a_sample_has_its_stage(line: str, stage: str) -> None:
    assert dict(profile.stages([line, "", "# a note"])) == {stage: 1}


def test_the_table_has_seconds_and_shares() -> None:
    found = profile.stages([" python 1 (/usr/bin/python3.11)"] * 3999 + [" dpkg 1 (/usr/bin/dpkg)"] * 11997)
    assert profile.table(found).splitlines()[2:] == [
        "| reading archives, writing tars, planning: Python | 1.00 s | 25 % |",
        "| configuring: dpkg | 3.00 s | 75 % |",
        "| all | 4.0 s | |",
    ]


@pytest.mark.parametrize("case", profile.CASES)
def test_the_page_on_performance_has_a_place_for_each_case(case: str) -> None:
    page = (race_report.DOCS / "performance.md").read_text()
    assert "| a | 1 s |" in profile.published(page, case, "| a | 1 s |")
