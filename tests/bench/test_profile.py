"""Samples of perf by what the processor did."""

from __future__ import annotations

import pytest

from bench import profile


@pytest.mark.parametrize(
    ("line", "stage"),
    [
        (
            "          python            4faf63 (/usr/lib/x86_64-linux-gnu/liblzma.so.5.4.1)",
            "decompressing packages (xz)",
        ),
        ("  python  3eb (/x/isal/isal_zlib.cpython-311-x86_64-linux-gnu.so)", "compressing layers (isal)"),
        (
            "          python            539e0a (/usr/bin/python3.11)",
            "reading archives, writing tars, planning: Python",
        ),
        ("  python  ffffffff8161f657 ([kernel.kallsyms])", "files of layers, trees and mounts: the kernel, for us"),
        ("  ld-linux-x86-64  ffffffff8161f657 ([kernel.kallsyms])", "byte code: the target's interpreter"),
        (" deb-systemd-hel  4faf63 (/usr/bin/perl)", "configuring: dpkg and the packages' scripts"),
        (" my prog 12 (/x/y)", "configuring: dpkg and the packages' scripts"),
    ],
)
def test_a_sample_has_its_stage(line: str, stage: str) -> None:
    assert dict(profile.stages([line, "", "# a note"])) == {stage: 1}


def test_the_table_has_seconds_and_shares() -> None:
    found = profile.stages([" python 1 (/usr/bin/python3.11)"] * 199 + [" dpkg 1 (/usr/bin/dpkg)"] * 597)
    rows = profile.table(found).splitlines()
    assert "| reading archives, writing tars, planning: Python | 1.0 s | 25 % |" in rows
    assert rows[-2:] == ["| configuring: dpkg and the packages' scripts | 3.0 s | 75 % |", "| all | 4.0 s | |"]
