"""Which version of a package apt would take, and a pin where a wish wants another one."""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass, field

_WISH = re.compile(r"^([^:\s]+)(?::\S+)? \((<<|<=|=|>=|>>) ([^)]+)\)$")
_FITS = {"<<": operator.lt, "<=": operator.le, "=": operator.eq, ">=": operator.ge, ">>": operator.gt}
_PIN = 30000
"""Above whatever a source may have."""


@dataclass(frozen=True, slots=True, order=True)
class Pin:
    """A version of a package that apt is to take, whatever else there is, or never to take.

    Attributes:
        name: of the binary package.
        never: whether it is not to be taken.
    """

    name: str
    version: str
    never: bool

    @property
    def text(self) -> str:
        """As apt_preferences(5) says it."""
        return f"Package: {self.name}\nPin: version {self.version}\nPin-Priority: {-1 if self.never else _PIN + 1}\n"


@dataclass(slots=True)
class Policy:
    """What ``apt-cache policy`` says of a package.

    Attributes:
        candidate: the version that apt would take; "" for none.
        suites: of each version, the first that has it.
    """

    candidate: str = ""
    suites: dict[str, str] = field(default_factory=dict)


def parse(text: str) -> dict[str, Policy]:
    """The policies by package."""
    found: dict[str, Policy] = {}
    policy, version = Policy(), ""
    for line in text.splitlines():
        if line and not line.startswith(" "):
            policy = found.setdefault(line.rstrip(":"), Policy())
        elif line.startswith("  Candidate: "):
            policy.candidate = line.split(": ", 1)[1].replace("(none)", "")
        elif line.startswith((" *** ", "     ")) and line[5:6].strip():
            version = line[5:].split()[0]
        elif line.startswith("      ") and len(words := line.split()) > 2:
            policy.suites.setdefault(version, words[2].rpartition("/")[0] or words[2])
    return found


def constrained(wish: str) -> str:
    """The package of a wish that has a constraint; "" if it has none."""
    found = _WISH.match(wish)
    return found[1] if found else ""


def pin(wish: str, policy: Policy) -> str:
    """A pin for what a wish wants, if that is not what apt would take (apt_preferences(5)).

    apt's solver looks at one version of a package, its candidate: without a pin it would find ``nova (<< 2)`` impossible
    once there is a 2, though the 1 is there too.
    """
    from debian.debian_support import Version

    found = _WISH.match(wish)
    if found is None or not policy.candidate:
        return ""
    name, relation, wanted = found[1], _FITS[found[2]], Version(found[3])
    fitting = [version for version in policy.suites if relation(Version(version), wanted)]
    if not fitting or policy.candidate in fitting:
        return ""
    return f"Package: {name}\nPin: version {max(fitting, key=Version)}\nPin-Priority: {_PIN}\n"
