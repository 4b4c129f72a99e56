"""dpkg's triggers: who is interested in which paths, and who must be told of a new payload.

dpkg notes a package's interests, and activates those of others, when it unpacks; payloads that it did not
unpack need both done for it (deb-triggers(5), dpkg's doc/spec/triggers.txt).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from builder.formats.places import canonical
from builder.make.dpkg_status import Stanza, Unpacked


@dataclass(frozen=True, slots=True, order=True)
class Interest:
    """A package wants to know of a path or a name."""

    trigger: str
    package: str
    waits: bool


def interests(package: Unpacked) -> tuple[Interest, ...]:
    """What a package is interested in."""
    name = package.control.info_name
    return tuple(
        Interest(trigger, name, directive in ("interest", "interest-await"))
        for directive, trigger in _directives(package)
        if directive in ("interest", "interest-await", "interest-noawait")
    )


def activated(package: Unpacked) -> frozenset[str]:
    """The names that a package's arrival activates."""
    return frozenset(trigger for directive, trigger in _directives(package) if directive.startswith("activate"))


def files(interested: Iterable[Interest]) -> dict[str, str]:
    """The files of ``var/lib/dpkg/triggers`` by name."""
    lines: dict[str, set[str]] = defaultdict(set)
    for interest in interested:
        suffix = "" if interest.waits else "/noawait"
        if interest.trigger.startswith("/"):
            lines["File"].add(f"{interest.trigger} {interest.package}{suffix}")
        else:
            lines[interest.trigger].add(f"{interest.package}{suffix}")
    return {name: "".join(f"{line}\n" for line in sorted(found)) for name, found in sorted(lines.items())}


def pending(interested: Sequence[Interest], arrived: Sequence[Unpacked]) -> dict[str, tuple[str, ...]]:
    """The triggers that these payloads activate, by the package to be told."""
    names = frozenset(name for package in arrived for name in activated(package))
    paths = sorted({path for package in arrived for path in package.files})
    found: dict[str, set[str]] = defaultdict(set)
    for interest in interested:
        if interest.trigger.startswith("/"):
            wanted = canonical(interest.trigger)
            hit = any(path == wanted or path.startswith(wanted + "/") for path in paths)
        else:
            hit = interest.trigger in names
        if hit:
            found[interest.package].add(interest.trigger)
    return {package: tuple(sorted(triggers)) for package, triggers in sorted(found.items())}


def with_pending(stanza: Stanza, triggers: tuple[str, ...]) -> Stanza:
    """A configured package that must be told of triggers."""
    return stanza.with_field("Status", "install ok triggers-pending").with_field("Triggers-Pending", " ".join(triggers))


def _directives(package: Unpacked) -> tuple[tuple[str, str], ...]:
    found = []
    for line in package.text("triggers").splitlines():
        words = line.split("#")[0].split()
        if len(words) == 2:
            found.append((words[0], words[1]))
    return tuple(found)
