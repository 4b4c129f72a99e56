"""``imgbuild list --bytes``: what each definition brings, from the locks of what was built."""

from __future__ import annotations

import pytest

from tests.kit.distribution import Site

pytestmark = pytest.mark.integration


def test_images_share_what_they_stand_on(site: Site) -> None:
    two = "images:\n  other: {summary: x, extends: tiny ^1.0, packages: {apt: [app]}, run: {command: [x], user: root}, allow: {root: x}}\n"
    site.edit("repos/app/component.yaml", "images:\n", two)
    unbuilt = site.works("list", "--bytes")
    assert "not built" in unbuilt.output
    site.works("build", "app")
    told = site.works("list", "--bytes", "--json").json
    found = {one["name"]: one for one in told["definitions"]}
    own = {name: one["bytes_own"] for name, one in found.items()}
    for name in ("app", "other"):
        layers = site.works("inspect", f"oci:out:{name}", "--json").json["layers"]
        assert found[name]["bytes"] == own["tiny"] + own[name] == sum(layer["bytes"] for layer in layers)
    assert found["tiny"]["bytes"] is None
    assert told["bytes"] == found["app"]["bytes"] + found["other"]["bytes"]
    assert told["bytes_once"] <= own["tiny"] + own["app"] + own["other"] < told["bytes"]
    drawn = site.works("list", "--bytes", "--graph", "dot").output
    assert '"app/app" [label="app\\n' in drawn
