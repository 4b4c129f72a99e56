"""Mirrors of registries, as podman and skopeo know them (containers-registries.conf(5)): blobs are read there first.

A blob is asked for by its digest and held against it, so a mirror may lag behind, or lie, and does no harm.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from builder.errors import UsageError
from builder.registry import address
from builder.registry.address import Address, Host


def of(host: Host, repository: str, environ: Mapping[str, str] | None = None) -> tuple[Address, ...]:
    """Where a repository's blobs may be had in place of its registry, in the order in which they are named.

    Args:
        environ: in place of the process's own environment.

    Raises:
        UsageError: a file cannot be read or understood.
    """
    name = f"{host.name}/{repository}"
    found: tuple[str, Path, Mapping[str, Any]] | None = None
    for path in paths(os.environ if environ is None else environ):
        for one in _listed(_read(path), "registry", path):
            prefix = str(one.get("prefix") or one.get("location") or "").rstrip("/")
            # The longest one counts; of several files the last.
            if prefix and f"{name}/".startswith(f"{prefix}/") and (found is None or len(prefix) >= len(found[0])):
                found = (prefix, path, one)
    if found is None:
        return ()
    prefix, path, told = found
    rest = name.removeprefix(prefix)
    return tuple(_mirror(one, rest, path) for one in _listed(told, "mirror", path) if _for_digests(one))


def paths(environ: Mapping[str, str]) -> Iterator[Path]:
    """The files that may name some, each going before those that come before it; ``$CONTAINERS_REGISTRIES_CONF`` stands for
    all of them."""
    if named := environ.get("CONTAINERS_REGISTRIES_CONF"):
        yield Path(named)
        return
    home = Path(environ.get("HOME") or Path.home())
    own = Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "containers"
    system = Path("/etc/containers")
    yield own / "registries.conf" if (own / "registries.conf").exists() else system / "registries.conf"
    for folder in (system, own):
        yield from sorted((folder / "registries.conf.d").glob("*.conf"))


def _read(path: Path) -> Mapping[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {error}", "containers-registries.conf(5) tells its form") from None


def _listed(told: Mapping[str, Any], key: str, path: Path) -> list[Mapping[str, Any]]:
    found = told.get(key, [])
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise UsageError(f"{path}: {key!r} is no list of tables", "containers-registries.conf(5) tells its form")
    return found


def _for_digests(mirror: Mapping[str, Any]) -> bool:
    return bool(mirror.get("location")) and mirror.get("pull-from-mirror") != "tag-only"


def _mirror(mirror: Mapping[str, Any], rest: str, path: Path) -> Address:
    scheme = "http://" if mirror.get("insecure") else ""
    try:
        return address.parse(f"{scheme}{str(mirror['location']).rstrip('/')}{rest}")
    except UsageError as error:
        raise UsageError(f"{path}: {error.message}", error.hint) from None
