"""What the objects are for: a release of Kubernetes, and the site's namespace."""

from __future__ import annotations

import re
from dataclasses import dataclass

from builder.errors import UsageError

OLDEST, NEWEST = (1, 20), (1, 37)


@dataclass(frozen=True, slots=True)
class Target:
    """Where objects go.

    Attributes:
        version: of Kubernetes, major and minor.
        site: what the objects are part of.
        pull_secrets: the Secrets by which nodes pull images.
        withheld: whether Secrets are left out, since what they hold is not known.
    """

    version: tuple[int, int]
    site: str
    namespace: str
    pull_secrets: tuple[str, ...] = ()
    withheld: bool = False


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
