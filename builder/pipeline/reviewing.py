"""What locks say against definitions: a changed text with an unchanged version, a package that gives root's power away."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from builder.formats import lockfile
from builder.model.digest import CacheKey, Digest
from builder.model.lock import Lock, LockedText
from builder.resolve import locking
from builder.tools import git
from dsl.catalog import Definition
from dsl.errors import DefinitionError, Problem

_WORDS = ("dsl", "layer", "version", "summary", "description", "license", "homepage", "maintainer", "allow")
"""Members of a layer definition of which no image that stands on it shows anything."""

_SUDO = {
    "sudo": "/usr/bin/sudo", "sudo-ldap": "/usr/bin/sudo", "sudo-rs": "/usr/bin/sudo-rs", "doas": "/usr/bin/doas",
    "opendoas": "/usr/bin/doas",
}  # fmt: skip
"""Packages that let a user become root, and the program that does it."""


def text(definition: Definition) -> LockedText | None:
    """The version and digest of a layer definition's text; None for others.

    The digest is of what resolving and making read, so comments, words and the order of lists do not count. One that
    ships, comes from elsewhere or is changed by a site has its version from another place: it is not watched here.
    """
    if not definition.version or definition.site or definition.foreign or definition.upstream_lock_path:
        return None
    said: dict[str, Any] = msgspec.to_builtins(definition.model)
    said = {key: value for key, value in said.items() if key not in _WORDS}
    contents = {}
    for path, file in definition.model.files.items():
        if file.from_ is not None:
            with contextlib.suppress(OSError):
                contents[path] = Digest.of(definition.beside("files", path, "from").read_bytes())
    for name, environment in definition.model.environments.items():
        if environment.requirements is not None:
            with contextlib.suppress(OSError):
                place = definition.beside("environments", name, "requirements")
                contents[f"environments.{name}"] = Digest.of(place.read_bytes())
    return LockedText(definition.version, CacheKey.of("text", [_plain(said), contents])[:32])


def _plain(value: Any) -> Any:
    """Without what is empty, so that a new member of the language changes nothing; lists sorted."""
    if isinstance(value, dict):
        found = {key: _plain(one) for key, one in value.items()}
        return {key: one for key, one in found.items() if one not in (None, False, "", [], {})}
    if isinstance(value, list | tuple):
        return sorted((_plain(one) for one in value), key=repr)
    return value


def kept(definition: Definition, before: Lock | None) -> LockedText | None:
    """What a lock is to say of its definition's text.

    A version that has been committed keeps the text that it was given to; until then it may be given to another one.
    """
    now = text(definition)
    old = before.text if before else None
    if now is None or old is None or old.version != now.version or old == now:
        return now
    return old if _committed(definition, old) else now


def unraised(definitions: Iterable[Definition]) -> Iterator[Problem]:
    """Layer definitions whose text is another one than their version was given to."""
    for definition in definitions:
        now = text(definition)
        if now is None:
            continue
        try:
            locks = lockfile.read(definition.lock_path).locks
        except DefinitionError as error:
            yield from error.problems
            continue
        old = {lock.text for lock in locks if lock.name == definition.name and lock.text}
        if any(one.version == now.version and one != now and _committed(definition, one) for one in old):
            major, minor, patch = now.version.split(".")
            yield definition.document.problem(
                definition.place("version"),
                "unraised-version",
                f"{definition.name} has changed since it was given version {now.version}",
                f"raise the version ({major}.{minor}.{int(patch) + 1}, or {major}.{int(minor) + 1}.0 for what is new, "
                f"or {int(major) + 1}.0.0 for what breaks others), then run `imgbuild lock {definition.name}`",
            )


def _committed(definition: Definition, said: LockedText) -> bool:
    """Whether others may know this; without git nobody can say that they do not."""
    committed = git.at_head(definition.lock_path)
    if committed is None:
        return True
    with contextlib.suppress(DefinitionError):
        locks = lockfile.parse(committed, definition.lock_path).locks if committed else ()
        return any(lock.name == definition.name and lock.text == said for lock in locks)
    return False


def sudo(definitions: Iterable[Definition], locks: Mapping[str, Lock]) -> Iterator[Problem]:
    """Notices of definitions whose packages bring sudo because others need it."""
    for definition in definitions:
        chain = definition.chain()
        lock = locks.get(definition.key)
        if lock is None or any("sudo" in part.model.allow for part in chain):
            continue
        tamed = {
            path for part in chain for path, one in part.model.statoverrides.items() if not int(one.mode, 8) & 0o4000
        }
        for package in lock.packages:
            path = _SUDO.get(package.name)
            if path is None or path in tamed:
                continue
            below = tuple(locks[part.key] for part in chain if part.key in locks)
            needed = " → ".join(one.name for _, one in reversed(locking.why(below, package.name)))
            yield definition.document.problem(
                definition.place("packages"),
                "brings-sudo",
                f"{definition.reference} holds {package.name}, which lets its users become root: {needed}",
                f'take the bit away: statoverrides: {{{path}: {{owner: root, mode: "0755"}}}}; '
                "or, if it must be, say why: allow: {sudo: the reason}",
            )
