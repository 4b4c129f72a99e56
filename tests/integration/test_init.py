"""A component repo from a package's name: it builds, and says what is not there."""

from __future__ import annotations

import pytest
import yaml

from tests.kit.distribution import Site

pytestmark = pytest.mark.integration

UNIT = """\
[Service]
EnvironmentFile=-/etc/default/served
ExecStart=/bin/sh -c 'exec /usr/bin/served --listen=:7000 $OPTIONS'
User=served
StateDirectory=served
RuntimeDirectory=served
[Install]
WantedBy=multi-user.target
"""
COPYRIGHT = """\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: *
Copyright: 2020 Somebody
License: GPL-2+
"""
SYSUSERS = 'u served - "A service" /var/lib/served\n'


@pytest.fixture
def service(site: Site) -> Site:
    """A site whose repository has a service in two packages of one source."""
    common = {"usr/lib/systemd/system/served.service": UNIT, "etc/default/served": "OPTIONS='-x y'\n"}
    common["usr/lib/sysusers.d/served.conf"] = SYSUSERS
    site.repo.add("served-common", source="served", files=common)
    site.repo.add(
        "served", "2:1.4-1", depends="served-common", description="A service", homepage="https://served.example",
        files={"usr/bin/served": "#!/usr/bin/python3\n", "usr/share/doc/served/copyright": COPYRIGHT},
    )  # fmt: skip
    site.repo.publish()
    return site


def test_what_it_proposes_builds(service: Site) -> None:
    told = service.works("init", "served", "--extends", "tiny ^1.0", "--json").json
    path = service.folder / "repos/served/component.yaml"
    assert (told["path"], told["written"], told["text"]) == (str(path), True, path.read_text())
    data = yaml.safe_load(told["text"])
    image = data["images"]["served"]
    assert (data["summary"], data["homepage"]) == ("A service", "https://served.example")
    assert data["license"] == "GPL-2.0-or-later"
    assert image["run"]["command"] == ["/usr/bin/served", "--listen=:7000", "-x", "y"]
    assert (image["run"]["user"], image["run"]["ports"]) == ("served", {"main": 7000})
    assert image["run"]["volumes"] == {"data": {"path": "/var/lib/served", "owner": "served"}}
    assert image["users"]["served"]["uid"] not in (8000, 0)
    service.works("check")
    built = service.works("build", "served", "--json").json["images"][0]
    assert built["tag"] == "1.4-r1"
    assert service.image("served").configuration["config"]["User"]


def test_it_never_overwrites_and_a_dry_run_writes_nothing(service: Site) -> None:
    printed = service.works("init", "served", "--extends", "tiny ^1.0", "--dry-run").output
    assert not (service.folder / "repos/served").exists()
    service.works("init", "served", "--extends", "tiny ^1.0")
    path = service.folder / "repos/served/component.yaml"
    assert path.read_text() == printed
    path.write_text("mine\n")
    again = service.run("init", "served", "--extends", "tiny ^1.0")
    assert (again.code, path.read_text()) == (2, "mine\n")


def test_a_package_that_is_not_there(service: Site) -> None:
    told = service.run("init", "serve", "--extends", "tiny ^1.0")
    assert told.code == 2
    assert "there is no package 'serve' in the sources of tiny" in told.errors
    assert "did you mean served" in told.errors
    assert not (service.folder / "repos/serve").exists()
