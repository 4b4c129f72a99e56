"""Where the record is: a file for SQLite, or an address of PostgreSQL; opened, brought to the newest schema, shared."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, NullPool, create_engine, event, inspect, make_url, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DBAPIError

from builder.errors import RecordError
from builder.record import schema

_MIGRATIONS = Path(__file__).with_name("migrations")
_PATIENCE = 60
"""How many seconds one waits for another who writes."""
_WRITERS = 0x1B61D
"""The name that PostgreSQL's advisory lock of those who write has among all of a database."""
POSTGRESQL = ("postgresql://", "postgres://")


@dataclass(frozen=True, slots=True)
class Record:
    """An open record. Any number of processes may read; one writes at a time, and what it writes is there as a whole or not.

    Attributes:
        where: its file or address, without a password.
    """

    where: str
    _engine: Engine

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """Ask questions.

        Raises:
            RecordError: the database does not answer, or is damaged.
        """
        with self._told(), self._engine.connect() as connection, connection.begin():
            yield connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[Connection]:
        """Write: all of it, or nothing if the block ends with an error.

        Raises:
            RecordError: the database does not answer, or is damaged.
        """
        engine = self._engine.execution_options(writes=True)
        with self._told(), engine.connect() as connection, connection.begin():
            if engine.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:name)"), {"name": _WRITERS})
            yield connection

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            raise _error(self.where, error) from None


def opened(place: str, user: str | None = None, password: str | None = None) -> Record:
    """Open a record, and bring its schema to what this program knows; a new one is made.

    Args:
        place: a file's path, or PostgreSQL's address.
        user, password: for an address that has none.

    Raises:
        RecordError: it cannot be had, or a newer imgbuild has made it.
    """
    url = _url(place, user, password)
    arguments: dict[str, Any] = {"timeout": _PATIENCE}
    if url.get_backend_name() == "postgresql":
        arguments = {"connect_timeout": 10, "application_name": "imgbuild"}
    where = place
    if url.get_backend_name() == "postgresql":
        where = url.set(drivername="postgresql").render_as_string(hide_password=True).replace(":***@", "@")
    try:
        if url.get_backend_name() == "sqlite":
            Path(place).parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(url, connect_args=arguments, poolclass=NullPool)
    except ImportError as error:
        raise RecordError(f"{where}: {error}", "install imgbuild with all its libraries") from None
    except OSError as error:
        raise RecordError(f"{where}: {error.strerror or error}", "name another place: `IMGBUILD_RECORD`") from None
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _by_hand)
        event.listen(engine, "begin", _begin)
    record = Record(where, engine)
    _migrate(record)
    return record


def _url(place: str, user: str | None, password: str | None) -> URL:
    if not place.startswith(POSTGRESQL):
        return URL.create("sqlite", database=place)
    try:
        url = make_url(place).set(drivername="postgresql+psycopg")
    except (ArgumentError, ValueError):
        raise RecordError("the record's address cannot be read", "say postgresql://USER@HOST/DATABASE") from None
    return url.set(username=url.username or user, password=url.password or password)


def _by_hand(connection: Any, _: object) -> None:
    # Python's sqlite3 would begin transactions when it sees fit, and not as those who write.
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA cache_size = -65536")


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def version(connection: Connection) -> str:
    """The last migration that a database has had; empty for a new one."""
    if not inspect(connection).has_table("alembic_version"):
        return ""
    return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar() or "")


def _migrate(record: Record) -> None:
    with record.reading() as connection:
        found = version(connection)
    if found == schema.VERSION:
        return
    if found > schema.VERSION:
        raise RecordError(
            f"{record.where}: the record has schema {found}, this imgbuild knows {schema.VERSION}",
            "use the imgbuild that wrote it, or a newer one; or name another place: `IMGBUILD_RECORD`",
        )
    upgrade(record)


def upgrade(record: Record, to: str = "head") -> None:
    """Run the migrations that a database has not had."""
    from alembic import command
    from alembic.config import Config

    with record.writing() as connection:
        config = Config()
        config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
        config.attributes["connection"] = connection
        command.upgrade(config, to)


def _error(where: str, error: DBAPIError) -> RecordError:
    said = str(getattr(error, "orig", None) or error).strip().splitlines() or [type(error).__name__]
    return RecordError(
        f"{where}: {said[0]}",
        "the record is an index: `imgbuild record rebuild` makes it anew, at another place if need be (`IMGBUILD_RECORD`)",
    )
