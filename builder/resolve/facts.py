"""What a definition gives to resolving."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

from builder.model.digest import CacheKey, Digest
from builder.model.lock import LockedSource


@dataclass(frozen=True, slots=True)
class PackageSource:
    """A source with its paths found and its mirror put in.

    Attributes:
        uri: of an apt repository, as the definition says it; ``mirrored`` is what is asked.
        debs: a folder of .deb files, for a source without ``uri``.
        snapshot: an address where versions that the mirror has dropped can still be had; ``{date}`` in it stands for
            the time at which the suite was locked.
        valid_at: when its suites must have been in force, in place of now.
        plain: of its indexes there are those alone that are not compressed, whatever its Release files name.
        keyring: the file; None for a folder.
        keyring_name: as the definition says it.
    """

    name: str
    uri: str = ""
    mirrored: str = ""
    suites: tuple[str, ...] = ()
    components: tuple[str, ...] = ()
    keyring: Path | None = None
    keyring_name: str = ""
    fingerprints: tuple[str, ...] = ()
    priority: int | None = None
    debs: Path | None = None
    snapshot: str = ""
    valid_at: str = ""
    plain: bool = False

    def address(self, path: str) -> str:
        """Where a path below the source lies."""
        if self.debs is not None:
            return str(self.debs / unquote(path))
        return f"{self.mirrored.rstrip('/')}/{quoted(path)}"

    def snapshots(self, path: str, suite: str, dates: Iterable[LockedSource]) -> tuple[str, ...]:
        """Where it lay when a suite was as some locks saw it."""
        base = f"{self.snapshot.rstrip('/')}/{quoted(path)}"
        if not self.snapshot or "{date}" not in base:
            return (base,) if self.snapshot else ()
        seen = [row.date for row in dates if (row.name, row.suite) == (self.name, suite) and row.date]
        return tuple(base.replace("{date}", date.replace("-", "").replace(":", "")) for date in dict.fromkeys(seen))


def quoted(path: str) -> str:
    """A locked path as addresses want it."""
    return quote(path, safe="/%~+:=@,;!$&'()*")


@dataclass(frozen=True, slots=True)
class Facts:
    """All that decides which packages a definition adds, but for what lies below and what mirrors have.

    Attributes:
        chain: names of the definitions from the bottom to this one.
        essential: whether the distribution's essential packages belong to it: at the bottom of a chain.
        accounts: the users, groups, answers and overrides that the definition names, as plain data.
        wheels: what it asks of Python environments, and where that comes from, as plain data; empty if it has none.
    """

    chain: tuple[str, ...]
    architecture: str
    wishes: tuple[str, ...]
    recommends: bool
    essential: bool
    sources: tuple[PackageSource, ...]
    accounts: str = ""
    wheels: str = ""

    @property
    def definition(self) -> str:
        """The definition's name."""
        return self.chain[-1]


def fingerprint(facts: Facts) -> str:
    """A hash by which a lock knows that its definition has changed; mirrors and paths do not count, nor when a source was
    in force: that decides whether it is believed, not what it says."""
    sources = [
        [s.name, s.uri, s.suites, s.components, s.keyring_name, s.fingerprints, s.priority, _debs(s.debs)]
        for s in facts.sources
    ]
    key = [sorted(facts.wishes), facts.recommends, facts.essential, sources, facts.accounts]
    key += [facts.wheels] if facts.wheels else []
    return CacheKey.of("facts", key)[:32]


def _debs(folder: Path | None) -> list[list[str]]:
    if folder is None:
        return []
    return [[path.name, Digest.of(path.read_bytes())] for path in sorted(folder.glob("*.deb"))]
