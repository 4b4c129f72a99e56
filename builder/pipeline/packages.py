"""What definitions say of packages and files, made ready for resolving, fetching and planning."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
from collections.abc import Iterable
from pathlib import Path

import msgspec

from builder.errors import UsageError
from builder.model.digest import Digest
from builder.model.lock import LockedPackage
from builder.pipeline.edges import Edges
from builder.plan import planner
from builder.resolve.apt import AptRoot
from builder.resolve.facts import Facts, PackageSource
from builder.tools import fetch as fetching
from builder.tools.fetch import Wanted
from builder.tools.store import Store
from dsl.catalog import SHIPPED_LAYERS, Catalog, Definition

MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
DEBIAN_MIRROR = "http://deb.debian.org"


def architecture(catalog: Catalog) -> str:
    """What images are made for, in Debian's words.

    Raises:
        UsageError: this machine is of another kind and the workspace names none.
    """
    chosen = catalog.workspace.defaults.architecture or MACHINES.get(platform.machine())
    if chosen is None:
        raise UsageError(f"no images for {platform.machine()}", "name one under `defaults: {architecture: …}`")
    return chosen


def mirror(catalog: Catalog) -> str | None:
    """What takes the place of Debian's public mirror at this site."""
    return os.environ.get("IMGBUILD_MIRROR") or catalog.workspace.mirror


def contents(images: Iterable[Definition], store: Store) -> dict[tuple[str, str], Digest]:
    """Put the files that definitions bring into the store.

    Returns:
        Their digests by their definition's key and their path.
    """
    found: dict[tuple[str, str], Digest] = {}
    for image in images:
        for definition in image.chain():
            for path, file in definition.model.files.items():
                if (definition.key, path) in found or file.link is not None:
                    continue
                if file.content is not None:
                    digest = store.add(file.content.encode())
                elif file.from_ is not None:
                    digest = store.add(_read(definition.beside("files", path, "from")))
                else:
                    assert file.sha256 is not None, "checks see to it"
                    digest = Digest.from_hex(file.sha256)
                found[definition.key, path] = digest
    return found


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", "a definition brings this file") from None


def facts(catalog: Catalog, definition: Definition, architecture: str) -> Facts:
    """What a definition gives to resolving."""
    found = definition.model
    told = {
        "users": {name: msgspec.structs.asdict(user) for name, user in found.users.items()},
        "groups": {name: group.gid for name, group in found.groups.items()},
        "answers": [dataclasses.astuple(answer) for answer in planner.answers(found)],
    }
    return Facts(
        tuple(part.name for part in definition.chain()),
        architecture,
        found.packages.apt,
        found.recommends,
        definition.extends is None,
        sources(catalog, definition),
        json.dumps(told, sort_keys=True) if any(told.values()) else "",
    )


def sources(catalog: Catalog, definition: Definition) -> tuple[PackageSource, ...]:
    """Where a definition's packages come from, with the site's mirror and the keyrings found."""
    site = mirror(catalog)
    result = []
    for name, (source, folder) in sorted(catalog.sources(definition).items()):
        if source.apt is None:
            assert source.debs is not None, "checks see to it"
            result.append(PackageSource(name, debs=folder / source.debs, priority=source.priority))
            continue
        mirrored = source.apt
        if site and mirrored.startswith(DEBIAN_MIRROR + "/"):
            mirrored = site.rstrip("/") + mirrored.removeprefix(DEBIAN_MIRROR)
        keyring_name = source.keyring or ""
        shipped = SHIPPED_LAYERS / "keyrings" / f"{keyring_name}.gpg"
        keyring = shipped if shipped.exists() else folder / keyring_name
        result.append(
            PackageSource(
                name,
                source.apt,
                mirrored,
                source.suites,
                source.components,
                keyring,
                keyring_name,
                source.fingerprints,
                source.priority,
            )
        )
    return tuple(result)


def apt_root(catalog: Catalog, definition: Definition, edges: Edges) -> AptRoot:
    """The private apt of a definition."""
    netrc = catalog.root / catalog.workspace.netrc if catalog.workspace.netrc else None
    return AptRoot(edges.store, sources(catalog, definition), architecture(catalog), netrc)


def fetch(catalog: Catalog, images: Iterable[Definition], wanted: tuple[LockedPackage, ...], edges: Edges) -> None:
    """See to it that the store has some packages, and the files that definitions name by address.

    Raises:
        FetchError: a package cannot be had.
    """
    by_name: dict[str, list[PackageSource]] = {}
    files: dict[str, Wanted] = {}
    for image in images:
        for part in image.chain():
            for file in part.model.files.values():
                if file.url and file.sha256:
                    digest = Digest.from_hex(file.sha256)
                    files[file.sha256] = Wanted(file.url, digest, None, (file.url,))
        for source in sources(catalog, image):
            by_name.setdefault(source.name, []).append(source)
    for package in wanted:
        places = [f"{store.rstrip('/')}/{package.sha256}" for store in catalog.workspace.stores]
        for source in by_name.get(package.source, ()):
            base = str(source.debs) if source.debs else source.mirrored.rstrip("/")
            places.append(f"{base}/{package.path}")
        title = f"{package.name} {package.version}"
        files[package.sha256] = Wanted(
            title, Digest.from_hex(package.sha256), package.size, tuple(dict.fromkeys(places))
        )
    fetching.fetch(files.values(), edges.store, edges.reporter)
