"""Definitions → locks: solve, learn the numbers of users, give revisions; bottom-up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from builder.formats import lockfile
from builder.model.digest import Digest
from builder.model.lock import Lock, LockedGroup, LockedUser, LockFile, Revision
from builder.model.plan import ImagePlan, MadeLayer
from builder.pipeline import making, packages
from builder.pipeline.edges import Edges
from builder.plan import accounts, groups, planner
from builder.plan.planner import Locked
from builder.resolve import locking
from dsl import model, versions
from dsl.catalog import Catalog, CatalogComponent, Definition
from dsl.errors import ImgbuildError

LAYER_BUDGETS = {"layer": 24, "shared": 24, "image": 8}
"""How many package layers a definition may have; a chain of five stays below docker's 125."""


@dataclass(frozen=True, slots=True)
class LockChange:
    """What locking did to one definition's lock."""

    definition: str
    path: Path
    before: Lock | None
    after: Lock


def read(catalog: Catalog, images: tuple[Definition, ...], architecture: str) -> dict[str, Lock]:
    """The locks of all definitions of some images' chains, as they lie in their files, by definition."""
    found: dict[str, Lock] = {}
    files: dict[Path, LockFile] = {}
    for definition in (d for image in images for d in image.chain()):
        if definition.lock_path not in files:
            files[definition.lock_path] = lockfile.read(definition.lock_path)
        lock = files[definition.lock_path].get(definition.name, architecture)
        if lock:
            found[definition.name] = lock
    return found


def chain(definition: Definition, locks: Mapping[str, Lock]) -> tuple[Locked, ...]:
    """A definition's chain with its locks, bottom first."""
    return tuple(Locked(part, locks[part.name]) for part in definition.chain())


def stale(
    catalog: Catalog, images: tuple[Definition, ...], locks: Mapping[str, Lock], architecture: str
) -> dict[str, str]:
    """Definitions whose lock cannot be used, and why."""
    reasons: dict[str, str] = {}
    digests: dict[str, Digest] = {}
    for definition in (d for image in images for d in image.chain()):
        if definition.name in reasons or definition.name in digests:
            continue
        lock = locks.get(definition.name)
        if lock is None:
            reasons[definition.name] = f"there is no lock for {architecture}"
            continue
        below = definition.extends
        facts = packages.facts(catalog, definition, architecture)
        if lock.fingerprint != locking.fingerprint(facts):
            reasons[definition.name] = "the definition has changed"
        elif below and (below.name in reasons or lock.stands_on != digests.get(below.name)):
            reasons[definition.name] = f"the lock of {below.name} below it has changed"
        else:
            digests[definition.name] = locking.lock_digest(lock)
    return reasons
