"""What people decided about advisories and packages, each with its reason, its author and its end."""

from __future__ import annotations

from dataclasses import dataclass

JUSTIFICATIONS = (
    "component_not_present",
    "vulnerable_code_not_present",
    "vulnerable_code_not_in_execute_path",
    "vulnerable_code_cannot_be_controlled_by_adversary",
    "inline_mitigations_already_exist",
)
"""OpenVEX's words for why a product is not affected."""


@dataclass(frozen=True, slots=True, order=True)
class Hold:
    """A source package that is not to move.

    Attributes:
        package: of the source.
        version: the one of the source that nothing is to move to; empty if it is not to move at all.
        because: why.
        until: the last day on which it counts (``2026-12-31``); empty for good.
        author: who decided: ``name <address>``.
        since: when; RFC 3339.
    """

    package: str
    version: str
    because: str
    until: str
    author: str
    since: str

    def over(self, day: str) -> bool:
        """Whether it has ended by a day."""
        return bool(self.until) and self.until < day

    @property
    def told(self) -> str:
        """What is held and why, in a sentence."""
        what = f"{self.package} is held back from {self.version}" if self.version else f"{self.package} is held"
        end = f" until {self.until}" if self.until else ""
        return f"{what}{end}, because {self.because} ({self.author})"


@dataclass(frozen=True, slots=True, order=True)
class Product:
    """What a statement is about: a package, an image, or packages within an image.

    Attributes:
        purls: all that it is called by, as package URLs.
        within: package URLs of what in it is meant; none for all of it.
    """

    purls: tuple[str, ...]
    within: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, order=True)
class Statement:
    """What somebody says of a flaw in some products (OpenVEX).

    Attributes:
        names: of the flaw, the main one first.
        status: ``not_affected``, ``affected``, ``fixed`` or ``under_investigation``.
        justification: one of OpenVEX's five, or empty.
        because: in words; may be empty where there is a justification.
        author: who says it.
        timestamp: when; RFC 3339, UTC.
        until: the last day on which it counts; empty if it says none.
        own: whether it is a decision of this workspace.
    """

    names: tuple[str, ...]
    products: tuple[Product, ...]
    status: str
    justification: str
    because: str
    author: str
    timestamp: str
    until: str = ""
    own: bool = False

    def over(self, day: str) -> bool:
        """Whether it has ended by a day."""
        return bool(self.until) and self.until < day

    @property
    def told(self) -> str:
        """Why and who, in a sentence's end."""
        reason = self.because or self.justification.replace("_", " ")
        end = f", until {self.until}" if self.until else ""
        return f"{reason} ({self.author}{end})"


@dataclass(frozen=True, slots=True, order=True)
class Withdrawal:
    """A release that nobody is to use any more.

    Attributes:
        image: its name.
        tag: of the release: ``31.0.0-r4``.
        successor: the tag of the release in its place.
        move: the floating tags that have to name the successor, even where that is the older version.
    """

    image: str
    tag: str
    successor: str
    move: tuple[str, ...]
    because: str
    author: str
    since: str
