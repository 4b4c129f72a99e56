"""An inventory → a CycloneDX 1.6 document (https://cyclonedx.org/docs/1.6/json/), by cyclonedx-python-lib.

The same inventory always gives the same bytes: the serial number comes from the image's digest.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import datetime
from email.utils import parseaddr

from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, Property, XsUri
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.contact import OrganizationalContact, OrganizationalEntity
from cyclonedx.model.license import LicenseExpression
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion

from builder import __version__
from builder.attest import URI, identity
from builder.attest.inventory import Inventory, InventoryFile, InventoryPackage

_NAMES = uuid.uuid5(uuid.NAMESPACE_URL, f"{URI}/sbom/cyclonedx")


def document(inventory: Inventory) -> str:
    """The document as JSON."""
    image = Component(
        name=inventory.name,
        type=ComponentType.CONTAINER,
        version=inventory.version or None,
        bom_ref="image",
        purl=identity.image(inventory),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=inventory.digest.hex)],
        properties=_properties(
            (f"layer:{number:03}", f"{layer.digest} {layer.comment}".strip())
            for number, layer in enumerate(inventory.layers, start=1)
        ),
    )
    packages = {package.key: _package(package, inventory) for package in inventory.packages}
    files = [_file(file) for file in inventory.files]
    system = Component(
        name=inventory.system.get("ID", "unknown"),
        type=ComponentType.OPERATING_SYSTEM,
        version=inventory.system.get("VERSION_ID"),
        bom_ref="operating-system",
        description=inventory.system.get("PRETTY_NAME"),
    )
    bom = Bom(
        components=[system, *packages.values(), *files],
        serial_number=uuid.uuid5(_NAMES, inventory.digest),
    )
    bom.metadata.timestamp = datetime.fromisoformat(inventory.created)
    bom.metadata.component = image
    bom.metadata.tools.components.add(Component(name="imgbuild", type=ComponentType.APPLICATION, version=__version__))
    bom.register_dependency(image, [system, *packages.values(), *files])
    for package in inventory.packages:
        bom.register_dependency(packages[package.key], [packages[name] for name in package.needs])
    return make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=1) + "\n"


def _package(package: InventoryPackage, inventory: Inventory) -> Component:
    name, address = parseaddr(package.supplier)
    purl = identity.package(package, inventory)
    expression = package.licenses.expression
    return Component(
        name=package.name,
        type=ComponentType.LIBRARY,
        version=package.version,
        bom_ref=purl.to_string() + (f"#{package.environment}" if package.environment else ""),
        purl=purl,
        description=package.summary or None,
        supplier=OrganizationalEntity(name=name, contacts=[OrganizationalContact(email=address or None)])
        if name
        else None,
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=package.sha256)] if package.sha256 else [],
        licenses=[LicenseExpression(expression)] if expression else [],
        external_references=[ExternalReference(type=ExternalReferenceType.WEBSITE, url=XsUri(package.homepage))]
        if package.homepage
        else [],
        properties=_properties(
            (
                ("layer", package.layer or ""),
                ("environment", f"/opt/{package.environment}" if package.environment else ""),
                ("source-package", package.source_package),
                ("source-version", package.source_version),
            )
        ),
    )


def _file(file: InventoryFile) -> Component:
    return Component(
        name=f"/{file.path}",
        type=ComponentType.FILE,
        bom_ref=f"file:/{file.path}",
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=file.sha256)],
        properties=_properties((("layer", file.layer),)),
    )


def _properties(pairs: Iterable[tuple[str, str]]) -> list[Property]:
    return [Property(name=f"imgbuild:{name}", value=value) for name, value in pairs if value]
