"""A workspace → the files that a site without internet builds its images from, and patches them."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

from builder.errors import FetchError, ResolveError, SourceError, UsageError
from builder.model.digest import Digest
from builder.model.lock import Artifact, LockedPackage, LockedWheel
from builder.pipeline import locking, packages, securing, selection, wheels
from builder.pipeline.edges import Edges
from builder.registry.uploads import Bytes
from builder.resolve.facts import PackageSource
from builder.tools import carried, credentials, documents, git
from builder.tools.store import Store
from builder.transports import blobs
from builder.transports.mirror_archive import Building, File
from dsl.catalog import Catalog, Definition


def gather(catalog: Catalog, images: Collection[str], edges: Edges) -> Building:
    """All that building some images by their locks takes, and moving them to what is newest now.

    - the packages and wheels of the locks, and the packages that `lock --update` would lock
    - the indexes of their sources as they stand now, signed, and the keyrings
    - the documents of the workspace's feeds
    - the workspace's git repository, at its commit, and those that it uses

    Args:
        images: their names.

    Raises:
        UsageError: the workspace has none of them, or they are not locked.
        FetchError: a package is nowhere to be had.
        SourceError: a source cannot be read.
    """
    wanted = tuple(one for component in catalog.components for one in component.images if one.name in images)
    definitions = selection.definitions(wanted)
    if not wanted:
        raise UsageError(
            "the workspace defines none of these images", "go to the workspace that does, or name it by -C"
        )
    each = [(meant, locking.read(definitions, packages.architecture(meant))) for meant in packages.each(catalog)]
    for meant, locks in each:
        unlocked = [one.name for one in definitions if one.key not in locks]
        if unlocked:
            raise UsageError(f"{unlocked[0]} is not locked{packages.other(meant)}", "run `imgbuild lock`")
    sources = {source.name: source for one in definitions for source in packages.sources(catalog, one)}
    artifacts: dict[str, Artifact] = {}
    found: dict[str, File] = {}
    dates: list[str] = []
    for meant, locks in each:
        for file in _apt(meant, definitions, edges, dates):
            found.setdefault(file.path, file)
        newer = _newest(meant, definitions, edges)
        mine = {one.sha256: one for one in (*locking.artifacts(locks.values()), *newer)}
        packages.fetch(meant, wanted, tuple(mine.values()), edges, tuple(locks.values()))
        artifacts |= mine
    for artifact in artifacts.values():
        blob = blobs.stored(edges.store, Digest.from_hex(artifact.sha256), artifact.title)
        found.setdefault(where := _where(artifact, sources), File(where, blob))
    more = (*_keyrings(sources.values()), *_feeds(catalog, edges), *_repositories(catalog, edges))
    found |= {one.path: one for one in more}
    return Building(tuple(found[path] for path in sorted(found)), max(dates, default=""))


def _where(artifact: Artifact, sources: Mapping[str, PackageSource]) -> str:
    if isinstance(artifact, LockedWheel):
        return f"wheels/{artifact.filename}"
    source = sources.get(artifact.source)
    if source and source.uri:
        return f"{carried.apt_path(source.uri)}/{artifact.path}"
    return f"debs/{artifact.path.rpartition('/')[2]}"


def _newest(catalog: Catalog, definitions: tuple[Definition, ...], edges: Edges) -> tuple[LockedPackage, ...]:
    try:
        return locking.newest(catalog, definitions, edges)
    except ResolveError as error:
        edges.reporter.warn(f"what is newer than the locks is left out: {error.message}")
        return ()


def _apt(catalog: Catalog, definitions: Iterable[Definition], edges: Edges, dates: list[str]) -> Iterator[File]:
    """The indexes of all sources, as they are now or, where nobody answers, as they were read last."""
    asked = set()
    for definition in definitions:
        apt = packages.apt_root(catalog, definition, edges)
        if apt.name in asked:
            continue
        asked.add(apt.name)
        edges.reporter.step("reading package indexes")
        try:
            apt.update()
        except SourceError as error:
            if not apt.dates():
                raise
            edges.reporter.warn(f"indexes are as they were read before: {error.message}")
        dates += [row.date for row in apt.dates()]
        by_name = {source.name: source for source in packages.sources(catalog, definition)}
        for name, below, path in apt.files():
            where = f"{carried.apt_path(by_name[name].uri)}/{below}"
            yield File(where, _file(path))


def _keyrings(sources: Iterable[PackageSource]) -> Iterator[File]:
    for source in sources:
        if source.keyring is not None and source.keyring.exists():
            yield File(f"keyrings/{source.name}-{source.keyring.name}", _file(source.keyring))


def _feeds(catalog: Catalog, edges: Edges) -> Iterator[File]:
    logins = credentials.read(wheels.netrc(catalog))
    for place in securing.addresses(catalog):
        if not place.startswith(("http://", "https://")):
            continue  # It lies in the workspace.
        edges.reporter.step(f"reading {place}")
        try:
            (document,) = documents.get(place, edges.store, logins)
        except FetchError as error:
            edges.reporter.warn(f"left out: {error.message}")
            continue
        if document.warning:
            edges.reporter.warn(document.warning)
        where = carried.document_path(place)
        yield File(where, blobs.stored(edges.store, edges.store.add(document.data), place))


def _repositories(catalog: Catalog, edges: Edges) -> Iterator[File]:
    """The workspace's commits, and those of what it uses."""
    with edges.store.temporary_folder() as folder:
        if git.shallow(catalog.root) is not False:
            edges.reporter.warn(
                f"{catalog.root} is in no git repository, or in a shallow clone: the workspace itself is left out"
            )
        else:
            if changed := git.changed(catalog.root, "HEAD"):
                edges.reporter.warn(f"{len(changed)} files are not committed, and stay here: {changed[0]} for one")
            git.bundle(catalog.root, folder / "own")
            yield File(f"git/{catalog.workspace.workspace}.bundle", _kept(edges.store, folder / "own"))
        for number, entry in enumerate(catalog.workspace.uses):
            local = catalog.root / entry.url
            edges.reporter.step(f"fetching {entry.url}")
            git.bundle_of(str(local) if local.exists() else entry.url, entry.ref, entry.commit, folder / str(number))
            yield File(carried.git_path(entry.url), _kept(edges.store, folder / str(number)))


def _file(path: Path) -> Bytes:
    """A file where it lies: what is written of it is what it holds now, or nothing."""
    with path.open("rb") as file:
        digest = Digest.from_hex(hashlib.file_digest(file, "sha256").hexdigest())
    return Bytes(digest, path.stat().st_size, lambda: path.open("rb"), str(path))


def _kept(store: Store, path: Path) -> Bytes:
    """A file that goes away, as a blob of the store."""
    with path.open("rb") as source, store.writing() as writer:
        shutil.copyfileobj(source, writer, 1 << 20)
    return blobs.stored(store, writer.digest, path.name)
