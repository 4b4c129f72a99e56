"""Layers that the locks know and this machine lacks ← the registry where their images were published."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from threading import Lock as Mutex

from builder.errors import IntegrityError, RegistryError
from builder.model.digest import CacheKey, Digest
from builder.model.image import Blobs
from builder.model.lock import BuiltLayer
from builder.model.plan import ImagePlan
from builder.pipeline.edges import Edges
from builder.registry.address import Home
from builder.registry.logins import Logins
from builder.registry.session import Session
from builder.transports.registry import RegistryBlobs

_CONNECTIONS = 6


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
    wanted = {digest: found for digest, found in wanted.items() if not any(_has(place, digest) for place in places)}
    if wanted:
        edges.reporter.step(f"looking in {where.address.host} for {len(wanted)} layers")
        with Session(where.address.host, Logins(), edges.reporter, tries=2) as session:
            return _Fetching(session, wanted, edges).run()
    return frozenset()


class _Fetching:
    def __init__(self, session: Session, wanted: Mapping[Digest, tuple[int, list[str]]], edges: Edges) -> None:
        self._session, self._wanted, self._edges = session, wanted, edges
        self._brought: dict[Digest, int] = {}
        self._mutex = Mutex()

    def run(self) -> frozenset[Digest]:
        pool, patient = ThreadPoolExecutor(_CONNECTIONS), True
        try:
            # One that does not answer is asked once, not by all at once.
            self._session.ping()
            list(pool.map(self._one, self._wanted))
        except RegistryError as error:
            self._edges.reporter.warn(f"no layers from there: {error.message}")
        except BaseException as error:
            patient = isinstance(error, Exception)
            raise
        finally:
            self._session.stopped.set()
            pool.shutdown(wait=patient, cancel_futures=True)
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
