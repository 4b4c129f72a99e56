"""Bills of materials, by the name of their form."""

from __future__ import annotations

from collections.abc import Callable

from builder.attest.inventory import Inventory


def _spdx(inventory: Inventory) -> str:
    from builder.attest import spdx

    return spdx.document(inventory)


def _cyclonedx(inventory: Inventory) -> str:
    from builder.attest import cyclonedx

    return cyclonedx.document(inventory)


FORMATS: dict[str, Callable[[Inventory], str]] = {"spdx": _spdx, "cyclonedx": _cyclonedx}
"""Their libraries are loaded when they are asked for: it takes a second."""
