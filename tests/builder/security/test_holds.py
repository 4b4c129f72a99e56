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


def test_what_has_no_value_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "holds.yaml"
    path.write_text("holds:\n- {package: openssl, because: b, until: , version: 1.10}\n")
    assert holds.read(path) == (Hold("openssl", "1.10", "b", "", "", ""),)
    path.write_text("holds:\n")
    assert holds.read(path) == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("holds: 3\n", ["1:1: `holds:` with a list is expected"]),
        ("withdrawn: []\n", ["1:1: `holds:` with a list is expected"]),
        ("- a\n", ["1:1: `holds:` with a list is expected"]),
        ("holds: []\nholds: []\n", ["2:1: `holds` is here a second time"]),
        ("holds:\n- openssl\n", ["2:3: 'openssl' is not expected here"]),
        ("holds:\n- {package: openssl}\n", ["2:3: this entry has no `because`"]),
        ("holds:\n- {because: it breaks}\n", ["2:3: this entry has no `package`"]),
        (
            "holds:\n- {package: a, because: b}\n- {package: a, because: b, untill: x}\n",
            ["3:28: `untill` is not expected"],
        ),
        ("holds:\n- {package: [openssl], because: b}\n", ["2:13: `package` is ['openssl']: text is expected"]),
        (
            "holds:\n- package: a\n  because: b\n  until: 2026-02-31\n",
            ["4:10: `until` is '2026-02-31': this is no day"],
        ),
        ("holds:\n- package: a\n  because: b\n  until: soon\n- x\n", ["4:10: `until` is 'soon'", "5:3: 'x' is not"]),
        ("holds:\n<<<<<<< HEAD\n- {package: a}\n=======\n", ["2:1: a merge left its marks here"]),
        ("holds:\n- {package: a\n", ["3:1: it cannot be read: "]),
        ("\x00", ["1:1: it cannot be read"]),
    ],
)
def test_what_is_damaged_is_told_at_its_place(text: str, said: list[str], tmp_path: Path) -> None:
    path = tmp_path / "holds.yaml"
    path.write_text(text)
    with pytest.raises(DefinitionError) as told:
        holds.read(path)
    found = [f"{p.place}: {p.message}".removeprefix(f"{path}:") for p in told.value.problems]
    assert len(found) == len(said), found
    for one, wanted in zip(found, said, strict=True):
        assert one.startswith(wanted), found


def test_a_withdrawal_names_its_release(tmp_path: Path) -> None:
    path = tmp_path / "withdrawn.yaml"
    path.write_text("withdrawn:\n- {image: app, because: it hangs, move: 1}\n")
    with pytest.raises(DefinitionError) as told:
        holds.read_withdrawn(path)
    assert [p.message for p in told.value.problems] == ["this entry has no `tag`", "`move` is '1': a list is expected"]
