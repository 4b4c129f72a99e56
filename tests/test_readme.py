"""The README and its like, followed to the letter in a fresh copy of the repository."""

from __future__ import annotations

import contextlib
import re
import socket
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit import documents
from tests.kit.engines import Docker
from tests.kit.project import ROOT

DOCUMENTS = sorted(
    path.relative_to(ROOT)
    for path in (ROOT / "README.md", ROOT / "CHANGELOG.md", *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*/README.md"))
)


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_links_lead_somewhere(document: Path) -> None:
    text = (ROOT / document).read_text()
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        if "://" not in target:
            assert (ROOT / document.parent / target).exists(), target


def test_the_two_commands_are_told() -> None:
    text = (ROOT / "README.md").read_text()
    assert all(line.strip() in text for line in documents.SHOWN)


def test_the_license_is_there_and_named() -> None:
    assert "Apache License\n                           Version 2.0" in (ROOT / "LICENSE").read_text()


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store for all documents."""
    return tmp_path_factory.mktemp("readme-cache")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A fresh copy of the repository, which finds its libraries there already."""
    return documents.checkout(tmp_path)


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def _page(port: int) -> str:
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
                return str(answer.read().decode())
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.3)


@contextlib.contextmanager
def _followed(document: str, checkout: Path, cache: Path, docker: Docker) -> Iterator[tuple[str, int]]:
    """A document's output, and the port that stands for the one that is published."""
    port = _free_port()
    with documents.followed(document, checkout, cache, docker, port) as output:
        yield output, port


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("document", "page"),
    [
        ("README.md", "<h1>Hello</h1>"),
        ("examples/web/README.md", "<title>"),
        ("examples/own-program/README.md", "Hello"),
    ],
)
def test_what_serves_a_page(document: str, page: str, checkout: Path, cache: Path, docker: Docker) -> None:
    with _followed(document, checkout, cache, docker) as (_, port):
        assert page in _page(port)


@pytest.mark.e2e
def test_a_database(checkout: Path, cache: Path, docker: Docker) -> None:
    with _followed("examples/database/README.md", checkout, cache, docker) as (output, _):
        assert "PostgreSQL 17" in output
    docker("volume", "rm", "data")


@pytest.mark.e2e
def test_an_application(checkout: Path, cache: Path, docker: Docker) -> None:
    with _followed("examples/application/README.md", checkout, cache, docker) as (output, port):
        assert "notes/flask" in output
        assert "<title>Notes</title>" in _page(port)
    docker("volume", "rm", "notes")


@pytest.mark.e2e
def test_two_series(checkout: Path, cache: Path, docker: Docker) -> None:
    with _followed("examples/streams/README.md", checkout, cache, docker) as (output, _):
        assert re.search(r"^cache:bookworm-1\S+-r\d+ → cache:1\S+-r\d+$", output, re.MULTILINE)


@pytest.mark.e2e
def test_a_site(checkout: Path, cache: Path, docker: Docker) -> None:
    with _followed("examples/site-overlay/README.md", checkout, cache, docker) as (output, _):
        assert re.search(r"^web:\S+-acme-(r\d+|dev) ", output, re.MULTILINE)
        assert "acme/overlay.yaml" in output


@pytest.mark.e2e
def test_plugins(checkout: Path, cache: Path, docker: Docker) -> None:
    with _followed("examples/plugins/README.md", checkout, cache, docker) as (output, _):
        assert re.search(r"^libvirt:\S+-acme-(r\d+|dev) ", output, re.MULTILINE)
        assert re.search(r"^greeter:1.0.0\S*-acme-(r\d+|dev) ", output, re.MULTILINE)
        assert "acme/overlay.yaml" in output


@pytest.mark.e2e
def test_an_own_repo(checkout: Path, cache: Path, docker: Docker) -> None:
    with _followed("docs/own-repo.md", checkout, cache, docker) as (output, _):
        assert "wrote " in output
        assert "memcached" in output
        assert (checkout.parent / "somewhere/memcached/out/index.json").exists()
