"""Where things lie in a Debian root."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator

from builder.errors import MakeError

_MERGED = frozenset({"bin", "sbin", "lib", "lib32", "lib64", "libx32", "libo32"})
_LINKED = {"var/run": "run", "var/lock": "run/lock"}
"""What Debian has links for: a folder of this name would take their place."""
STANDARD = frozenset(
    "etc home opt run srv usr usr/bin usr/lib usr/libexec usr/local usr/sbin usr/share var var/cache var/lib var/log".split()  # noqa: SIM905
)
"""Folders of base-files that belong to root, 0755, everywhere."""


def canonical(path: str) -> str:
    """A path as layers spell it: relative, with merged ``/usr``, without ``./`` and a trailing slash.

    Raises:
        MakeError: it leads out of the root.
    """
    clean = posixpath.normpath("/" + path).lstrip("/")
    if ".." in path.split("/") or "\0" in path or "\n" in path:
        raise MakeError(f"{path!r} is no path of a package")
    first, slash, _ = clean.partition("/")
    return f"usr/{clean}" if slash and first in _MERGED else clean


def merged_link(path: str) -> bool:
    """Whether a canonical path is one of the links of merged ``/usr``."""
    return path in _MERGED


def placed(path: str) -> str:
    """A path as layers have it: relative, not through the links that every root has."""
    path = canonical(path)
    return next((new + path[len(old) :] for old, new in _LINKED.items() if f"{path}/".startswith(f"{old}/")), path)


def above(path: str) -> Iterator[str]:
    """The folders that a path of a layer lies in, the nearest first."""
    while path := posixpath.dirname(path):
        yield path


def above_all(paths: Iterable[str]) -> set[str]:
    """The folders that some paths of a layer lie in."""
    found: set[str] = set()
    for path in paths:
        while (path := path.rpartition("/")[0]) and path not in found:
            found.add(path)
    return found
