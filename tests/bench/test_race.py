"""What is compared is the same on both sides; the smallest comparison runs."""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from bench import race, race_report
from bench.engines import DOCKERFILES
from bench.mirror import Mirror
from dsl import loading
from tests.kit.http_server import HttpServer


def installed(name: str) -> set[str]:
    """The packages that a Dockerfile and those it stands on ask for."""
    text = (DOCKERFILES / name / "Dockerfile").read_text().replace("\\\n", " ")
    found = {word for line in re.findall(r"--no-install-recommends (.*?) &&", text) for word in line.split()}
    base = text.split()[1].removeprefix("bench/")
    return found | (installed(base) if (DOCKERFILES / base).is_dir() else set())


@pytest.mark.parametrize("subject", race.SUBJECTS.values(), ids=lambda subject: subject.component)
def test_dockerfiles_ask_for_the_packages_of_the_definitions(subject: race.Subject) -> None:
    images = loading.load(loading.find(race.ROOT)).find(subject.component)
    wanted = {image.name: {n for part in image.chain() for n in part.model.packages.apt} for image in images}
    assert {name: installed(name) for name in subject.names} == wanted
    assert {subject.alone, subject.added} <= set(subject.names)


def test_a_component_without_one_image() -> None:
    text = (race.ROOT / "repos/nova/component.yaml").read_text()
    found = race.without(text, "nova-novncproxy")
    assert "novncproxy" not in found
    assert text.startswith(found)
    assert "nova-consoleproxy" in race.without(text, "nova-api")


def test_the_mirror_asks_once(tmp_path: Path) -> None:
    (tmp_path / "pool").mkdir()
    (tmp_path / "pool/a.deb").write_bytes(b"package")
    with HttpServer(tmp_path / "pool") as server, Mirror(tmp_path / "mirror") as mirror:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({"http": mirror.address}))
        for _ in range(2):
            assert opener.open(f"{server.uri}/a.deb").read() == b"package"
        with pytest.raises(urllib.error.HTTPError, match="404"):
            opener.open(f"{server.uri}/b.deb")
        assert mirror.fetched == 1
        assert [request.path for request in server.requests] == ["/a.deb", "/b.deb"]


@pytest.mark.e2e
@pytest.mark.full
def test_the_smallest_race(tmp_path: Path) -> None:
    steps = ("prepared", "cold", "nothing changed", "bytes", "docker base", "docker chain", "docker bytes")
    subject = race.SUBJECTS["memcached"]
    results = race.race(tmp_path / "race", subject, 1, steps)
    assert list(results) == ["subject", "machine", *steps]
    packages = results["docker chain"]["packages"]["memcached"]
    assert packages["theirs"] > packages["ours"] > packages["other"]
    assert 0 < results["bytes"]["raw"] < results["docker bytes"]["raw"]
    table = race_report.table(results)
    assert "| all images, nothing cached but packages; chain of Dockerfiles |" in table
    again = race.race(tmp_path / "race", subject, 1, steps)
    assert again == results
