"""Holds and withdrawals as text."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.model.decision import Hold, Withdrawal
from builder.security import holds
from dsl.errors import DefinitionError

WHOLE = Hold("openssl", "", "it breaks: ours", "2026-12-31", "A <a@b>", "2026-11-01T00:00:00Z")
ONE = Hold("openssl", "3.5.6-1", "it is slow", "", "Ä <a@b>", "2026-11-01T00:00:00Z")


def test_holds_read_back_and_are_sorted(tmp_path: Path) -> None:
    path = tmp_path / "holds.yaml"
    path.write_text(holds.text((ONE, WHOLE)))
    assert holds.read(path) == (WHOLE, ONE)
    assert holds.text(holds.read(path)) == path.read_text() == holds.text((WHOLE, ONE))
    assert 'because: "it breaks: ours"\n' in path.read_text()
    assert holds.read(tmp_path / "none.yaml") == ()
    assert holds.text(()) == ""


def test_withdrawals_read_back(tmp_path: Path) -> None:
    path = tmp_path / "withdrawn.yaml"
    one = Withdrawal("nova-api", "31.0.1-r1", "31.0.0-r4", ("31.0", "31"), "bad", "A <a@b>", "2026-11-01T00:00:00Z")
    path.write_text(holds.withdrawn_text((one,)))
    assert holds.read_withdrawn(path) == (one,)


def test_a_hold_ends_after_its_last_day() -> None:
    assert [WHOLE.over(day) for day in ("2026-12-30", "2026-12-31", "2027-01-01")] == [False, False, True]
    assert not ONE.over("2999-01-01")


def test_what_a_person_writes_is_read(tmp_path: Path) -> None:
    path = tmp_path / "holds.yaml"
    path.write_text("holds:\n- package: openssl\n  because: it breaks\n  until: 2026-12-31\n")
    (found,) = holds.read(path)
    assert (found.package, found.version, found.until) == ("openssl", "", "2026-12-31")


@pytest.mark.parametrize(
    "text",
    [
        "holds: 3\n",
        "holds:\n- openssl\n",
        "holds:\n- {package: openssl}\n",
        "holds:\n- {because: it breaks}\n",
        "holds:\n- {package: openssl, because: b, untill: 2026-12-31}\n",
        "holds:\n- {package: [openssl], because: b}\n",
        "withdrawn: []\n",
        "<<<<<<< HEAD\nholds: []\n=======\n",
        "- a\n",
        "\x00",
    ],
)
def test_what_is_damaged_is_told_at_its_place(text: str, tmp_path: Path) -> None:
    path = tmp_path / "holds.yaml"
    path.write_text(text)
    with pytest.raises(DefinitionError, match=r"holds\.yaml:1"):
        holds.read(path)
