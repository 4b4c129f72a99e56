"""Which Dockerfiles a fix means."""

from __future__ import annotations

from bench import fixes, fleet, race
from dsl import loading

CATALOG = loading.load(loading.find(race.ROOT))


def test_a_fix_at_the_bottom_means_all() -> None:
    assert set(fixes.touched(CATALOG, "openssl")) == fleet.dockerfiles(CATALOG).keys()


def test_a_fix_of_one_component_means_its_own() -> None:
    found = fixes.touched(CATALOG, "nova")
    assert {"nova-base", "nova-api", "nova-compute"} <= set(found)
    assert not [name for name in found if name.startswith("keystone")]
    assert found.index("nova-base") < found.index("nova-api")


def test_a_fix_in_the_middle() -> None:
    found = set(fixes.touched(CATALOG, "libxml2"))
    assert {fleet.SHARED, "nova-api", "apache2"} <= found
    assert not found & {"base", "memcached"}
