"""Durations and amounts of memory, as the language writes them, in numbers."""

from __future__ import annotations

import re

_NANOSECONDS = {"ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_BYTES = {"K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


def nanoseconds(duration: str) -> int:
    """A duration (``30s``) in nanoseconds."""
    found = re.fullmatch(r"([0-9]+)(ms|s|m|h)", duration)
    assert found, "the model checks durations"
    return int(found[1]) * _NANOSECONDS[found[2]]


def octets(quantity: str) -> int:
    """An amount of memory (``256Mi``) in bytes: engines mean 1024 by ``k``, Kubernetes and the language mean 1000."""
    found = re.fullmatch(r"([0-9.]+)([KMGT]i?)?", quantity)
    assert found, "the model checks amounts"
    return int(float(found[1]) * _BYTES.get(found[2], 1))
