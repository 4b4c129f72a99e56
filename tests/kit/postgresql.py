"""A PostgreSQL of Debian's, on the loopback interface, as an ordinary user, while a block runs."""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from builder.tools.process import run

USER = "imgbuild"


class PostgreSQL:
    """A running server.

    Attributes:
        password: of the one user.
    """

    def __init__(self, port: int, password: str) -> None:
        self.port, self.password = port, password
        self._numbers = itertools.count()

    def database(self) -> str:
        """The address of a new, empty database; the password is not in it."""
        name = f"record{next(self._numbers)}"
        with self.connect() as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self._address(name)

    def connect(self) -> psycopg.Connection:
        """To the database that is there from the beginning."""
        return psycopg.connect(self._address("postgres"), password=self.password, autocommit=True)

    def _address(self, database: str) -> str:
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{database}"


@contextlib.contextmanager
def server(folder: Path) -> Iterator[PostgreSQL]:
    """Start a server; skips the test if there is none.

    Args:
        folder: that everybody can reach: pytest's own are closed to others by each run that begins.
    """
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if not programs:
        pytest.skip("needs postgresql")
    # PostgreSQL refuses to be run by root.
    as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
    data, password = folder / "data", secrets.token_hex(16)
    data.mkdir()
    (folder / "password").write_text(password)
    if as_user:
        run(["chown", "-R", "postgres:", folder])
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = int(listening.getsockname()[1])
    words = (
        "--username",
        USER,
        "--pwfile",
        folder / "password",
        "--auth=scram-sha-256",
        "--no-sync",
        "--encoding=UTF8",
    )
    run([*as_user, programs[-1].with_name("initdb"), "-D", data, *words])
    settings = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": "", "fsync": "off"}
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    with (folder / "log").open("wb") as log:
        child = subprocess.Popen([*as_user, programs[-1], "-D", data, *options], stdout=log, stderr=log, cwd="/")
    try:
        running = PostgreSQL(port, password)
        _await(running, child, folder / "log")
        yield running
    finally:
        # At once, without waiting for those who are still connected.
        child.send_signal(signal.SIGINT)
        child.wait(timeout=30)


def _await(server_: PostgreSQL, child: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 30
    while True:
        assert child.poll() is None, log.read_text()
        with contextlib.suppress(psycopg.OperationalError), server_.connect():
            return
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
