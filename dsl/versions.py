"""Versions: a product's, semantic ranges, tags."""

from __future__ import annotations

import re
from collections.abc import Iterable


def product_version(package_version: str) -> str:
    """The product's version from its Debian package's.

    Without epoch, Debian revision and what Debian did to the source (``+ds``, ``+dfsg``); the real one after
    ``+really``; ``~`` becomes ``-`` and ``+`` becomes ``.``, since a tag may not have them
    (distribution-spec, "Pulling manifests").
    """
    version = package_version.split(":", 1)[-1]
    version = version.rsplit("-", 1)[0] if "-" in version else version
    version = version.rsplit("+really", 1)[-1]
    version = re.sub(r"[+~.](ds|dfsg|repack)[0-9.]*$", "", version)
    return version.replace("~", "-").replace("+", ".")


def floating_tags(version: str) -> tuple[str, ...]:
    """The tags that move: each numeric prefix, ``31.0.0``, ``31.0``, ``31``."""
    found = re.match(r"[0-9]+(\.[0-9]+)*", version)
    if not found:
        return (version,)
    parts = found[0].split(".")
    prefixes = [".".join(parts[:end]) for end in range(len(parts), 0, -1)]
    return tuple(dict.fromkeys([version, *prefixes] if found[0] == version else prefixes))


def is_version(text: str) -> bool:
    """Whether a text is a semantic version, as those of layer definitions are."""
    return re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+", text) is not None


def check_range(text: str) -> str | None:
    """What is wrong with a range of semantic versions, in words; None if nothing is; an empty one takes all."""
    if any(_bounds(part) is None for part in text.split()):
        return f"{text!r} is no range of versions: write ^1.0, ~1.2, >=1.0 <3 or 1.2.3"
    return None


def highest(text: str, versions: Iterable[str]) -> str | None:
    """The highest version in a range, or None.

    Ranges are as npm and cargo know them, one after the other where all must hold: ``^1.0`` up to the next major,
    ``~1.2`` up to the next minor, ``>=1.0 <3``, ``1.2.3``, ``1.2`` for all of 1.2, ``*``.
    """
    bounds = [found for part in text.split() if (found := _bounds(part))]
    fitting = [
        (number, version)
        for version in versions
        if (number := tuple(map(int, version.split("."))))
        and all(low <= number and (high is None or number < high) for low, high in bounds)
    ]
    return max(fitting)[1] if fitting else None


_Number = tuple[int, ...]
_PART = re.compile(r"(\^|~|>=|<=|>|<|=)?(0|[1-9][0-9]*)(?:\.(0|[1-9][0-9]*))?(?:\.(0|[1-9][0-9]*))?")


def _bounds(part: str) -> tuple[_Number, _Number | None] | None:
    # The first version that a part of a range takes, and the first one that it takes no more.
    if part == "*":
        return (0, 0, 0), None
    found = _PART.fullmatch(part)
    if not found:
        return None
    given = [int(number) for number in found.groups()[1:] if number is not None]
    low = (*given, *[0] * (3 - len(given)))
    # What is not given may be anything: `1.2` is all of 1.2.
    after = (*given[:-1], given[-1] + 1, *[0] * (3 - len(given)))
    match found[1]:
        case "^":
            # The leftmost number that is not zero may not change.
            leading = next((i for i, number in enumerate(given) if number), len(given) - 1)
            return low, (*low[:leading], low[leading] + 1, *[0] * (2 - leading))
        case "~":
            kept = min(len(given), 2)
            return low, (*low[: kept - 1], low[kept - 1] + 1, *[0] * (3 - kept))
        case ">=":
            return low, None
        case ">":
            return after, None
        case "<":
            return (0, 0, 0), low
        case "<=":
            return (0, 0, 0), after
        case _:
            return low, after
