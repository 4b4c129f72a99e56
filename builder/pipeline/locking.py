"""Definitions → locks: solve, learn the numbers of users, give revisions; bottom-up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from builder.formats import lockfile
from builder.model.digest import Digest
from builder.model.lock import Lock, LockFile
from builder.pipeline import packages
from builder.plan.planner import Locked
from builder.resolve import locking
from dsl import versions
from dsl.catalog import Catalog, CatalogComponent, Definition

LAYER_BUDGETS = {"layer": 24, "shared": 24, "image": 8}
"""How many package layers a definition may have; a chain of five stays below docker's 125."""


@dataclass(frozen=True, slots=True)
class LockChange:
    """What locking did to one definition's lock."""

    definition: str
    path: Path
    after: Lock
    difference: LockDiff


def images(catalog: Catalog, targets: Iterable[str]) -> tuple[Definition, ...]:
    """The image definitions that some targets mean; all of them if there is no target."""
    names = tuple(targets) or tuple(component.name for component in catalog.components)
    found: dict[str, Definition] = {}
    for name in names:
        for definition in catalog.find(name):
            found.setdefault(f"{definition.component}/{definition.name}", definition)
    return tuple(found.values())


def definitions(images: Iterable[Definition]) -> tuple[Definition, ...]:
    """Every definition of some images' chains once, those below before those above."""
    found = {definition.name: definition for image in images for definition in image.chain()}
    return tuple(sorted(found.values(), key=lambda definition: len(definition.chain())))


def read(images: tuple[Definition, ...], architecture: str) -> dict[str, Lock]:
    """The locks of all definitions of some images' chains, as they lie in their files, by definition."""
    found: dict[str, Lock] = {}
    files: dict[Path, LockFile] = {}
    for definition in definitions(images):
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
    """Definitions whose lock cannot be used, and why; needs no network."""
    reasons: dict[str, str] = {}
    digests: dict[str, Digest] = {}
    for definition in definitions(images):
        lock, below = locks.get(definition.name), definition.extends
        if lock is None:
            reasons[definition.name] = f"there is no lock for {architecture}"
        elif lock.rules != RULES:
            reasons[definition.name] = f"it was made by rules {lock.rules}, these are {RULES}"
        elif lock.fingerprint != locking.fingerprint(packages.facts(catalog, definition, architecture)):
            reasons[definition.name] = "the definition has changed"
        elif below and (below.name in reasons or lock.stands_on != digests[below.name]):
            reasons[definition.name] = f"the lock of {below.name} below it has changed"
        else:
            digests[definition.name] = locking.lock_digest(lock)
    return reasons


def check(catalog: Catalog, targets: Iterable[str]) -> dict[str, str]:
    """Locks of some targets that do not fit their definitions, and why."""
    wanted, architecture = images(catalog, targets), packages.architecture(catalog)
    return stale(catalog, wanted, read(wanted, architecture), architecture)


def version(component: CatalogComponent, locked: tuple[Locked, ...]) -> str:
    """The version of the product: literal, or that of the package that carries it.

    Raises:
        UsageError: the package is not in the lock of the chain.
    """
    rule = component.model.version
    if isinstance(rule, str):
        return rule
    name = rule.from_.removeprefix("apt/")
    found = next((p.version for x in reversed(locked) for p in x.lock.packages if p.name == name), None)
    if found is None:
        where = locked[-1].definition.name
        raise UsageError(f"the version of {component.name} is that of {name}, which {where} does not have")
    return versions.product_version(found)
