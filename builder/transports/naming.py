"""Which image is meant: by its name, its version or its whole tag, the newest where several fit."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from builder.errors import UsageError
from dsl import versions
from dsl.naming import Names

_STREAM = re.compile(r"([a-z][a-z0-9]*)-(?=[0-9])")
_USUAL = Names()
_NEAR = ("docker.io/library/", "docker.io/", "localhost/")


def matching(asked: str, known: Iterable[str], names: Names = _USUAL) -> tuple[str, ...]:
    """The references that are meant, oldest first.

    Args:
        asked: nothing for all; ``nova-api``, ``nova-api:31.0`` (any release of it) or ``nova-api:31.0.0-r3``.
        known: references as a place has them: ``nova-api:31.0.0-r3``, an engine's with their registry.
        names: what releases are called there.
    """
    there = tuple(dict.fromkeys(known))
    if asked in there:
        return (asked,)
    name, tag = split(asked)
    exact = [one for one in there if split(one) == (name, tag)]
    if exact:
        return tuple(exact[:1])
    found = (one for one in there if _fits(name, tag, *split(one)))
    return tuple(sorted(found, key=lambda one: age(at_home(one, names))))


def at_home(reference: str, names: Names) -> str:
    """A reference with the tag that a release has in locks and layouts; what is no release's stays as it is."""
    name, colon, tag = reference.rpartition(":")
    home = names.release(tag) if colon and "/" not in tag else ""
    return f"{name}:{home}" if home else reference


def newest(asked: str, known: Iterable[str], place: str, names: Names = _USUAL) -> str:
    """The newest reference that is meant; what was asked itself if none fits, since it may be a digest.

    Raises:
        UsageError: several images are meant.
    """
    found = matching(asked, known, names)
    several = images(found)
    if len(several) > 1:
        raise UsageError(f"{place} has several images", f"there are: {', '.join(several)}")
    return found[-1] if found else asked


def images(references: Iterable[str]) -> tuple[str, ...]:
    """The names of images among references, sorted."""
    return tuple(sorted({split(one)[0] for one in references}))


def split(reference: str) -> tuple[str, str]:
    """Name and tag; the registries that engines add to a bare name are left out. A digest is a name."""
    if reference.startswith("sha256:"):
        return reference, ""
    name, colon, tag = reference.rpartition(":")
    if not colon or "/" in tag:
        name, tag = reference, ""
    for prefix in _NEAR:
        name = name.removeprefix(prefix)
    return name, tag


def tagged(name: str) -> str:
    """Name and tag of an image that is called ``oci:out:nova-api:31.0.0-r3``: without its place, be it a registry."""
    return ":".join(name.rsplit(":", 2)[-2:]).rpartition("/")[2]


def stream(reference: str) -> str:
    """The stream that a release is of: ``bookworm`` of ``nova-api:bookworm-26.1.0-r1``; empty for a component's own."""
    found = _STREAM.match(split(reference)[1])
    return found[1] if found else ""


def series(reference: str) -> tuple[str, str]:
    """What a release follows others in: its image, and the stream that it is of."""
    return split(reference)[0], stream(reference)


def age(reference: str) -> tuple[Any, ...]:
    """A key that sorts references of one image, oldest first: ``-dev`` before all releases, ``r9`` before ``r10``.

    Streams come before the component's own releases, each by itself: no release of one is newer than one of another.
    """
    name, tag = split(reference)
    of = stream(reference)
    tag = _STREAM.sub("", tag)
    if not tag:
        return (name, not of, of, True, (), 0, reference)
    version, revision = versions.parse_tag(tag) or (tag, -1)
    return (name, not of, of, revision != 0, _version(version), max(revision, 0), reference)


def _fits(name: str, tag: str, its_name: str, its_tag: str) -> bool:
    if not name:
        return True
    if name != its_name:
        return False
    return not tag or re.fullmatch(rf"{re.escape(tag)}(\.[0-9].*|-.*)?", its_tag) is not None


def _version(text: str) -> tuple[tuple[int, int, str], ...]:
    # Digits count as numbers; what follows a dash comes before the version itself (31.0.0-rc1), all else after it.
    parts = []
    for part in re.findall(r"[0-9]+|[^0-9]+", text):
        if part.isdigit():
            parts.append((2, int(part), ""))
        else:
            parts.append((0 if part.startswith("-") else 3, 0, part))
    return (*parts, (1, 0, ""))
