"""A store in a registry: packages by their sha256 and layers by their keys, in one repository.

    package-HEX    an artifact with a package or a wheel as its one layer
    layer-KEY      an artifact whose config tells what the layer of a key turned out to be, with that layer and, of a state,
                   dpkg's status

Bytes are taken by their digests alone; the artifacts keep a registry from clearing them away, and say what they are. The same
thing is the same artifact, whoever pushes it: two at once do each other no harm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from threading import Lock as Mutex
from typing import Any

from builder.errors import FetchError, IntegrityError, RegistryError, UsageError
from builder.formats import oci
from builder.model.digest import CacheKey, Digest
from builder.model.image import Blobs
from builder.model.lock import Artifact, BuiltLayer, Lock, LockedPackage
from builder.model.plan import ImagePlan, MadeLayer
from builder.pipeline import locking, packages, reusing, selection
from builder.pipeline.edges import Edges
from builder.registry import content, uploads
from builder.registry.address import Address
from builder.registry.logins import Logins
from builder.registry.session import Session, Unfinished
from builder.registry.uploads import Bytes
from builder.tools.store import Store
from builder.transports import blobs as blobs_
from builder.transports.registry import RegistryBlobs
from dsl.catalog import Catalog, Definition

PACKAGE = "application/vnd.imgbuild.package.v1"
LAYER = "application/vnd.imgbuild.layer.v1"
MADE = "application/vnd.imgbuild.layer.v1+json"
_DEB, _WHEEL, _STATUS = "application/vnd.debian.binary-package", "application/zip", "text/plain"
_TOLD = "a description"


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push has sent, or would.

    Attributes:
        place: ``registry:HOST/NAME``.
        packages, layers: how many, wheels being packages.
        there: how many of both were there.
        bytes: of what was sent.
        gone: packages that are nowhere to be had any more.
    """

    place: str
    packages: int
    layers: int
    there: int
    bytes: int
    gone: tuple[str, ...] = ()

    def data(self) -> dict[str, Any]:
        """For machines."""
        return {
            "place": self.place, "packages": self.packages, "layers": self.layers, "there": self.there,
            "bytes": self.bytes, "gone": list(self.gone),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Item:
    """One artifact.

    Attributes:
        size: of its layers.
    """

    tag: str
    manifest: bytes
    blobs: tuple[Bytes, ...]
    size: int


def push(
    catalog: Catalog, targets: Iterable[str], place: str,
    plans: Callable[[Catalog, tuple[Definition, ...]], Iterable[ImagePlan]], edges: Edges, *, dry_run: bool = False,
) -> Pushed:  # fmt: skip
    """Send what a store lacks of the packages of some locks, and of the layers that this machine has made of them.

    Args:
        targets: none for everything that is locked.
        place: ``registry:HOST[:PORT]/NAME``; empty for the first of the workspace's `stores` that is a registry.
        plans: of images, for the architecture that a catalog means.
        dry_run: only say what would be sent.

    Raises:
        UsageError: no store is named, or something is not locked.
        RegistryError: the registry does not answer, or refuses.
    """
    where = _place(catalog, place)
    names = tuple(targets)
    images = selection.images(catalog, names)
    definitions = selection.definitions(images)
    artifacts: dict[str, Artifact] = {}
    keys: set[CacheKey] = set()
    locked: dict[str, Definition] = {}
    all_locks: list[Lock] = []
    for meant in packages.each(catalog):
        locks = locking.read(definitions, packages.architecture(meant))
        unlocked = {one.key for one in definitions} - locks.keys()
        if names and unlocked:
            first = next(one for one in definitions if one.key in unlocked)
            what = f"{first.name} is not locked{packages.other(meant)}"
            raise UsageError(what, f"run `imgbuild lock {first.component or first.name}`")
        sound = tuple(one for one in images if not any(part.key in unlocked for part in one.chain()))
        locked |= {one.key: one for one in sound}
        artifacts |= {one.sha256: one for one in locking.artifacts(locks.values())}
        keys |= {layer.cache_key for plan in plans(meant, sound) for layer in plan.layers}
        all_locks += locks.values()
    made = {key: found for key in sorted(keys) if (found := edges.store.made(key))}
    with Session(where.host, Logins(), edges.reporter) as session:
        session.ping()
        there = frozenset(content.tags(session, where.path) or ())
        lacking = tuple(one for sha256, one in artifacts.items() if f"package-{sha256}" not in there)
        new = tuple(found for key, found in made.items() if f"layer-{key}" not in there)
        gone = () if dry_run else _obtained(catalog, tuple(locked.values()), lacking, edges, tuple(all_locks))
        lacking = tuple(one for one in lacking if one not in gone)
        known = len(artifacts) + len(made) - len(lacking) - len(new) - len(gone)
        size = sum(one.size for one in lacking) + sum(one.layer.size for one in new)
        done = Pushed(
            f"registry:{where.host}/{where.path}", len(lacking), len(new), known, size,
            tuple(f"{one.name} {one.version}" for one in gone),
        )  # fmt: skip
        if not dry_run:
            items = [*(_package(one, edges.store) for one in lacking), *(_layer(one, edges.store) for one in new)]
            _send(session, where.path, items, edges)
    return done


def _obtained(
    catalog: Catalog, images: tuple[Definition, ...], wanted: tuple[Artifact, ...], edges: Edges, locks: tuple[Any, ...]
) -> tuple[Artifact, ...]:
    """See that this machine has some packages; those that nobody has any more."""
    try:
        packages.fetch(catalog, images, wanted, edges, locks)
    except FetchError as error:
        if not error.gone:
            raise
        edges.reporter.warn(error.message)
        return error.gone
    return ()


def _send(session: Session, repository: str, items: Iterable[_Item], edges: Edges) -> None:
    # The largest first: the last one sent is what all others wait for.
    ordered = sorted(items, key=lambda one: -one.size)
    total, mutex = sum(one.size for one in ordered), Mutex()
    done = 0

    def send(item: _Item) -> None:
        nonlocal done
        session.patiently(lambda: _put(session, repository, item))
        with mutex:
            done += item.size
            edges.reporter.progress("upload", done, total, "B")

    if ordered:
        edges.reporter.step(f"sending {len(ordered)} packages and layers to {session.host}/{repository}")
        with session.workers(edges.jobs) as pool:
            list(pool.map(send, ordered))


def _put(session: Session, repository: str, item: _Item) -> None:
    for blob in item.blobs:
        if not content.has_blob(session, repository, blob.digest):
            uploads.send(session, repository, blob)
    try:
        uploads.put_manifest(session, repository, item.tag, item.manifest, oci.MANIFEST)
    except RegistryError as error:
        if not uploads.MISSING & set(error.codes):
            raise
        # While another sends the same, docker's registry does not know for a moment what it has.
        raise Unfinished(error.message) from None


def _package(artifact: Artifact, store: Store) -> _Item:
    is_deb = isinstance(artifact, LockedPackage)
    name = f"{artifact.name}_{artifact.version}"
    digest = Digest.from_hex(artifact.sha256)
    layer = {
        "mediaType": _DEB if is_deb else _WHEEL, "digest": digest, "size": artifact.size, "annotations": {oci.TITLE: name},
    }  # fmt: skip
    manifest = oci.artifact(PACKAGE, (layer,))
    return _Item(
        f"package-{digest.hex}", manifest, (Bytes.of(oci.EMPTY, _TOLD), blobs_.stored(store, digest)), artifact.size
    )


def _layer(made: MadeLayer, store: Store) -> _Item:
    told = oci.dump(made.data())
    layers = [oci.descriptor(made.layer)]
    blobs = [Bytes.of(told, _TOLD), blobs_.stored(store, made.layer.digest)]
    if made.status:
        status = blobs_.stored(store, made.status)
        layers.append({"mediaType": _STATUS, "digest": status.digest, "size": status.size})
        blobs.append(status)
    config = {"mediaType": MADE, "digest": Digest.of(told), "size": len(told)}
    manifest = oci.artifact(LAYER, layers, config=config)
    return _Item(f"layer-{made.cache_key}", manifest, tuple(blobs), made.layer.size)


def _place(catalog: Catalog, place: str) -> Address:
    if place:
        return reusing.repository(place)
    found = reusing.repositories(catalog)
    if not found:
        raise UsageError(
            "no store in a registry is named",
            "say --to registry:HOST[:PORT]/NAME, or name it under `stores:` in imgbuild.yaml",
        )
    return found[0]


def layers(
    catalog: Catalog, plans: Iterable[ImagePlan], known: Mapping[CacheKey, BuiltLayer], there: frozenset[Digest],
    places: tuple[Blobs, ...], edges: Edges,
) -> frozenset[Digest]:  # fmt: skip
    """Bring layers that this machine lacks from registries among the workspace's stores.

    Those that a lock knows are verified by the digest there; others are taken only if the workspace trusts its stores.

    Args:
        known: what locks say that layers turned out to be.
        there: those of them that have come from elsewhere.
        places: where they are sought before.

    Returns:
        What has come of those that are known.
    """
    keys = dict.fromkeys(layer.cache_key for plan in plans for layer in plan.layers)
    lacking = [key for key in keys if edges.store.made(key) is None]
    built = [known[key] for key in lacking if key in known]
    sizes = {one.digest: one.size for one in built if one.digest not in there}
    unknown = frozenset(key for key in lacking if key not in known)
    brought: frozenset[Digest] = frozenset()
    for where in reusing.repositories(catalog):
        wanted = {digest: (size, [where.path]) for digest, size in sizes.items() if digest not in brought}
        brought |= reusing.take(where.host, wanted, places, edges, "layers")
        if catalog.workspace.trusted_stores and unknown:
            unknown -= _by_keys(where, unknown, edges)
    return brought


def _by_keys(where: Address, keys: frozenset[CacheKey], edges: Edges) -> frozenset[CacheKey]:
    """Take layers that no lock knows, by what a store says that they turned out to be."""
    found: list[CacheKey] = []

    def take(key: CacheKey) -> None:
        try:
            made = _made(session, where.path, key)
            blobs = RegistryBlobs(session, (where.path,), edges.store)
            for digest in (made.layer.digest, *((made.status,) if made.status else ())):
                blobs.open(digest).close()
        except (KeyError, ValueError, TypeError, AttributeError):
            return
        except IntegrityError as error:
            edges.reporter.warn(error.message)
            return
        edges.store.keep(made)
        found.append(key)

    try:
        with Session(where.host, Logins(), edges.reporter, tries=2) as session:
            there = frozenset(content.tags(session, where.path) or ())
            with session.workers(reusing.CONNECTIONS) as pool:
                list(pool.map(take, sorted(key for key in keys if f"layer-{key}" in there)))
    except RegistryError as error:
        edges.reporter.warn(f"no layers from there: {error.message}")
    if found:
        edges.reporter.note(f"{len(found)} layers are taken as {where.host}/{where.path} has them: no lock knows them")
    return frozenset(found)


def _made(session: Session, repository: str, key: CacheKey) -> MadeLayer:
    manifest = content.manifest(session, repository, f"layer-{key}")
    config = oci.config_digest(manifest.data) if manifest else None
    told = content.document(session, repository, config) if config else None
    if told is None:
        raise KeyError(key)
    return MadeLayer.of(key, oci.parse(told))
