"""What images of ours say of their packages: annotations of layers, and dpkg's status in them."""

from __future__ import annotations

from collections.abc import Mapping

from builder.formats import deb

PREFIX = "org.imgbuild."


def packages(annotations: Mapping[str, str]) -> set[tuple[str, str]]:
    """The packages (name, version) that a layer's annotations name."""
    words = annotations.get(f"{PREFIX}packages", "").split()
    return {(name, version) for name, _, version in (word.partition("=") for word in words)}


def recorded(status: bytes) -> tuple[tuple[str, str], ...]:
    """The packages (name, version) that dpkg's status has as installed or unpacked."""
    stanzas = status.decode("utf-8", "replace").split("\n\n")
    found = (deb.fields(stanza) for stanza in stanzas if stanza.strip())
    return tuple(
        (one["Package"], one.get("Version", ""))
        for one in found
        if "Package" in one and "deinstall" not in one.get("Status", "")
    )
