"""dpkg's status: what it says of packages, as text and as values."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from builder.formats.deb import relation_names
from builder.formats.places import canonical
from builder.formats.relations import parsed

INFO = "var/lib/dpkg/info"
_BLANK = re.compile(r"\n[ \t\r]*\n")
_FIELD = re.compile(r"^([A-Za-z][A-Za-z0-9-]*):[ \t]*(.*)$")


@dataclass(frozen=True, slots=True)
class Stanza:
    """The fields of a package in the order in which they stand; continued lines keep their form."""

    fields: tuple[tuple[str, str], ...]
    _by_name: Mapping[str, str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Of a field that stands there twice, the first counts.
        object.__setattr__(self, "_by_name", {key.lower(): value for key, value in reversed(self.fields)})

    def get(self, name: str, default: str = "") -> str:
        """A field, whatever its case."""
        return self._by_name.get(name.lower(), default)

    def with_field(self, name: str, value: str) -> Stanza:
        """With a field set in its place, or added at the end; an empty value removes it."""
        kept = []
        found = False
        for key, old in self.fields:
            if key.lower() != name.lower():
                kept.append((key, old))
            elif value and not found:
                kept.append((name, value))
                found = True
        if value and not found:
            kept.append((name, value))
        return Stanza(tuple(kept))

    @property
    def package(self) -> str:
        """Its name."""
        return self.get("Package")

    @property
    def info_name(self) -> str:
        """What its files in dpkg's ``info`` begin with."""
        if self.get("Multi-Arch") == "same":
            return f"{self.package}:{self.get('Architecture')}"
        return self.package

    def __str__(self) -> str:
        return "".join(f"{key}:{_gap(value)}{value}\n" for key, value in self.fields)


def _gap(value: str) -> str:
    return "" if not value or value.startswith("\n") else " "


def parse(text: str) -> tuple[Stanza, ...]:
    """The stanzas of a status or control file."""
    found = map(_stanza, _BLANK.split(text))
    return tuple(stanza for stanza in found if stanza.fields)


@lru_cache(maxsize=4096)
def _stanza(text: str) -> Stanza:
    # Most of a status is as it was below, and a worker makes many states.
    fields: list[tuple[str, str]] = []
    for line in text.splitlines():
        if line[:1] in (" ", "\t") and fields:
            key, value = fields[-1]
            fields[-1] = (key, f"{value}\n{line}")
        elif match := _FIELD.match(line):
            fields.append((match[1], match[2]))
    return Stanza(tuple(fields))


def format(stanzas: Iterable[Stanza]) -> str:
    """A status file as dpkg writes it: sorted by package and architecture."""
    ordered = sorted(stanzas, key=lambda s: (s.package, s.get("Architecture")))
    return "".join(f"{stanza}\n" for stanza in ordered)


@dataclass(frozen=True, slots=True)
class Unpacked:
    """A package of which a tree is there.

    Attributes:
        tree: its payload, with its control members in dpkg's ``info``.
        files: the paths of its payload, canonical and relative, from its ``.list``.
        scripts: the control members that it has: ``preinst``, ``triggers`` …
    """

    control: Stanza
    tree: Path
    files: tuple[str, ...] = field(repr=False)
    members: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """The package's name."""
        return self.control.package

    def member(self, name: str) -> Path:
        """A control member's file."""
        return self.tree / INFO / f"{self.control.info_name}.{name}"

    def mode(self, path: str) -> int | None:
        """What its tree has at a path, as ``st_mode``; None if nothing."""
        try:
            return os.lstat(f"{self.tree}/{path}").st_mode
        except (FileNotFoundError, NotADirectoryError):
            return None

    def text(self, name: str) -> str:
        """A control member's text, empty if it has none of this name."""
        return self.member(name).read_text(errors="surrogateescape") if name in self.members else ""


def unpacked(tree: Path, control: Stanza) -> Unpacked:
    """The package that a tree holds.

    Args:
        control: its control file, or what dpkg's status says of it.
    """
    members, files = _told(tree, control.info_name + ".")
    return Unpacked(control, tree, files, members)


@lru_cache(maxsize=4096)
def _told(tree: Path, prefix: str) -> tuple[frozenset[str], tuple[str, ...]]:
    # What lies below is the same for all the states that a worker makes.
    info = tree / INFO
    members = frozenset(path.name[len(prefix) :] for path in info.iterdir() if path.name.startswith(prefix))
    listed = (info / f"{prefix}list").read_text(errors="surrogateescape").splitlines()
    files = tuple(sorted({canonical(path) for path in listed} - {""}))
    return members, files


def fresh(package: Unpacked) -> Stanza:
    """What dpkg's status says of a package that has been unpacked and not configured."""
    stanza = package.control
    first = ("Package", stanza.package), ("Status", "install ok unpacked")
    rest = tuple((key, value) for key, value in stanza.fields if key not in ("Package", "Status"))
    result = Stanza((*first, *rest))
    lines = []
    for line in package.text("conffiles").splitlines():
        words = line.split()
        if not words:
            continue
        path = words[-1]
        if words[0] == "remove-on-upgrade":
            # The package does not bring it: dpkg notes what an upgrade is to remove.
            lines.append(f"\n {path} newconffile remove-on-upgrade")
            continue
        file = package.tree / canonical(path)
        if file.is_file() and not file.is_symlink():
            lines.append(f"\n {path} {hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()}")
    return _before(result, "Description", "Conffiles", "".join(lines)) if lines else result


def without_left_out(stanza: Stanza, left_out: Callable[[str], bool]) -> Stanza:
    """What dpkg's status says of a package of which conffiles are left out: it marks them so (dpkg(1), --path-exclude).

    Args:
        left_out: says it of a path without a leading ``/``.
    """
    lines = [line.split() for line in stanza.get("Conffiles").splitlines()]
    if not any(words and left_out(canonical(words[0])) for words in lines):
        return stanza
    marked = [(w[0], "newconffile", *w[2:]) if w and left_out(canonical(w[0])) else w for w in lines]
    return stanza.with_field("Conffiles", "".join(f"\n {' '.join(words)}" for words in marked if words))


def _before(stanza: Stanza, mark: str, name: str, value: str) -> Stanza:
    head = [pair for pair in stanza.fields if pair[0] != name]
    place = next((i for i, pair in enumerate(head) if pair[0] == mark), len(head))
    return Stanza((*head[:place], (name, value), *head[place:]))


def needs(stanza: Stanza, fields: Sequence[str] = ("Pre-Depends", "Depends")) -> tuple[str, ...]:
    """The names that a package's relations mention, alternatives included."""
    return relation_names(",".join(stanza.get(name) for name in fields))


def winner(one: Stanza, other: Stanza) -> Stanza | None:
    """Which of two packages that bring one path has it: the one that replaces the other, whatever their order.

    dpkg lets it take the path over, or keep it (policy 7.6.1; archives.c, does_replace).

    Returns:
        None if neither replaces the other, or each the other.
    """
    takes, gives = _replaces(one, other), _replaces(other, one)
    if takes == gives:
        return None
    return one if takes else other


def _replaces(stanza: Stanza, other: Stanza) -> bool:
    text = stanza.get("Replaces")
    # Taking relations apart is slow, and this is rare.
    if other.package not in relation_names(text):
        return False
    return any(
        atom.name == other.package and atom.takes(other.get("Version"))
        for alternatives in parsed(text)
        for atom in alternatives
    )


def in_order(packages: Sequence[Unpacked]) -> tuple[Unpacked, ...]:
    """Packages after those that they need; cycles are cut where names sort first."""
    by_name = {package.name: package for package in sorted(packages, key=lambda p: p.name)}
    for package in packages:
        for name in needs(package.control, ("Provides",)):
            by_name.setdefault(name, package)
    done: dict[str, Unpacked] = {}
    visiting: set[str] = set()

    def visit(package: Unpacked) -> None:
        if package.name in done or package.name in visiting:
            return
        visiting.add(package.name)
        for name in needs(package.control):
            if name in by_name:
                visit(by_name[name])
        done[package.name] = package

    for package in sorted(packages, key=lambda p: p.name):
        visit(package)
    return tuple(done.values())


def essential(packages: Sequence[Unpacked]) -> frozenset[str]:
    """The essential packages among these and all that they need: nothing runs before they are there."""
    by_name = {package.name: package for package in packages}
    found: set[str] = set()
    todo = [package.name for package in packages if package.control.get("Essential") == "yes"]
    while todo:
        name = todo.pop()
        if name in by_name and name not in found:
            found.add(name)
            todo += needs(by_name[name].control)
    return frozenset(found)


def before_preinst(
    package: Unpacked, packages: Sequence[Unpacked], known: Container[str], configured: Container[str]
) -> tuple[str, ...]:
    """What must be configured before a package's preinst runs: what it pre-depends on, and all that this needs (policy 7.2).

    Args:
        packages: those that are being configured, the package among them.
        known: names of those whose preinst has run, or that have none.
        configured: names of those that need nothing done any more.

    Returns:
        Names, without those that need something that is not ready itself.
    """
    first = needs(package.control, ("Pre-Depends",))
    if not first:
        return ()
    by_name = {found.name: found for found in sorted(packages, key=lambda p: p.name)}
    for found in packages:
        for name in needs(found.control, ("Provides",)):
            by_name.setdefault(name, found)
    inner = {
        found.name: {by_name[name].name for name in needs(found.control) if name in by_name} - {found.name}
        for found in packages
    }
    wanted: set[str] = set()
    todo = [by_name[name].name for name in first if name in by_name]
    while todo:
        name = todo.pop()
        if name not in wanted and name not in configured:
            wanted.add(name)
            todo += inner[name]
    ready = {name for name in wanted if name in known and name != package.name}
    while unready := {name for name in ready if any(n not in ready and n not in configured for n in inner[name])}:
        ready -= unready
    return tuple(sorted(ready))


def checksum(data: bytes) -> str:
    """What dpkg keeps of a conffile."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def installed(control: Stanza, conffiles: str, checksums: dict[str, str]) -> Stanza:
    """What dpkg's status says of a package that is installed.

    Args:
        conffiles: its control member of this name.
        checksums: of conffiles, by path.
    """
    rest = tuple(pair for pair in control.fields if pair[0] not in ("Package", "Status"))
    stanza = Stanza((("Package", control.package), ("Status", "install ok installed"), *rest))
    paths = [line.split()[-1] for line in conffiles.splitlines() if line.split()]
    lines = "".join(f"\n {path} {checksums[path]}" for path in paths if path in checksums)
    return _before(stanza, "Description", "Conffiles", lines) if lines else stanza
