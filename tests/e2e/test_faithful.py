"""What ships, and the examples, are what their packages are when installed the ordinary way."""

from __future__ import annotations

import pytest

from tests.kit.fleet import Fleet
from tests.kit.project import ROOT, imgbuild

pytestmark = pytest.mark.e2e
SMALL = (
    (".", "memcached"),
    ("examples/web", "web"),
    ("examples/database", "database"),
    ("examples/own-program", "greeter"),
    ("examples/application", "notes"),
    ("examples/streams", "cache@bookworm"),
    ("examples/site-overlay", "web"),
)
LARGE = tuple((".", repo.name) for repo in sorted((ROOT / "repos").iterdir()) if (".", repo.name) not in SMALL)
"""All images of each."""


@pytest.mark.parametrize(
    ("where", "target"),
    [
        *(pytest.param(*one, marks=pytest.mark.sampled) for one in SMALL),
        *(pytest.param(*one, marks=pytest.mark.full) for one in LARGE),
    ],
)
def test_an_image_is_the_same_system(where: str, target: str, fleet: Fleet) -> None:
    folder = fleet.site / where
    out = f"oci:{fleet.cache / 'faithful' / where / target}"
    built = imgbuild("build", target, "--to", out, "--json", cache=fleet.cache, cwd=folder)
    assert built.code == 0, built.errors + built.output
    images = [f"{out}:{image['image']}" for image in built.json["images"]]
    found = imgbuild("compare", *images, cache=fleet.cache, cwd=folder)
    assert found.code == 0, found.output + found.errors
    assert found.output.count(": the same system") == len(images)
