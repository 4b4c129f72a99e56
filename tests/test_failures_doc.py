"""Each fault that docs/failures.md tells of is played by a test that is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent


def rows() -> list[str]:
    """The rows of its tables, without their heads."""
    lines = (ROOT / "docs/failures.md").read_text().splitlines()
    return [line for line in lines if line.startswith("| ") and "played by" not in line]


def test_every_row_names_a_test_that_is_there() -> None:
    there = {
        name
        for file in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", file.read_text(), re.MULTILINE)
    }
    assert len(rows()) > 30
    for row in rows():
        named = re.findall(r"`(test_\w+)`", row.rstrip("| ").rpartition(" | ")[2])
        assert named, row
        assert set(named) <= there, row
