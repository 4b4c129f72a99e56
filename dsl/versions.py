"""Versions: a product's, semantic ranges, tags."""

from __future__ import annotations

import re
from collections.abc import Iterable

_RELEASE = re.compile(r"(?P<version>.+?)-(?:r(?P<revision>[0-9]+)|dev)")


def product_version(package_version: str) -> str:
    """The product's version from its Debian package's.

    Without epoch, Debian revision and what Debian did to the source (``+ds``, ``+dfsg``); the real one after
    ``+really``; ``~`` becomes ``-`` and ``+`` becomes ``.``, since a tag may not have them
    (distribution-spec, "Pulling manifests").
    """
    version = re.split("[:!]", package_version, maxsplit=1)[-1]
    version = version.rsplit("-", 1)[0] if "-" in version else version
    version = version.rsplit("+really", 1)[-1]
    version = re.sub(r"[+~.](ds|dfsg|repack)[0-9.]*$", "", version)
    return version.replace("~", "-").replace("+", ".")


def tag(version: str, revision: int) -> str:
    """The tag of a release, ``31.0.0-r3``; that of a ``-dev`` build, if it has no revision."""
    return f"{version}-r{revision}" if revision else f"{version}-dev"


def parse_tag(text: str) -> tuple[str, int] | None:
    """Version and revision of a release by its tag, 0 for a ``-dev`` build; None if it is not one release's."""
    found = _RELEASE.fullmatch(text)
    return (found["version"], int(found["revision"] or 0)) if found else None


def floating_tags(version: str) -> tuple[str, ...]:
    """The tags that move: each numeric prefix, ``31.0.0``, ``31.0``, ``31``.

    Those of a stream stay within it: ``bookworm-26.1.0``, ``bookworm-26.1``, ``bookworm-26``, ``bookworm``.
    """
    of_stream = re.match(r"([a-z][a-z0-9]*)-(?=[0-9])", version)
    if of_stream:
        return (*(f"{of_stream[0]}{tag}" for tag in floating_tags(version[of_stream.end() :])), of_stream[1])
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
    from semantic_version import NpmSpec

    try:
        NpmSpec(text or "*")
    except ValueError:
        return f"{text!r} is no range of versions: write ^1.0, ~1.2, >=1.0 <3 or 1.2.3"
    return None


def highest(text: str, versions: Iterable[str]) -> str | None:
    """The highest version in a range (npm's notation), or None."""
    from semantic_version import NpmSpec, Version

    best = NpmSpec(text or "*").select([Version(version) for version in versions])
    return str(best) if best else None
