"""What images of one chain share, counted by the digests in a layout."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from builder import contents
from builder.contents import LayerContents
from builder.transports import oci_layout
from tests.kit.project import imgbuild

pytestmark = [pytest.mark.e2e, pytest.mark.full]


@pytest.fixture(scope="module")
def layers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[LayerContents, ...]]:
    """The layers of each image, from one build of them all."""
    folder = tmp_path_factory.mktemp("shared")
    targets = ("keystone/keystone", "nova/nova-api", "nova/nova-conductor")
    result = imgbuild("build", *targets, "--to", f"oci:{folder / 'out'}", "--json", cache=folder / "cache")
    assert result.code == 0, result.errors + result.output
    built = [one["image"] for one in result.json["images"]]
    return {name: contents.layers(oci_layout.read(Path(folder / "out"), name)) for name in built}


def of(layers: Iterable[LayerContents], *definitions: str) -> list[str]:
    """The digests of what some definitions bring, but for the records."""
    return [layer.digest for layer in layers if layer.definition in definitions and layer.kind != "records"]


def test_services_of_nova_share_nova_base(layers: dict[str, tuple[LayerContents, ...]]) -> None:
    chain = ("debian-13", "python-13", "openstack", "nova-base")
    shared = of(layers["nova-api"], *chain)
    assert of(layers["nova-conductor"], *chain) == shared
    kinds = [layer.kind for layer in layers["nova-api"] if layer.digest in shared]
    assert kinds.count("state") == len(chain)
    assert kinds.count("package") > 40
    # What is left is each image's own and its records.
    for name in ("nova-api", "nova-conductor"):
        rest = {layer.kind: layer.definition for layer in layers[name] if layer.digest not in shared}
        assert set(rest.values()) == {name}
        assert "records" in rest


def test_keystone_and_nova_share_openstack(layers: dict[str, tuple[LayerContents, ...]]) -> None:
    chain = ("debian-13", "python-13", "openstack")
    shared = of(layers["nova-api"], *chain)
    assert of(layers["keystone"], *chain) == shared
    assert len(shared) > 30
