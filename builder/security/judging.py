"""A locked package × an advisory → how it stands. Versions are compared by the rules of whoever made the package."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from builder.model.advisory import PYPI, Advisory, State
from builder.model.lock import Artifact, LockedPackage, LockedWheel

SUFFIXES = ("", "-security", "-updates", "-proposed-updates")
"""Suites of one release of Debian: a feed that speaks of ``trixie`` means them all. Backports are none: their versions
compare as newer than a fix."""


def release(suite: str, codenames: Iterable[str]) -> str:
    """The release that a suite is of; empty if it is of none of them."""
    return next((name for name in codenames if suite.removeprefix(name) in SUFFIXES and suite.startswith(name)), "")


def by_source(advisories: Iterable[Advisory]) -> Mapping[tuple[str, str], tuple[Advisory, ...]]:
    """Advisories by suite and source package."""
    found: dict[tuple[str, str], dict[tuple[str, ...], Advisory]] = {}
    for one in advisories:
        rows = found.setdefault((one.suite, one.source), {})
        rows.setdefault((one.id, one.introduced, one.fixed, one.feed), one)
    return {key: tuple(rows.values()) for key, rows in found.items()}


def named(one: Artifact) -> tuple[str, str]:
    """What advisories call a package or a wheel, and its version as they count it."""
    return (one.source_package, one.source_version) if isinstance(one, LockedPackage) else (one.name, one.version)


def state(one: Artifact, advisory: Advisory) -> State:
    """How a package or a wheel stands."""
    return package(one, advisory) if isinstance(one, LockedPackage) else wheel(one, advisory)


def package(locked: LockedPackage, advisory: Advisory) -> State:
    """How a package of Debian stands (deb-version(7)); the source's version counts, as advisories name that."""
    version = _version(locked.source_version)
    if advisory.introduced != "0" and version < _version(advisory.introduced):
        return State.UNTOUCHED
    if not advisory.fixed:
        return State.WAITING
    return State.FIXED if version >= _version(advisory.fixed) else State.FIXABLE


@cache
def _version(text: str) -> Any:
    # Thousands of advisories speak of a few versions each; to take one apart is half of a comparison.
    from debian.debian_support import Version

    return Version(text)


def wheel(locked: LockedWheel, advisory: Advisory) -> State:
    """How a project of PyPI stands (PEP 440)."""
    from packaging.version import InvalidVersion, Version

    assert advisory.suite == PYPI
    try:
        version = Version(locked.version)
        if advisory.introduced != "0" and version < Version(advisory.introduced):
            return State.UNTOUCHED
        if not advisory.fixed:
            return State.WAITING
        return State.FIXED if version >= Version(advisory.fixed) else State.FIXABLE
    except InvalidVersion:
        return State.WAITING
