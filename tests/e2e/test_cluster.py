"""Two small sites on a real cluster, each up by one command: keystone with its database, and the shop of the README."""

from __future__ import annotations

import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.kit.fleet import Fleet
from tests.kit.kubernetes.cluster import Cluster, is_built, started
from tests.kit.kubernetes.deployed import Deployed, deployed, identity
from tests.kit.project import ROOT

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster for the module; a short run has one where its binaries are there."""
    if request.config.option.markexpr == "not full" and not is_built():
        pytest.skip("building Kubernetes takes more time than a short run has; `./run-tests full` does")
    with started(tmp_path_factory.mktemp("kubernetes")) as found:
        yield found


@pytest.fixture
def shop(cluster: Cluster, fleet: Fleet, tmp_path: Path) -> Deployed:
    """The application, its database and its cache; their images are on the node."""
    site = yaml.safe_load((ROOT / "examples/shop/site.yaml").read_text())
    return deployed(cluster, fleet, tmp_path, site, "examples/shop")


def test_keystone_issues_a_token(cluster: Cluster, fleet: Fleet, tmp_path: Path) -> None:
    site = identity(cluster, fleet, tmp_path)
    site.works("apply", "--wait")
    assert site.token().startswith("gAAAA")  # Fernet's mark


def test_guests_write_into_the_shop(shop: Deployed) -> None:
    shop.works("apply", "--wait")
    with shop.cluster.forwarded("shop", "guestbook", 8000) as url:
        said = urllib.parse.urlencode({"entry": "a fine shop"}).encode()
        with urllib.request.urlopen(url, said, timeout=60) as answer:
            page = answer.read().decode()
    assert "<h1>Guests of the shop</h1>" in page
    assert "<li>a fine shop</li>" in page
    states = {row["name"]: row["state"] for row in shop.works("status", "--json").json["rows"]}
    assert (states["guestbook"], states["guestbook/schema"]) == ("2 of 2 ready", "done")
