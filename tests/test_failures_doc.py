"""Each fault that docs/failures.md tells of, and each behaviour of registries that docs/publish.md names, is played by a test that is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def rows(document: str, head: str) -> list[str]:
    """The rows of the tables whose last column is of a name, without their heads."""
    found, within = [], False
    for line in (ROOT / document).read_text().splitlines():
        if not line.startswith("|"):
            within = False
        elif line.rstrip("| ").endswith(head):
            within = True
        elif within and line.startswith("| "):
            found.append(line)
    return found


@pytest.mark.parametrize(
    ("document", "head", "least"), [("docs/failures.md", "played by", 30), ("docs/publish.md", "tested by", 10)]
)
def test_every_row_names_a_test_that_is_there(document: str, head: str, least: int) -> None:
    there = {
        name
        for file in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", file.read_text(), re.MULTILINE)
    }
    assert len(rows(document, head)) > least
    for row in rows(document, head):
        named = re.findall(r"`(test_\w+)`", row.rstrip("| ").rpartition(" | ")[2])
        assert named, row
        assert set(named) <= there, row
