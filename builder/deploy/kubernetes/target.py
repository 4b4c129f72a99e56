"""What the objects are for: a release of Kubernetes, and the site's namespace."""

from __future__ import annotations

import re
from dataclasses import dataclass

from builder.errors import UsageError

OLDEST, NEWEST = (1, 20), (1, 37)
_STABLE = (1, 21)


@dataclass(frozen=True, slots=True)
class Target:
    """Where objects go.

    Attributes:
        version: of Kubernetes, major and minor.
        site: what the objects are part of.
        pull_secrets: the Secrets by which nodes pull images.
        unknown: the names of secrets that are not known: the Secrets that want one of them are left out.
    """

    version: tuple[int, int]
    site: str
    namespace: str
    pull_secrets: tuple[str, ...] = ()
    unknown: frozenset[str] = frozenset()


def nearest(version: tuple[int, int]) -> tuple[int, int]:
    """The release nearest to one that a server has."""
    return min(max(version, OLDEST), NEWEST)


def since_stable(group: str, version: tuple[int, int]) -> str:
    """The version of an API whose last objects became stable in 1.21: CronJobs of ``batch``, disruption budgets of ``policy``."""
    return f"{group}/v1" if version >= _STABLE else f"{group}/v1beta1"


def version(text: str) -> tuple[int, int]:
    """A release of Kubernetes: ``1.31``.

    Raises:
        UsageError: it is none that is known here.
    """
    found = re.fullmatch(r"v?([0-9]+)\.([0-9]+)(\.[0-9]+)?", text)
    known = (int(found[1]), int(found[2])) if found else (0, 0)
    if not OLDEST <= known <= NEWEST:
        oldest, newest = (".".join(map(str, one)) for one in (OLDEST, NEWEST))
        raise UsageError(f"{text!r} is no release of Kubernetes that is known here", f"from {oldest} to {newest}")
    return known
