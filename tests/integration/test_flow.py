"""The commands one after the other, as somebody uses them."""

from __future__ import annotations

import pytest

from tests.kit.distribution import Site

pytestmark = pytest.mark.integration


def test_a_second_build_makes_nothing(site: Site) -> None:
    result = site.works("build", "app", "--json").json["images"][0]
    assert (result["layers_made"], result["status"]) == (0, "reused")
