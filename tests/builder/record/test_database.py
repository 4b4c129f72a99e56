"""Where the record is, its schema, and several who use it at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from builder.errors import RecordError
from builder.record import advisories, schema
from builder.record import database as database_
from tests.kit.project import ROOT


def test_the_migrations_make_what_the_tables_are(database: str) -> None:
    record = database_.opened(database)
    with record.writing() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": False})
        assert compare_metadata(context, schema.METADATA) == []
        assert database_.version(connection) == schema.VERSION


def test_the_last_migration_is_named() -> None:
    scripts = ScriptDirectory(str(ROOT / "builder/record/migrations"))
    assert scripts.get_heads() == [schema.VERSION]
    assert scripts.get_bases() == ["0001"]


def test_a_record_of_the_first_schema_is_brought_up(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(database_, "_migrate", lambda record: None)
        old = database_.opened(database)
    database_.upgrade(old, "0001")
    with old.writing() as connection:
        connection.execute(text("INSERT INTO workspace (id, name) VALUES (1, 'kept')"))
    with database_.opened(database).reading() as connection:
        assert connection.execute(text("SELECT name FROM workspace")).scalars().all() == ["kept"]
        assert database_.version(connection) == schema.VERSION


def test_what_an_older_one_says_of_advisories_is_brought_up(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(database_, "_migrate", lambda record: None)
        old = database_.opened(database)
    database_.upgrade(old, "0002")
    with old.writing() as connection:
        connection.execute(
            text("INSERT INTO feed (id, name, digest, suites, broken) VALUES (1, 'f', :d, '[]', '[]')"), {"d": b"x"}
        )
        for source, fixed in (("a", "2"), ("b", "")):
            connection.execute(
                text(
                    "INSERT INTO advisory VALUES (1, :source, 's', 'CVE-1', '0', :fixed, 'moderate', '', '', '', '', 70)"
                ),
                {"source": source, "fixed": fixed},
            )
    with database_.opened(database).reading() as connection:
        found = sorted(advisories.about(connection, "f", "f"))
        assert [(one.source, one.severity, one.seen, one.mended) for one in found] == [
            ("a", "medium", 70, 70), ("b", "medium", 70, 0),
        ]  # fmt: skip


def test_one_of_a_newer_program_is_refused(database: str) -> None:
    record = database_.opened(database)
    with record.writing() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(RecordError, match="schema 9999"):
        database_.opened(database)


_WRITER = """
import sys
from builder.model.release import Held, Release
from builder.record import database, releases
place, name = sys.argv[1:]
for revision in range(1, 7):
    held = ((Held("base", "g", "a", str(revision), "a", str(revision), "x"),),)
    with database.opened(place).writing() as connection:
        releases.add(connection, "site", [Release(name, name, "1", revision, "00", "", time=revision, held=held)])
"""


def test_several_at_once(database: str) -> None:
    children = [
        subprocess.Popen([sys.executable, "-c", _WRITER, database, f"image{number}"], cwd=ROOT) for number in range(3)
    ]
    assert [child.wait(timeout=120) for child in children] == [0, 0, 0]
    from builder.record import releases

    with database_.opened(database).reading() as connection:
        assert releases.summary(connection, "site") == releases.Summary(3, 18, 0, 1)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("postgresql://nobody@127.0.0.1:1/x", "127.0.0.1"),
        ("postgresql://nobody:secret@127.0.0.1:1/x", "127.0.0.1"),
        ("postgresql://[::1", "cannot be read"),
        ("/proc/1/nothing/record.sqlite", "/proc/1/nothing"),
    ],
)
def test_what_cannot_be_had_is_told(place: str, message: str) -> None:
    with pytest.raises(RecordError, match=message) as told:
        database_.opened(place)
    assert "secret" not in str(told.value.message) + str(told.value.hint)
    assert told.value.hint


def test_a_file_of_others_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("not a database at all, but a text that is long enough to be one\n" * 20)
    with pytest.raises(RecordError, match="not a database"):
        database_.opened(str(tmp_path / "x"))
    assert (tmp_path / "x").read_text().startswith("not a database")
