"""Images → bills of materials that are valid, complete and always the same."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonValidator
from spdx_tools.spdx.parser.jsonlikedict.json_like_dict_parser import JsonLikeDictParser
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

from builder.attest import inventory, sbom
from builder.formats import oci
from builder.formats.tar import Entry
from builder.model.image import Image, Layer
from builder.tools.store import Store
from tests.kit.images import make_layer

STATUS = """\
Package: web
Status: install ok installed
Maintainer: Web Team <web@example.org>
Architecture: amd64
Source: website (1:2.0-1)
Version: 1:2.0-1+b1
Depends: libc6 (>= 2), mail-transport-agent | absent
Homepage: https://example.org
Description: a server
 of pages

Package: libstdc++6
Status: install ok installed
Architecture: amd64
Version: 14.2.0-19

Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.41
Pre-Depends: libstdc++6

Package: postfix
Status: install ok installed
Architecture: all
Version: 3
Provides: mail-transport-agent (= 3), default-mta

Package: gone
Status: deinstall ok config-files
Architecture: all
Version: 1
"""
COPYRIGHT = """\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: *
Copyright: X
License: Expat and odd

License: odd
 Be <kind> & "polite".
"""
DOC = "usr/share/doc"
INFO = "var/lib/dpkg/info"


def layer(store: Store, files: dict[str, str], links: dict[str, str] | None = None, **told: str) -> Layer:
    """A layer of some files and links, with annotations."""
    entries: list[tuple[Entry, bytes | None]] = [
        (Entry(path, "file", 0o644, size=len(text.encode())), text.encode()) for path, text in files.items()
    ]
    entries += [(Entry(path, "link", 0o777, target=target), None) for path, target in (links or {}).items()]
    made = make_layer(store, sorted(entries, key=lambda pair: pair[0].path))
    return replace(made, annotations=tuple((f"org.imgbuild.{name}", value) for name, value in sorted(told.items())))


def spdx_faults(data: dict[str, Any]) -> list[Any]:
    """What SPDX's own tools find wrong."""
    parser = JsonLikeDictParser()  # type: ignore[no-untyped-call]
    return validate_full_spdx_document(parser.parse(data), "SPDX-2.3")


@pytest.fixture
def image(tmp_path: Path) -> Image:
    """An image of ours in small."""
    store = Store(tmp_path)
    lower = layer(
        store,
        {
            f"{DOC}/libc6/copyright": COPYRIGHT,
            f"{INFO}/libc6.list": "",
            f"{INFO}/libstdc++6:amd64.list": "",
            "usr/lib/os-release": 'ID=debian\nVERSION_ID="13"\nPRETTY_NAME="Debian GNU/Linux 13"\n',
        },
        {f"{DOC}/libstdc++6": "libc6"},
        kind="package",
        packages="libc6=2.41 libstdc++6=14.2.0-19",
        sha256=f"{'a' * 64} {'b' * 64}",
    )
    upper = layer(
        store,
        {
            f"{DOC}/web/copyright": "Free software.",
            f"{INFO}/web.list": "",
            f"{INFO}/postfix.list": "",
            f"{DOC}/postfix/copyright": COPYRIGHT,
        },
        kind="package",
        packages="postfix=3 web=1:2.0-1+b1",
        sha256=f"{'c' * 64} {'d' * 64}",
    )
    own = layer(store, {"etc/web.conf": "x", "srv/ü.html": "hello"}, kind="files")
    state = layer(store, {f"{DOC}/postfix/.wh.copyright": ""}, kind="state")
    records = layer(store, {"var/lib/dpkg/status": STATUS}, kind="records")
    layers = [lower, upper, state, own, records]
    labels = {"org.opencontainers.image.title": "web", "org.opencontainers.image.version": "2.0-r1"}
    config = oci.config("amd64", "2025-01-01T00:00:00Z", {"Labels": labels}, layers, [f"layer {n}" for n in range(5)])
    return Image(oci.manifest(config, layers), config, tuple(layers), store)


def test_an_inventory_has_what_dpkg_has(image: Image) -> None:
    found = inventory.read(image)
    packages = {package.name: package for package in found.packages}
    assert [*packages] == ["libc6", "libstdc++6", "postfix", "web"]
    lower, upper = image.layers[:2]
    assert {name: one.layer for name, one in packages.items()} == {
        "libc6": lower.digest,
        "libstdc++6": lower.digest,
        "postfix": upper.digest,
        "web": upper.digest,
    }
    web = packages["web"]
    assert (web.source_package, web.source_version) == ("website", "1:2.0-1")
    assert (web.sha256, web.needs, web.summary) == ("d" * 64, ("libc6", "postfix"), "a server")
    assert packages["libc6"].needs == ("libstdc++6",)
    assert packages["libstdc++6"].licenses.expression == packages["libc6"].licenses.expression
    assert packages["libc6"].licenses.expression.startswith("LicenseRef-odd-")
    assert packages["postfix"].licenses.expression == "", "an upper layer has removed what says so"
    assert [file.path for file in found.files] == ["etc/web.conf", "srv/ü.html"]


def test_layers_that_images_share_are_read_once(image: Image) -> None:
    scans: inventory.Scans = {}
    first = inventory.read(image, scans)
    broken = replace(image, blobs=Store(Path("/nonexistent")))
    assert inventory.read(broken, scans) == first


@pytest.mark.parametrize("form", sbom.FORMATS)
def test_the_same_image_gives_the_same_text(image: Image, form: str) -> None:
    assert sbom.FORMATS[form](inventory.read(image)) == sbom.FORMATS[form](inventory.read(image))


def test_spdx_is_valid_and_names_every_package_once(image: Image) -> None:
    data: dict[str, Any] = json.loads(sbom.FORMATS["spdx"](inventory.read(image)))
    assert spdx_faults(data) == []
    named = {
        one["externalRefs"][0]["referenceLocator"]: one["SPDXID"]
        for one in data["packages"]
        if one["primaryPackagePurpose"] == "LIBRARY"
    }
    assert list(named) == [
        "pkg:deb/debian/libc6@2.41?arch=amd64&distro=debian-13",
        "pkg:deb/debian/libstdc%2B%2B6@14.2.0-19?arch=amd64&distro=debian-13",
        "pkg:deb/debian/postfix@3?arch=all&distro=debian-13",
        "pkg:deb/debian/web@1:2.0-1%2Bb1?arch=amd64&distro=debian-13",
    ]
    related = {(x["spdxElementId"], x["relationshipType"], x["relatedSpdxElement"]) for x in data["relationships"]}
    web, libc6 = "SPDXRef-package-web-amd64", "SPDXRef-package-libc6-amd64"
    assert (web, "DEPENDS_ON", libc6) in related
    assert (f"SPDXRef-layer-{image.layers[1].digest.hex}", "CONTAINS", web) in related
    (found,) = (one for one in data["packages"] if one["SPDXID"] == web)
    assert found["sourceInfo"] == "built package from: website 1:2.0-1"
    assert found["checksums"] == [{"algorithm": "SHA256", "checksumValue": "d" * 64}]
    assert data["creationInfo"]["created"] == "2025-01-01T00:00:00Z"
    assert [one["extractedText"] for one in data["hasExtractedLicensingInfos"]] == ['Be <kind> & "polite".']


def test_cyclonedx_is_valid_and_names_every_package_once(image: Image) -> None:
    text = sbom.FORMATS["cyclonedx"](inventory.read(image))
    assert JsonValidator(SchemaVersion.V1_6).validate_str(text) is None
    data = json.loads(text)
    packages = {one["name"]: one for one in data["components"] if one["type"] == "library"}
    assert [*packages] == ["libc6", "libstdc++6", "postfix", "web"]
    web = packages["web"]
    assert web["purl"] == "pkg:deb/debian/web@1:2.0-1%2Bb1?arch=amd64&distro=debian-13"
    assert {one["name"]: one["value"] for one in web["properties"]} == {
        "imgbuild:layer": image.layers[1].digest,
        "imgbuild:source-package": "website",
        "imgbuild:source-version": "1:2.0-1",
    }
    needs = {one["ref"]: one.get("dependsOn", []) for one in data["dependencies"]}
    assert needs[web["bom-ref"]] == [packages["libc6"]["bom-ref"], packages["postfix"]["bom-ref"]]
    assert data["metadata"]["component"]["hashes"] == [{"alg": "SHA-256", "content": image.digest.hex}]


def test_an_image_of_nothing_has_a_bill_too(tmp_path: Path) -> None:
    store = Store(tmp_path)
    bare = layer(store, {"x": "y"})
    config = oci.config("amd64", "2025-01-01T00:00:00.123456+02:00", {}, [bare], [])
    found = inventory.read(Image(oci.manifest(config, [bare]), config, (bare,), store))
    assert found.packages == ()
    data = json.loads(sbom.FORMATS["spdx"](found))
    assert spdx_faults(data) == []
    assert JsonValidator(SchemaVersion.V1_6).validate_str(sbom.FORMATS["cyclonedx"](found)) is None
