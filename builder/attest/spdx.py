"""An inventory → an SPDX 2.3 document (https://spdx.github.io/spdx-spec/v2.3/), by spdx-tools.

The image is a package that contains its layers, which are packages that contain those that dpkg knows. The same
inventory always gives the same bytes.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parseaddr

from license_expression import Licensing
from spdx_tools.spdx.model import (
    Actor,
    ActorType,
    Checksum,
    ChecksumAlgorithm,
    CreationInfo,
    Document,
    ExternalPackageRef,
    ExternalPackageRefCategory,
    ExtractedLicensingInfo,
    File,
    Package,
    PackagePurpose,
    Relationship,
    RelationshipType,
    SpdxNoAssertion,
)
from spdx_tools.spdx.writer.json import json_writer

from builder import __version__
from builder.attest import URI, identity, licenses
from builder.attest.inventory import Inventory, InventoryFile, InventoryLayer, InventoryPackage
from builder.model.digest import Digest

_IMAGE = "SPDXRef-image"
_SYSTEM = "SPDXRef-operating-system"
_LICENSING = Licensing()


def document(inventory: Inventory) -> str:
    """The document as JSON."""
    created = datetime.fromisoformat(inventory.created).astimezone(UTC).replace(microsecond=0, tzinfo=None)
    name = identity.title(inventory)
    info = CreationInfo(
        "SPDX-2.3",
        "SPDXRef-DOCUMENT",
        name,
        f"{URI}/sbom/spdx/{inventory.name}/{inventory.digest}",
        [Actor(ActorType.TOOL, f"imgbuild-{__version__}")],
        created,
    )
    made = Document(
        info,
        packages=[
            _image(inventory),
            _system(inventory),
            *map(_layer, _once(inventory.layers)),
            *(_package(package, inventory) for package in inventory.packages),
        ],
        files=[_file(file) for file in inventory.files],
        relationships=[*_relationships(inventory)],
        extracted_licensing_info=[
            ExtractedLicensingInfo(
                one.id, one.text or f"The package calls it so and says no more: {one.name}", one.name
            )
            for one in licenses.references(package.licenses for package in inventory.packages)
        ],
    )
    text = io.StringIO()
    # Tests validate what this gives; doing so each time would take longer than all else.
    json_writer.write_document_to_stream(made, text, validate=False, drop_duplicates=False)
    return text.getvalue() + "\n"


def _image(inventory: Inventory) -> Package:
    return Package(
        _IMAGE,
        inventory.name,
        SpdxNoAssertion(),
        version=inventory.version or None,
        files_analyzed=False,
        checksums=[Checksum(ChecksumAlgorithm.SHA256, inventory.digest.hex)],
        external_references=[_purl(identity.image_purl(inventory))],
        primary_package_purpose=PackagePurpose.CONTAINER,
        license_concluded=SpdxNoAssertion(),
        copyright_text=SpdxNoAssertion(),
    )


def _system(inventory: Inventory) -> Package:
    return Package(
        _SYSTEM,
        inventory.system.get("ID", "unknown"),
        SpdxNoAssertion(),
        version=inventory.system.get("VERSION_ID"),
        files_analyzed=False,
        summary=inventory.system.get("PRETTY_NAME"),
        primary_package_purpose=PackagePurpose.OPERATING_SYSTEM,
        license_concluded=SpdxNoAssertion(),
        copyright_text=SpdxNoAssertion(),
    )


def _layer(layer: InventoryLayer) -> Package:
    return Package(
        _layer_id(layer.digest),
        layer.digest,
        SpdxNoAssertion(),
        files_analyzed=False,
        checksums=[Checksum(ChecksumAlgorithm.SHA256, layer.digest.hex)],
        summary=layer.comment or None,
        comment=f"layer of the image; its tar has the digest {layer.diff_id}",
        primary_package_purpose=PackagePurpose.ARCHIVE,
        license_concluded=SpdxNoAssertion(),
        copyright_text=SpdxNoAssertion(),
    )


def _package(package: InventoryPackage, inventory: Inventory) -> Package:
    name, address = parseaddr(package.supplier)
    expression = package.licenses.expression
    return Package(
        _package_id(package),
        package.name,
        SpdxNoAssertion(),
        version=package.version,
        supplier=Actor(ActorType.ORGANIZATION, name, address or None) if name else SpdxNoAssertion(),
        files_analyzed=False,
        checksums=[Checksum(ChecksumAlgorithm.SHA256, package.sha256)] if package.sha256 else [],
        homepage=package.homepage or None,
        # Trivy and Syft write, and read, the source package so.
        source_info=f"built package from: {package.source_package} {package.source_version}"
        if not package.environment
        else f"installed into: /opt/{package.environment}",
        license_concluded=SpdxNoAssertion(),
        license_declared=_LICENSING.parse(expression) if expression else SpdxNoAssertion(),
        license_comment=_said_by(package) if expression else None,
        copyright_text=SpdxNoAssertion(),
        summary=package.summary or None,
        external_references=[_purl(identity.package_purl(package, inventory))],
        primary_package_purpose=PackagePurpose.LIBRARY,
    )


def _said_by(package: InventoryPackage) -> str:
    return f"{'' if package.environment else 'of all files of the source package, '}as {package.licenses.place} says"


def _file(file: InventoryFile) -> File:
    return File(
        f"./{file.path}",
        _file_id(file),
        [Checksum(ChecksumAlgorithm.SHA1, file.sha1), Checksum(ChecksumAlgorithm.SHA256, file.sha256)],
        license_concluded=SpdxNoAssertion(),
        copyright_text=SpdxNoAssertion(),
    )


def _relationships(inventory: Inventory) -> Iterator[Relationship]:
    yield Relationship("SPDXRef-DOCUMENT", RelationshipType.DESCRIBES, _IMAGE)
    yield Relationship(_IMAGE, RelationshipType.CONTAINS, _SYSTEM)
    for layer in _once(inventory.layers):
        yield Relationship(_IMAGE, RelationshipType.CONTAINS, _layer_id(layer.digest))
    ids = {package.key: _package_id(package) for package in inventory.packages}
    for package in inventory.packages:
        holder = _layer_id(package.layer) if package.layer else _IMAGE
        yield Relationship(holder, RelationshipType.CONTAINS, _package_id(package))
    for file in inventory.files:
        # A package whose files are not analyzed, all of them, may not contain any.
        yield Relationship(_file_id(file), RelationshipType.FILE_ADDED, _layer_id(file.layer))
    for package in inventory.packages:
        for needed in package.needs:
            yield Relationship(_package_id(package), RelationshipType.DEPENDS_ON, ids[needed])


def _once(layers: tuple[InventoryLayer, ...]) -> tuple[InventoryLayer, ...]:
    return tuple({layer.digest: layer for layer in layers}.values())


def _purl(text: str) -> ExternalPackageRef:
    return ExternalPackageRef(ExternalPackageRefCategory.PACKAGE_MANAGER, "purl", text)


def _package_id(package: InventoryPackage) -> str:
    if package.environment:
        return f"SPDXRef-wheel-{_word(package.environment)}-{_word(package.name)}"
    return f"SPDXRef-package-{_word(package.name)}-{package.architecture}"


def _layer_id(digest: Digest) -> str:
    return f"SPDXRef-layer-{digest.hex}"


def _file_id(file: InventoryFile) -> str:
    return f"SPDXRef-file-{Digest.of(file.path.encode(errors='surrogateescape')).hex[:16]}"


def _word(text: str) -> str:
    # An id has letters, digits, dots and dashes alone; a name of Debian may have a plus too.
    return re.sub(r"[^A-Za-z0-9.-]", lambda found: f"-{ord(found[0]):x}-", text)
