"""What definitions say of packages and files, made ready for resolving, fetching and planning."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from builder.errors import FetchError, UsageError
from builder.model.digest import Digest
from builder.model.lock import Artifact, Lock, LockedPackage, LockedSource, LockedWheel
from builder.pipeline import wheels, workspace
from builder.pipeline.edges import Edges
from builder.plan import planner
from builder.resolve.facts import Facts, PackageSource
from builder.tools import carried, credentials, machine
from builder.tools import fetch as fetching
from builder.tools.fetch import Wanted
from builder.tools.store import Store
from dsl.catalog import SHIPPED_LAYERS, Catalog, Definition

if TYPE_CHECKING:
    from builder.resolve.apt import AptRoot

DEBIAN_MIRROR = re.compile(r"^https?://(?:deb|security)\.debian\.org(?=/)")
"""The addresses in whose place a site's mirror stands."""


def architecture(catalog: Catalog) -> str:
    """What images are made for, in Debian's words.

    Raises:
        UsageError: this machine is of another kind and the workspace names none.
    """
    defaults = catalog.workspace.defaults
    if chosen := defaults.architecture or next(iter(defaults.architectures), None):
        return chosen
    here = machine.architecture()
    if here not in machine.KERNELS:
        raise UsageError(f"no images for {here}", "name one under `defaults: {architecture: …}`")
    return here


def architectures(catalog: Catalog) -> tuple[str, ...]:
    """All that images are made for, the workspace's own first: that of which the record tells.

    Raises:
        UsageError: this machine is of another kind and the workspace names none.
    """
    named = catalog.workspace.defaults.architectures
    own = architecture(catalog)
    return tuple(dict.fromkeys((*named, own) if own in named else (own, *named)))


def at(catalog: Catalog, wanted: str) -> Catalog:
    """The same definitions, of which one architecture is meant: a workspace's own first, by which it is known."""
    defaults = catalog.workspace.defaults
    named: Any = tuple(dict.fromkeys((*architectures(catalog), wanted)))
    chosen: Any = wanted
    meant = msgspec.structs.replace(defaults, architecture=chosen, architectures=named)
    return dataclasses.replace(catalog, workspace=msgspec.structs.replace(catalog.workspace, defaults=meant))


def each(catalog: Catalog) -> tuple[Catalog, ...]:
    """The same definitions for each architecture that images are made for, the workspace's own first."""
    return tuple(at(catalog, one) for one in architectures(catalog))


def is_own(catalog: Catalog) -> bool:
    """Whether the architecture that is meant is the workspace's own."""
    return architecture(catalog) == architectures(catalog)[0]


def other(catalog: Catalog) -> str:
    """What is said after a name where another architecture than the workspace's own is meant: `` for arm64``."""
    return "" if is_own(catalog) else f" for {architecture(catalog)}"


def mirror(catalog: Catalog) -> str | None:
    """What takes the place of Debian's public mirror at this site."""
    return workspace.mirror(catalog.workspace)


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
            for name in planner.new_environments(definition):
                found.setdefault((definition.key, planner.venv_config(name)), store.add(planner.VENV))
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
        wheels.facts(catalog, definition),
    )


def sources(catalog: Catalog, definition: Definition) -> tuple[PackageSource, ...]:
    """Where a definition's packages come from, with the site's mirror and the keyrings found."""
    site = mirror(catalog)
    there = carried.at(site)
    result = []
    for name, (source, folder) in sorted(catalog.sources(definition).items()):
        if source.debs is not None:
            result.append(PackageSource(name, debs=folder / source.debs, priority=source.priority))
            continue
        if source.apt is None:
            continue  # Python's
        mirrored = source.apt
        if there:
            mirrored = there.apt(source.apt)
        elif site:
            mirrored = DEBIAN_MIRROR.sub(lambda _: site.rstrip("/"), mirrored)
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
                snapshot="" if there else source.snapshot or "",
                valid_at=source.valid_at or (there.at if there else ""),
                plain=there is not None,
            )
        )
    return tuple(result)


def apt_root(catalog: Catalog, definition: Definition, edges: Edges) -> AptRoot:
    """The private apt of a definition."""
    # A build from locks does without it.
    from builder.resolve.apt import AptRoot

    return AptRoot(edges.store, sources(catalog, definition), architecture(catalog), wheels.netrc(catalog))


def fetch(
    catalog: Catalog,
    images: Iterable[Definition],
    wanted: tuple[Artifact, ...],
    edges: Edges,
    locks: Iterable[Lock] = (),
) -> None:
    """See to it that the store has some packages and wheels, and the files that definitions name by address.

    Args:
        locks: from which the packages are: they know when the suites were read.

    Raises:
        FetchError: something cannot be had; ``gone`` are all packages that no place has any more.
    """
    definitions = {part.key: part for image in images for part in image.chain()}
    logins = credentials.read(wheels.netrc(catalog))
    known = {source for part in definitions.values() for source in sources(catalog, part)}
    dates = tuple(row for lock in locks for row in lock.sources)
    packages = {package.sha256: package for package in wanted if isinstance(package, LockedPackage)}
    wheels.fetch(catalog, definitions.values(), (one for one in wanted if isinstance(one, LockedWheel)), edges)
    files = [*_files(definitions.values()), *(_wanted(catalog, p, known, dates) for p in packages.values())]
    wheels.from_registries(catalog, files, edges)
    missing = fetching.fetch(files, edges.store, edges.reporter, logins)
    gone = [packages[one.digest.hex] for one in missing if one.digest.hex in packages]
    for one in missing:
        if one.digest.hex not in packages:
            raise FetchError(
                f"{one.title} is not there any more", one.title, 404, "a definition names it under `files`"
            )
    if gone:
        edges.reporter.step(f"looking for {len(gone)} packages that have moved")
        elsewhere = _elsewhere(catalog, definitions.values(), gone, edges)
        missing = fetching.fetch(elsewhere, edges.store, edges.reporter, logins)
        gone = [packages[one.digest.hex] for one in missing]
    if gone:
        names = ", ".join(f"{package.name} {package.version}" for package in gone)
        verb = "is" if len(gone) == 1 else "are"
        if all(one.places for one in missing):
            message = (
                f"{names} {verb} not there, though the index of the source names {'it' if len(gone) == 1 else 'them'}"
            )
            hint = "the mirror is being updated, or lags behind: try again later, or use another one"
        else:
            message = f"{names} {verb} nowhere to be had any more"
            hint = "run `imgbuild lock --update`, or name a `snapshot` of the source or `stores` of the workspace"
        raise FetchError(message, missing[0].places[-1] if missing[0].places else "", 404, hint, tuple(gone))


def _files(definitions: Iterable[Definition]) -> list[Wanted]:
    return [
        Wanted(file.url, Digest.from_hex(file.sha256), None, (file.url,))
        for part in definitions
        for file in part.model.files.values()
        if file.url and file.sha256
    ]


def _wanted(
    catalog: Catalog, package: LockedPackage, known: Iterable[PackageSource], dates: tuple[LockedSource, ...]
) -> Wanted:
    mine = [source for source in known if source.name == package.source]
    places = [
        *wheels.stores(catalog, package.sha256),
        *(source.address(package.path) for source in mine),
        *(place for source in mine for place in source.snapshots(package.path, package.suite, dates)),
    ]
    return _at(package, places)


def _at(package: LockedPackage, places: Iterable[str]) -> Wanted:
    digest = Digest.from_hex(package.sha256)
    return Wanted(f"{package.name} {package.version}", digest, package.size, tuple(dict.fromkeys(places)))


def _elsewhere(
    catalog: Catalog, definitions: Iterable[Definition], gone: Iterable[LockedPackage], edges: Edges
) -> list[Wanted]:
    """The same packages where the current indexes have them: moved to another suite or source."""
    found: dict[str, list[str]] = {package.sha256: [] for package in gone}
    asked = set()
    for definition in definitions:
        apt = apt_root(catalog, definition, edges)
        if apt.name in asked:
            continue
        asked.add(apt.name)
        if not edges.offline:
            apt.update()
        by_name = {source.name: source for source in sources(catalog, definition)}
        for sha256, places in found.items():
            places += [by_name[place.source].address(place.path) for place in apt.places(sha256)]
    return [_at(package, found[package.sha256]) for package in gone]
