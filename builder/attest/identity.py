"""What packages and images are called by everybody: package URLs (https://github.com/package-url/purl-spec)."""

from __future__ import annotations

from packageurl import PackageURL

from builder.attest.inventory import Inventory, InventoryPackage


def title(inventory: Inventory) -> str:
    """``nova-api:31.0.0-r3``."""
    return f"{inventory.name}:{inventory.version}" if inventory.version else inventory.name


def package(found: InventoryPackage, inventory: Inventory) -> PackageURL:
    """A Debian package (purl-spec, types/deb), or a Python one (types/pypi)."""
    if found.environment:
        return PackageURL("pypi", None, found.name, found.version)
    system, number = inventory.system.get("ID", "debian"), inventory.system.get("VERSION_ID", "")
    qualifiers = {"arch": found.architecture, **({"distro": f"{system}-{number}"} if number else {})}
    return PackageURL("deb", system, found.name, found.version, qualifiers)


def image(inventory: Inventory) -> PackageURL:
    """An OCI image (purl-spec, types/oci): its version is its digest."""
    qualifiers = {"arch": inventory.architecture, **({"tag": inventory.version} if inventory.version else {})}
    return PackageURL("oci", None, inventory.name, inventory.digest, qualifiers)


def package_purl(found: InventoryPackage, inventory: Inventory) -> str:
    """The same as text."""
    return package(found, inventory).to_string()


def image_purl(inventory: Inventory) -> str:
    """The same as text."""
    return image(inventory).to_string()
