"""OpenStack's services beside keystone and nova, each with its steps, from our images: it answers, its workers work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.kit import inside
from tests.kit.cloud import Cloud

pytestmark = pytest.mark.e2e


@dataclass(frozen=True, slots=True)
class Case:
    """A component of OpenStack in the tests' cloud.

    Attributes:
        kind: of the service in keystone's catalogue.
        url: of its endpoint.
        databases: beside the one of its own name.
        steps: (image, step), in their order.
        images: what each says in its log once it works; nothing where its health says so.
        works: asks it for what it is for.
    """

    kind: str
    url: str
    steps: tuple[tuple[str, str], ...]
    images: dict[str, str]
    works: Callable[[Cloud], None]
    databases: tuple[str, ...] = ()
    messages: bool = True


def glance(cloud: Cloud) -> None:
    """It keeps an image."""
    made = cloud.ask(
        "glance-api", "image", "/v2/images", {"name": "a", "disk_format": "raw", "container_format": "bare"}
    )
    cloud.ask("glance-api", "image", f"/v2/images/{made['id']}/file", b"bytes", method="PUT")
    (kept,) = cloud.openstack("image", "list")
    assert (kept["Name"], kept["Status"]) == ("a", "active")


CASES = {
    "glance": Case("image", "http://glance-api:9292", (("glance-api", "db-sync"),), {"glance-api": ""}, glance, messages=False),
}  # fmt: skip


@pytest.mark.sampled
@pytest.mark.parametrize("name", CASES)
def test_it_works(name: str, cloud: Cloud) -> None:
    case = CASES[name]
    cloud.images |= cloud.fleet.load(cloud.site.engine, name)
    if case.url:
        cloud.join(name, case.kind, case.url, case.databases, messages=case.messages)
    for image, step in case.steps:
        cloud.site.step(cloud.images[image], step, config=cloud.config(image))
    started = [cloud.start(image, config=cloud.config(image)) for image in case.images]
    for running in started:
        if running.declared.run.get("health"):
            running.healthy(180)
        if case.images[running.name]:
            running.says(case.images[running.name], 120)
    case.works(cloud)
    for running in started:
        inside.check_confinement(running)
    assert {running.name: running.stop() for running in started} == dict.fromkeys(case.images, 0)
    for running in started:
        inside.check_contents(cloud.site.engine, running.declared.reference, running.declared.config["Cmd"][0])
