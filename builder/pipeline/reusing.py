"""Layers that the locks know, and packages, that this machine lacks ← the registry of their images, or one that is a store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from threading import Lock as Mutex

from builder.errors import IntegrityError, RegistryError, UsageError
from builder.model.digest import CacheKey, Digest
from builder.model.image import Blobs
from builder.model.lock import BuiltLayer
from builder.model.plan import ImagePlan
from builder.pipeline.edges import Edges
from builder.registry import address
from builder.registry.address import Address, Home, Host
from builder.registry.logins import Logins
from builder.registry.session import Session
from builder.transports.registry import RegistryBlobs
from dsl.catalog import Catalog

CONNECTIONS = 6
_REGISTRY = "registry:"


def fetch(
    plans: Iterable[ImagePlan],
    known: Mapping[CacheKey, BuiltLayer],
    places: tuple[Blobs, ...],
    where: Home,
    edges: Edges,
) -> frozenset[Digest]:
    """Bring layers from a registry into the store, each verified by the digest in its lock.

    What is not there is made here; a registry that fails is told, and done without.

    Args:
        known: what locks say that layers turned out to be.
        places: where they are sought before.

    Returns:
        What has come.
    """
    wanted: dict[Digest, tuple[int, list[str]]] = {}
    for plan in plans:
        for layer in plan.layers:
            built = known.get(layer.cache_key)
            if built and edges.store.made(layer.cache_key) is None:
                _, repositories = wanted.setdefault(built.digest, (built.size, []))
                repositories.append(where.repository(plan.component, plan.image))
    return take(where.address.host, wanted, places, edges, "layers")


def repositories(catalog: Catalog) -> tuple[Address, ...]:
    """Those of the workspace's stores that are repositories of registries.

    Raises:
        UsageError: one is no such address.
    """
    found = (store for store in catalog.workspace.stores if store.startswith(_REGISTRY))
    return tuple(repository(store) for store in found)


def repository(text: str) -> Address:
    """A store in a registry, by what it is called: ``registry:HOST[:PORT]/NAME``.

    Raises:
        UsageError: it is none.
    """
    found = address.parse(text.removeprefix(_REGISTRY)) if text.startswith(_REGISTRY) else None
    if found is None or not found.whole or found.tag or found.digest:
        raise UsageError(f"{text!r} is no store in a registry", "say registry:HOST[:PORT]/NAME")
    return found


def packages(catalog: Catalog, wanted: Iterable[tuple[Digest, int]], edges: Edges) -> None:
    """Bring packages that this machine lacks from registries among the workspace's stores, as far as these have them.

    Args:
        wanted: digests, with sizes.
    """
    there = repositories(catalog)
    sizes = {digest: size for digest, size in wanted if not edges.store.has(digest)} if there else {}
    for where in there:
        asked = {digest: (size, [where.path]) for digest, size in sizes.items()}
        for digest in take(where.host, asked, (), edges, "packages"):
            del sizes[digest]


def take(
    host: Host, wanted: Mapping[Digest, tuple[int, list[str]]], places: tuple[Blobs, ...], edges: Edges, what: str
) -> frozenset[Digest]:
    """Bring blobs from a registry into the store; one that fails is told, and done without.

    Args:
        wanted: with their sizes, and the repositories that may have them.
        places: what is there already.
        what: they are, for messages.

    Returns:
        What has come.
    """
    wanted = {digest: found for digest, found in wanted.items() if not any(_has(place, digest) for place in places)}
    if not wanted:
        return frozenset()
    edges.reporter.step(f"looking in {host} for {len(wanted)} {what}")
    with Session(host, Logins(), edges.reporter, tries=2) as session:
        return _Fetching(session, wanted, edges).run(what)


class _Fetching:
    def __init__(self, session: Session, wanted: Mapping[Digest, tuple[int, list[str]]], edges: Edges) -> None:
        self._session, self._wanted, self._edges = session, wanted, edges
        self._brought: dict[Digest, int] = {}
        self._mutex = Mutex()

    def run(self, what: str) -> frozenset[Digest]:
        try:
            # One that does not answer is asked once, not by all at once.
            self._session.ping()
            with self._session.workers(CONNECTIONS) as pool:
                list(pool.map(self._one, self._wanted))
        except RegistryError as error:
            self._edges.reporter.warn(f"no {what} from there: {error.message}")
        brought = dict(self._brought)
        self._edges.reporter.note(f"{len(brought)} of them are there: {sum(brought.values())} bytes")
        return frozenset(brought)

    def _one(self, digest: Digest) -> None:
        size, repositories = self._wanted[digest]
        there = self._edges.store.has(digest)
        blobs = RegistryBlobs(self._session, tuple(dict.fromkeys(repositories)), self._edges.store)
        try:
            blobs.open(digest).close()
        except KeyError:
            return
        except IntegrityError as error:
            self._edges.reporter.warn(error.message)
            return
        with self._mutex:
            self._brought[digest] = 0 if there else size


def _has(place: Blobs, digest: Digest) -> bool:
    try:
        place.open(digest).close()
    except (KeyError, OSError):
        return False
    return True
