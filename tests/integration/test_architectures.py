"""One release for several architectures: locked, built, published, pulled."""

from __future__ import annotations

import platform

import pytest

from tests.kit.distribution import Site

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(platform.machine() != "x86_64", reason="arm64 stands for the other architecture"),
]


@pytest.fixture
def both(site: Site) -> Site:
    """A site whose images are made for two architectures, of packages that are the same for both."""
    site.repo.architectures = ("amd64", "arm64")
    for suite in site.repo.suites:
        (site.repo.folder / "dists" / suite / "main/binary-arm64").mkdir()
    site.repo.publish()
    site.edit("imgbuild.yaml", "workspace: site\n", "workspace: site\ndefaults: {architectures: [amd64, arm64]}\n")
    return site


def test_a_release_is_locked_and_built_for_both(both: Site) -> None:
    before = both.lock()
    both.works("lock", "app")
    print(both.lock())
    both.works("build", "app")
    print((both.folder/"out/index.json").read_text())
