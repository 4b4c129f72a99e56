"""What security sources say, and what that means for a package that is locked."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from builder.model.release import moment

PYPI = "PyPI"
"""The suite of an advisory that speaks of Python's index."""

SEVERITIES = ("unimportant", "low", "medium", "high", "critical")
"""The words of Debian's tracker and of OSV, the least first."""
SAME_SEVERITIES = {"moderate": "medium"}
"""Others' words for them."""
ANNOUNCEMENT = re.compile(r"D[SL]A-[0-9]")
"""Names of announcements, which speak of several flaws at once, and come with their fix."""


@dataclass(frozen=True, slots=True, order=True)
class Advisory:
    """A flaw of one source package, as far as one suite is concerned.

    Attributes:
        id: what the feed calls it: ``CVE-2026-1234``, ``DSA-5432-1``.
        source: the source package; a project of PyPI.
        suite: the release of Debian that it speaks of (``trixie``, which means its security suite and its updates,
            too), or ``PyPI``.
        introduced: the first version with the flaw; ``0`` for all.
        fixed: the first version without it; empty while there is none.
        severity: the feed's word, lower case; empty if it has none.
        waiting: why there is no fix, in the feed's words: ``no-dsa: minor issue``.
        aliases: other names: the CVEs of a DSA.
        published: RFC 3339; empty if the feed does not say.
        feed: where it comes from.
        seen: when the record first saw it, in seconds since 1970; 0 without a record.
        mended: when the record first saw a fix of it; 0 without one.
    """

    id: str
    source: str
    suite: str
    introduced: str
    fixed: str
    severity: str = ""
    waiting: str = ""
    aliases: tuple[str, ...] = ()
    published: str = ""
    summary: str = ""
    feed: str = ""
    seen: int = 0
    mended: int = 0

    @property
    def since(self) -> str:
        """Since when it is known, as RFC 3339 has it: when the feed says, or when it was first seen, whichever is earlier."""
        return min(filter(None, (self.published, moment(self.seen))), default="")


class State(StrEnum):
    """How a locked package stands to an advisory."""

    FIXABLE = "affected, fix available"
    WAITING = "affected, waiting"
    UNPUBLISHED = "fixed, not yet published"
    FIXED = "fixed"
    DECIDED = "not affected, because"
    UNTOUCHED = "not affected"


OPEN = (State.FIXABLE, State.WAITING)
"""What somebody has to do something about."""
