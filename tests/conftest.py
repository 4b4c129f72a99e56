"""Fixtures that many tests share."""

from __future__ import annotations

import os
import random
import signal
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests.kit import postgresql as postgresql_
from tests.kit.engines import Containerd, Docker, Podman, containerd_daemon, docker_daemon, podman_service

# What a shell starts in the background ignores SIGINT, and so would all that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)
# Processes that run tests at the same time take the same sample: they inherit what this one has chosen.
SEED = int(os.environ.get("IMGBUILD_TEST_SEED") or random.randrange(10**6))
os.environ["IMGBUILD_TEST_SEED"] = str(SEED)
_ENGINES = "engines"


def pytest_report_header() -> str:
    """Say which sample is taken."""
    return f"IMGBUILD_TEST_SEED={SEED}"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Choose the sample, and what runs at the same time as what."""
    _sample(items)
    _group(items)


def _sample(items: list[pytest.Item]) -> None:
    """Leave some of the sampled tests of each module in the short run: one, or as many as its mark says (`sampled(7)`)."""
    sampled: dict[tuple[str, int], list[pytest.Item]] = {}
    for item in items:
        mark = item.get_closest_marker("sampled")
        if mark and not item.get_closest_marker("full"):
            count = mark.args[0] if mark.args else 1
            sampled.setdefault((item.nodeid.partition("::")[0], count), []).append(item)
    for (_, count), found in sampled.items():
        chosen = random.Random(SEED).sample(found, min(count, len(found)))
        for item in found:
            if item not in chosen:
                item.add_marker(pytest.mark.full)


def _group(items: list[pytest.Item]) -> None:
    """Have what runs beside others (`--dist loadgroup`) go by modules, and all that needs an engine go by one process.

    Engines of two processes would take each other's bridges and rules for packets away. Those tests are the longest, so they
    begin first.
    """
    groups = {item: _ENGINES if _needs_engine(item) else item.nodeid.partition("::")[0] for item in items}
    for item, group in groups.items():
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: groups[item] != _ENGINES)


def _needs_engine(item: pytest.Item) -> bool:
    fixtures: Iterable[str] = getattr(item, "fixturenames", ())
    return item.get_closest_marker("e2e") is not None or not {"docker", "podman", "containerd"}.isdisjoint(fixtures)


@pytest.fixture(scope="session")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Docker]:
    """A docker for the whole run."""
    with docker_daemon(tmp_path_factory.mktemp("docker")) as engine:
        yield engine


@pytest.fixture(scope="session")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podman]:
    """A podman for the whole run."""
    with podman_service(tmp_path_factory.mktemp("podman")) as engine:
        yield engine


@pytest.fixture(scope="session")
def containerd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containerd]:
    """A containerd for the whole run."""
    with containerd_daemon(tmp_path_factory.mktemp("containerd")) as engine:
        yield engine


@pytest.fixture(scope="session")
def postgresql() -> Iterator[postgresql_.PostgreSQL]:
    """A PostgreSQL for the whole run."""
    with tempfile.TemporaryDirectory(prefix="postgresql-") as folder, postgresql_.server(Path(folder)) as server:
        yield server


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.integration)])
def database(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where a record can be: a new one, as a file and as a database of PostgreSQL."""
    if request.param == "sqlite":
        return str(tmp_path / "record.sqlite")
    server: postgresql_.PostgreSQL = request.getfixturevalue("postgresql")
    monkeypatch.setenv("PGPASSWORD", server.password)
    return server.database()
