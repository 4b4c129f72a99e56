"""The fleet's Dockerfiles are made from its definitions."""

from __future__ import annotations

import re

from bench import fleet, race
from dsl import loading

CATALOG = loading.load(loading.find(race.ROOT))
FILES = fleet.dockerfiles(CATALOG)


def installed(name: str) -> set[str]:
    """The packages that a Dockerfile and those it stands on ask for."""
    text = FILES[name]
    found = {word for line in re.findall(r"--no-install-recommends (.*?) &&", text) for word in line.split()}
    below = fleet.base_of(text)
    return found | (installed(below) if below in FILES else fleet.BASE)


def test_every_image_has_the_packages_of_its_definitions() -> None:
    for image in fleet.comparable(CATALOG):
        wanted = {name for part in image.chain()[1:] for name in part.model.packages.apt}
        assert installed(image.name) - fleet.BASE == wanted - fleet.BASE


def test_what_has_wheels_stays_out() -> None:
    left = {image.name for component in CATALOG.components for image in component.images} - FILES.keys()
    assert left == {"imgbuild"}


def test_each_is_built_after_what_it_stands_on() -> None:
    on_base, on_shared = fleet.groups(FILES)
    built = {"base", "debian:13"}
    for names in (*on_base, (fleet.SHARED,), *on_shared):
        for name in names:
            assert fleet.base_of(FILES[name]) in built
            built.add(name)
    assert built == {*FILES, "debian:13"}
    assert ("mariadb",) in on_base
    assert any(names[0] == "nova-base" and "nova-api" in names for names in on_shared)


def test_answers_are_given_before() -> None:
    assert "neutron-common neutron/configure_db boolean false" in FILES["neutron-base"]
