"""Lock files in git, images in layouts and registries, what was just built or published → the record, an index of them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from builder import transports
from builder.errors import RecordError, UsageError
from builder.formats import lockfile, notes, oci
from builder.model.advisory import Advisory
from builder.model.digest import CacheKey, Digest
from builder.model.image import Image
from builder.model.lock import Lock, LockFile
from builder.model.plan import ImagePlan
from builder.model.release import Held, Publication, Release, ReleasedLayer
from builder.pipeline import locking, packages, published, wheels
from builder.pipeline.edges import Edges
from builder.plan import groups
from builder.report import Reporter
from builder.security import feeds
from builder.security.feeds import Feed
from builder.tools import credentials, git
from builder.tools.documents import Document
from builder.tools.store import Store
from builder.transports import oci_layout
from dsl.catalog import Catalog
from dsl.errors import DefinitionError, ImgbuildError

if TYPE_CHECKING:
    from builder.record.database import Record
    from builder.record.releases import Summary
    from builder.transports.parcels import Parcel

T = TypeVar("T")
_POSTGRESQL = ("postgresql", "postgres")


def place(catalog: Catalog, store: Store) -> str:
    """Where the record of a workspace is: ``IMGBUILD_RECORD``, what the workspace says, or a file in the store.

    Returns:
        a path, or PostgreSQL's address.

    Raises:
        UsageError: it cannot be one, or has a password where everybody reads it.
    """
    asked = os.environ.get("IMGBUILD_RECORD", "")
    said = asked or catalog.workspace.record or ""
    if not said:
        name = f"{workspace(catalog)}-{CacheKey.of('workspace', str(catalog.root))[:12]}.sqlite"
        return str(store.root / "record" / name)
    if "://" not in said:
        return str((Path.cwd() if asked else catalog.root) / said)
    try:
        url = urlsplit(said)
    except ValueError:
        raise UsageError(f"the record cannot be at {said!r}", "say postgresql://USER@HOST/DATABASE") from None
    if url.scheme not in _POSTGRESQL:
        hint = "say postgresql://USER@HOST/DATABASE, or a file's path for SQLite"
        raise UsageError(f"the record cannot be at an address of {url.scheme!r}", hint)
    if url.password and not asked:
        hint = "take it out, and say it in the file that `netrc` names, in PGPASSWORD or in ~/.pgpass"
        raise UsageError("imgbuild.yaml: `record` has a password in it", hint)
    return said


def workspace(catalog: Catalog) -> str:
    """What a workspace is called in a record that several share: by its name; a component that stands alone, by its own."""
    if catalog.workspace.workspace == "alone" and catalog.components:
        return catalog.components[0].model.component
    return catalog.workspace.workspace


def existing(catalog: Catalog, store: Store) -> Record | None:
    """The record of a workspace; None where it would be a file and none was made yet.

    Raises:
        RecordError: it cannot be had.
    """
    where = place(catalog, store)
    return opened(catalog, store) if "://" in where or Path(where).exists() else None


def opened(catalog: Catalog, store: Store) -> Record:
    """The record of a workspace, made if there is none.

    Raises:
        RecordError: it cannot be had.
    """
    # Most commands do without SQLAlchemy.
    from builder.record import database

    where = place(catalog, store)
    login = credentials.login(credentials.read(wheels.netrc(catalog)), where)
    return database.opened(where, login.user if login else None, login.password if login else None)


@dataclass(frozen=True, slots=True)
class Followed:
    """What reading a workspace's history came to.

    Attributes:
        broken: lock files in commits that cannot be read.
        partly: releases that stand on locks which are in no commit, so that not all that they hold is known.
    """

    broken: tuple[str, ...]
    partly: int


def rebuild(catalog: Catalog, record: Record, places: Sequence[str], edges: Edges) -> Followed:
    """Make what the record has of a workspace anew: from the locks in git, or as they lie there, and from images.

    Args:
        places: of images, as they are named on the command line. What lies in a registry is published there.

    Raises:
        UsageError: a place has no images.
        ImageError: one is damaged.
        RegistryError: a registry does not answer.
    """
    from builder.record import publications, releases

    name, history = workspace(catalog), _History(catalog)
    out: list[Publication] = []

    def of_images() -> Iterator[Release]:
        for one in places:
            there: list[Publication] = []
            for release, where in _of_images(catalog, one, edges):
                yield release
                there.extend(where)
            out.extend(published.with_floating(there, one, catalog.names))

    with record.writing() as connection:
        releases.forget(connection, name)
        releases.add(connection, name, history.releases({}))
        for folder, head in history.heads.items():
            releases.keep_head(connection, name, folder, head)
        releases.add(connection, name, of_images())
        publications.add(connection, name, out)
    return Followed(tuple(history.broken), history.partly)


def own_places(catalog: Catalog, edges: Edges) -> tuple[str, ...]:
    """Where images of a workspace lie, if nobody says: in ./out, and in its registry, as far as that answers."""
    found = [f"oci:{transports.DEFAULT}"] if Path(transports.DEFAULT, "index.json").exists() else []
    return (*found, *published.own(catalog, edges))


def follow(catalog: Catalog, record: Record, reporter: Reporter) -> None:
    """Read into the record what was committed since it was last read."""
    from builder.record import releases

    name = workspace(catalog)
    with record.reading() as connection:
        heads = releases.heads(connection, name)
    if all(git.head(one.folder) == heads.get(_called(catalog, one.folder), "") for one in _repositories(catalog)):
        return
    with record.writing() as connection:
        heads = releases.heads(connection, name)
        history = _History(catalog)
        found = tuple(history.releases(heads))
        if history.partly and heads:
            # What they stand on may have been committed before.
            history = _History(catalog)
            found = tuple(history.releases({}))
        releases.add(connection, name, found)
        for folder, head in history.heads.items():
            releases.keep_head(connection, name, folder, head)
    for one in history.broken:
        reporter.warn(f"{one}: left out of the record")


def summary(catalog: Catalog, record: Record) -> Summary:
    """What the record has of the workspace."""
    from builder.record import releases

    with record.reading() as connection:
        return releases.summary(connection, workspace(catalog))


def add(catalog: Catalog, found: Sequence[Release], places: Sequence[str], edges: Edges) -> None:
    """Add what was just built. The record is an index: that it cannot be had is told, and fails nothing.

    Args:
        places: where it was written: of a workspace that the record does not know, all that lies there is read. (What is
            in git is read by who asks the record: it may be years.)
    """
    if not found:
        return
    try:
        from builder.record import releases

        with opened(catalog, edges.store).writing() as connection:
            name = workspace(catalog)
            if not releases.summary(connection, name).releases:
                found = [*(image for one in places for image, _ in _of_images(catalog, one, edges)), *found]
            releases.add(connection, name, found)
    except ImgbuildError as error:
        edges.reporter.warn(f"not in the record: {error.message}")


def publish(catalog: Catalog, found: Sequence[tuple[Publication, Parcel]], edges: Edges) -> None:
    """Add what lies in a registry now. That the record cannot be had is told, and fails nothing: the registry has it.

    Args:
        found: with what was sent, for releases that the record does not know.
    """
    if not found:
        return
    now = int(time.time())
    try:
        from builder.record import publications, releases

        with opened(catalog, edges.store).writing() as connection:
            name = workspace(catalog)
            # Somebody has built it elsewhere; it is what the locks say now.
            new = [
                replace(_described(mine.place, mine.notes, mine.beside[oci_layout.LOCK], mine.image), time=now)
                for one, parcel in found
                if (mine := _known_by(catalog, parcel.every, lambda x: x.image.config))
                and oci_layout.LOCK in mine.beside
                and not releases.has(connection, name, (one.component, one.image, one.version, one.revision))
            ]
            releases.add(connection, name, new)
            publications.add(connection, name, [one for one, _ in found])
    except ImgbuildError as error:
        edges.reporter.warn(f"what was published is not in the record: {error.message}")


def released(plan: ImagePlan, image: Image, locks: Sequence[Lock]) -> Release:
    """What was built now.

    Args:
        locks: of its chain, bottom first.
    """
    held = tuple(tuple(_held(lock)) for lock in locks)
    return Release(
        plan.component, plan.image, plan.version, plan.revision, plan.content_key, locks[-1].digest(), "",
        int(time.time()), image.digest, image.config_digest, held, _layers(image, held),
    )  # fmt: skip


def tried(catalog: Catalog, edges: Edges) -> Record | None:
    """The record, or what does without it: that it cannot be had is told."""
    try:
        return opened(catalog, edges.store)
    except ImgbuildError as error:
        edges.reporter.warn(f"without the record: {error.message}")
        return None


def feed(catalog: Catalog, record: Record | None, document: Document, edges: Edges) -> Feed:
    """What a document of advisories says; the record has it read already, if it says what it said last time.

    Raises:
        FeedError: it is none.
    """
    if record is not None:
        try:
            return _recorded(catalog, record, document)
        except RecordError as error:
            edges.reporter.warn(f"without the record: {error.message}")
    return feeds.parse(document.name, document.data)


def _recorded(catalog: Catalog, record: Record, document: Document) -> Feed:
    from builder.record import advisories

    name, digest = _feed_name(catalog, document.name), Digest.of(document.data)
    with record.reading() as connection:
        kept = advisories.kept(connection, name, digest)
    if kept is None:
        told = feeds.parse(document.name, document.data)
        if told.statements:
            # What vendors decide is small, and no advisory.
            return told
        kept = advisories.Kept(told.suites, told.broken)
        with record.writing() as connection:
            advisories.keep(connection, name, digest, told.advisories, kept, int(time.time()))
    return Feed(document.name, _Recorded(record, name, document.name), kept.suites, kept.broken)


def _feed_name(catalog: Catalog, name: str) -> str:
    """What a record that several share calls a feed: checkouts lie here and there."""
    if "://" in name:
        return name
    return f"{workspace(catalog)}: {os.path.relpath(name, catalog.root)}"


@dataclass(frozen=True, slots=True)
class _Recorded:
    """What a feed says, in the record."""

    record: Record
    name: str
    shown: str

    def __iter__(self) -> Iterator[Advisory]:
        return iter(self._ask(None))

    def about(self, sources: frozenset[str]) -> tuple[Advisory, ...]:
        """What it says of some source packages."""
        return self._ask(sources)

    def _ask(self, sources: frozenset[str] | None) -> tuple[Advisory, ...]:
        from builder.record import advisories

        with self.record.reading() as connection:
            return tuple(advisories.about(connection, self.name, self.shown, sources))


def _of_images(catalog: Catalog, place: str, edges: Edges) -> Iterator[tuple[Release, tuple[Publication, ...]]]:
    """The releases of a layout or a registry, and where they are published; what is no release of ours has no lock
    beside it."""
    for name in transports.releases(place, edges.store, catalog.names):
        for stored in transports.read_chosen(name, edges.store, catalog.names):
            mine = _known_by(catalog, stored.every(), lambda one: one.config)
            lock = mine.beside(oci_layout.LOCK) if mine else None
            if mine is not None and lock is not None and _revision(mine.notes):
                release = _described(stored.name, mine.notes, lock, transports.parsed(mine))
                yield release, published.of(release, replace(mine, name=stored.name))


def _known_by(catalog: Catalog, images: Sequence[T], config: Callable[[T], bytes]) -> T | None:
    """The image by which a release is known, of those that there are of it: that of the workspace's own architecture.

    Where only one is made, it is that one: it may have been another at its time.
    """
    own, *others = packages.architectures(catalog)
    found = next((one for one in images if oci.platform(config(one)).get("architecture") == own), None)
    return found if found or others else images[0]


def _revision(said: Mapping[str, str]) -> int:
    """The revision that is said of an image; 0 if it is no release."""
    text = said.get("org.imgbuild.revision", "")
    return int(text) if text.isdigit() else 0


def _described(name: str, said: Mapping[str, str], lock: bytes, image: Image) -> Release:
    """An image as a release, by what is said of it and the lock that lies beside it."""
    locks = lockfile.beside(lock, name)
    held = tuple(tuple(_held(lock)) for lock in locks)
    return Release(
        said.get("org.imgbuild.component", ""), said.get("org.imgbuild.image", ""),
        said.get("org.imgbuild.version", ""), _revision(said), said.get("org.imgbuild.content-key", ""),
        locks[-1].digest(), "", 0, image.digest, image.config_digest, held, _layers(image, held),
    )  # fmt: skip


def _held(lock: Lock) -> Iterator[Held]:
    for group in groups.groups(lock.packages, lock.grouping):
        for one in group.packages:
            yield Held(
                lock.name, group.name, one.name, one.version, one.source_package, one.source_version, one.why
            )  # fmt: skip
    for wheel in lock.wheels:
        yield Held(lock.name, f"{wheel.environment}/{wheel.group}", wheel.title, wheel.version, "", "", wheel.why)


def _layers(image: Image, held: Iterable[Iterable[Held]]) -> tuple[ReleasedLayer, ...]:
    where = {(one.definition, one.name): one.layer for part in held for one in part}
    found = []
    for layer in image.layers:
        said = dict(layer.annotations)
        definition = said.get(f"{notes.PREFIX}definition", "")
        names = {where.get((definition, name), "") for name, _ in notes.packages(said)} - {""}
        found += [
            ReleasedLayer(definition, name, said.get(f"{notes.PREFIX}cache-key", ""), layer.digest, layer.size)
            for name in names
        ]
    return tuple(found)


@dataclass(frozen=True, slots=True)
class _Repository:
    """Where lock files lie.

    Attributes:
        folder: the top of a repository, or one that is in none.
        within: folders of it, in which and in whose folders they lie.
    """

    folder: Path
    within: tuple[Path, ...]

    def history(self, since: str) -> tuple[git.Change, ...] | None:
        """What was committed to them."""
        places = [os.path.relpath(one, self.folder) for one in self.within]
        names = [f"{one}/{name}" if one != "." else name for one in places for name in _NAMES]
        return git.history(self.folder, [f":(top,glob){name}" for name in names], since)

    def files(self) -> tuple[Path, ...]:
        """They themselves."""
        return tuple(sorted({file for one in self.within for name in _NAMES for file in one.glob(name)}))


_NAMES = ("lock.yaml", "lock.*.yaml", "*/lock.yaml", "*/lock.*.yaml")


def _repositories(catalog: Catalog) -> tuple[_Repository, ...]:
    said = catalog.workspace
    bases = {
        Path(os.path.realpath(catalog.root / one)) for one in (*said.repos, *said.layers, *said.overlays, "layers")
    }
    own = {Path(os.path.realpath(one.lock_path.parent)) for one in catalog.definitions() if not one.foreign}
    found: dict[Path, list[Path]] = {}
    for base in sorted({*bases, *own}):
        top = next((folder for folder in (base, *base.parents) if (folder / ".git").exists()), None)
        covered = base not in bases and base.parent in found.get(top or base.parent, ())
        if base.is_dir() and not covered:
            found.setdefault(top or base, []).append(base)
    return tuple(_Repository(folder, tuple(within)) for folder, within in found.items())


def _called(catalog: Catalog, folder: Path) -> str:
    return os.path.relpath(folder, os.path.realpath(catalog.root))


@dataclass(frozen=True, slots=True)
class _Kept:
    """What counts of a lock file.

    Attributes:
        locks: digests, by the names of definitions.
    """

    file: LockFile
    locks: dict[str, str] = field(default_factory=dict)


class _History:
    """The releases that the lock files of a workspace tell of.

    Attributes:
        heads: how far it was read, by the folder of each repository.
        broken: lock files that could not be read.
        partly: how many releases stand on locks that are nowhere.
    """

    def __init__(self, catalog: Catalog) -> None:
        self.heads: dict[str, str] = {}
        self.broken: list[str] = []
        self.partly = 0
        self._catalog = catalog
        self._architecture = packages.architectures(catalog)[0]
        self._components = {os.path.realpath(one.lock_path): one.name for one in catalog.components}
        self._upstream = {os.path.realpath(x.upstream_lock_path) for x in catalog.components if x.upstream_lock_path}
        # By digest: what it stands on, and what it holds; what is equal is there once.
        self._locks: dict[str, tuple[str | None, tuple[Held, ...]]] = {}
        self._same: dict[Held, Held] = {}
        self._parts: dict[tuple[int, ...], tuple[Held, ...]] = {}
        for lock in locking.read(tuple(catalog.definitions()), self._architecture).values():
            self._know(lock)

    def releases(self, heads: dict[str, str]) -> Iterator[Release]:
        """All of them, oldest first.

        Args:
            heads: how far each repository has been read before.
        """
        changes: list[tuple[int, Path, git.Change]] = []
        for repository in _repositories(self._catalog):
            called = _called(self._catalog, repository.folder)
            found = repository.history(heads.get(called, ""))
            if found is None:
                found = tuple(git.Change("", 0, str(file), str(file)) for file in repository.files())
            else:
                self.heads[called] = git.head(repository.folder)
            changes += [(one.time, repository.folder, one) for one in found if one.blob]
        changes.sort(key=lambda row: row[0])
        kept = self._read(changes)
        seen: dict[tuple[str, str], object] = {}
        for _, folder, change in changes:
            there = kept.get(change.blob)
            component = self._component(folder / change.file)
            if there is None or not component:
                continue
            for row in there.file.revisions:
                # Of several architectures the record knows the workspace's own.
                if row.architecture != self._architecture and there.file.revision(row.image, self._architecture):
                    continue
                if seen.get((component, row.image)) == row:
                    continue
                seen[component, row.image] = row
                lock = there.locks.get(row.image, "")
                held = tuple(self._chain(lock))
                yield Release(
                    component, row.image, row.version, row.revision, row.content_key, lock, change.commit, change.time,
                    held=held,
                )  # fmt: skip

    def _read(self, changes: Iterable[tuple[int, Path, git.Change]]) -> dict[str, _Kept]:
        wanted: dict[Path, dict[str, str]] = {}
        for _, folder, change in changes:
            wanted.setdefault(folder, {})[change.blob] = f"{folder / change.file} at {change.commit[:12]}"
        kept: dict[str, _Kept] = {}
        for folder, blobs in wanted.items():
            for blob, text in self._texts(folder, blobs):
                try:
                    file = lockfile.parse(text, Path(blobs[blob]))
                except DefinitionError as error:
                    self.broken.append(f"{blobs[blob]}: {error.problems[0].message}")
                    continue
                kept[blob] = _Kept(LockFile(revisions=file.revisions))
                # Of several architectures the workspace's own comes last.
                for lock in sorted(file.locks, key=lambda one: one.architecture == self._architecture):
                    kept[blob].locks[lock.name] = self._know(lock)
        return kept

    def _texts(self, folder: Path, blobs: dict[str, str]) -> Iterator[tuple[str, str]]:
        files = [blob for blob in blobs if blob.startswith("/")]
        for file in files:
            yield file, Path(file).read_text("utf-8", "replace")
        if not files:
            yield from git.texts(folder, blobs)

    def _component(self, file: Path) -> str:
        """The component that a lock file is of, or was of; empty for one that only others stand on."""
        path = os.path.realpath(file)
        if path in self._upstream:
            return ""
        stream = file.name.removeprefix("lock").removesuffix(".yaml").lstrip(".")
        return self._components.get(path) or file.parent.name + (f"@{stream}" if stream else "")

    def _chain(self, digest: str | None) -> Iterator[tuple[Held, ...]]:
        while digest:
            found = self._locks.get(digest)
            if found is None:
                self.partly += 1
                return
            digest = found[0]
            yield found[1]

    def _know(self, lock: Lock) -> str:
        digest = lock.digest()
        if digest not in self._locks:
            rows = tuple(self._same.setdefault(one, one) for one in _held(lock))
            self._locks[digest] = (lock.stands_on, self._parts.setdefault(tuple(map(id, rows)), rows))
        return digest
