"""The images of the end-to-end tests, and places to run them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.kit.cloud import Cloud
from tests.kit.engines import Docker, Engine
from tests.kit.fleet import Fleet
from tests.kit.running import Site


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """What ships, built once."""
    return Fleet(tmp_path_factory.mktemp("fleet"))


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Engine], Site]]:
    """Makes sites on an engine, and removes them."""
    made: list[Site] = []

    def make(engine: Engine) -> Site:
        folder: Path = tmp_path_factory.mktemp("site")
        made.append(Site(engine, f"imgbuild-{folder.parent.name[-6:]}-{folder.name}", folder))
        return made[-1]

    yield make
    for site in made:
        site.close()


@pytest.fixture(scope="session")
def cloud(fleet: Fleet, docker: Docker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """Database, messages, cache and identity, under docker."""
    folder = tmp_path_factory.mktemp("cloud")
    site = Site(docker, f"imgbuild-{folder.parent.name[-6:]}-{folder.name}", folder)
    try:
        yield Cloud.begin(site, fleet)
    finally:
        site.close()
