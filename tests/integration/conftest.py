"""Sites to build on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.distribution import SECOND, Distribution, Site
from tests.kit.registry import Registry, registry


@pytest.fixture(scope="session")
def distribution(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Distribution]:
    """Packages of a tiny root, locked and built once."""
    if os.geteuid() != 0:
        pytest.skip("needs root for trees with owners")
    made = Distribution(tmp_path_factory.mktemp("distribution"))
    yield made
    made.repo.close()


@pytest.fixture
def site(distribution: Distribution, tmp_path: Path) -> Site:
    """A site of the test's own, with the component ``app`` built."""
    return Site(tmp_path / "site", distribution, like=distribution.site)


@pytest.fixture
def two(site: Site) -> Site:
    """A site with two components, built and attested."""
    site.write({"repos/second/component.yaml": SECOND})
    site.works("lock", "second")
    site.works("build", "--all", "--attest")
    return site


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry for all tests of a module; each has a prefix of its own."""
    with registry(tmp_path_factory.mktemp("registry")) as made:
        yield made


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[Registry]:
    """A registry without TLS and password, of the test's own."""
    with registry(tmp_path / "plain") as made:
        yield made
