"""Fixtures that many tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kit.engines import Docker, docker_daemon


@pytest.fixture(scope="session")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Docker]:
    """A docker for the whole run."""
    with docker_daemon(tmp_path_factory.mktemp("docker")) as engine:
        yield engine
