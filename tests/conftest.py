"""Fixtures that many tests share."""

from __future__ import annotations

import functools
import os
import random
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler.loadscope import LoadScopeScheduling

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
    # They are the longest: of two processes, one begins with them.
    items.sort(key=lambda item: _together(item.nodeid) != _ENGINES)


class _ByModules(LoadScopeScheduling):  # type: ignore[misc]
    """Which tests go to one process: those of a module, and all that need an engine.

    Engines of two processes would take each other's bridges and rules for packets away.
    """

    def _split_scope(self, nodeid: str) -> str:
        return _together(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Have tests of several processes divided so."""
    return _ByModules(config, log)


def _together(nodeid: str) -> str:
    module = nodeid.partition("::")[0]
    return _ENGINES if _of_engines(Path(__file__).parent.parent / module) else module


@functools.cache
def _of_engines(module: Path) -> bool:
    return "pytest.mark.e2e" in module.read_text()


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
