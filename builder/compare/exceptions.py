"""The differences that may be: a short list with reasons, kept as data (``exceptions.yaml``)."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources

import yaml

from builder.file_differences import FileDifference

MISSING, EXTRA = "missing", "extra"


@dataclass(frozen=True, slots=True)
class Exception_:
    """Differences that have one reason.

    Attributes:
        paths: without a leading ``/``, or names of records; ``*`` stands for what is within a name, ``**`` for more.
        may: ``missing`` (the image lacks it), ``extra`` (it alone has it), or the names of the facts that may differ.
        type: what the path must be, where it is; empty for anything.
        dangling: only links that lead nowhere in the ordinary way's root.
        lines: what every line that differs of a text must match, or every fact that differs; empty if none is looked at.
    """

    name: str
    reason: str
    paths: tuple[str, ...]
    may: frozenset[str]
    type: str = ""
    dangling: bool = False
    lines: str = ""

    def explains(self, difference: FileDifference, differing: Iterable[str] = (), *, dangling: bool = False) -> bool:
        """Whether a difference is one of these.

        Args:
            differing: the lines that one side of it has alone; or the facts.
            dangling: whether it is of a link that leads nowhere in the ordinary way's root.
        """
        if not kinds(difference) <= self.may or not _compiled(self.paths).fullmatch(difference.path):
            return False
        if self.type and {difference.old.get("type", self.type), difference.new.get("type", self.type)} != {self.type}:
            return False
        if self.dangling and not dangling:
            return False
        told = tuple(differing)
        return not self.lines or (bool(told) and all(re.fullmatch(self.lines, line) for line in told))


def kinds(difference: FileDifference) -> set[str]:
    """``missing``, ``extra``, or the facts that differ."""
    if not difference.new:
        return {MISSING}
    if not difference.old:
        return {EXTRA}
    return difference.old.keys() | difference.new.keys()


@functools.cache
def shipped() -> tuple[Exception_, ...]:
    """The list that ships."""
    return read(resources.files("builder.compare").joinpath("exceptions.yaml").read_text())


def read(text: str) -> tuple[Exception_, ...]:
    """A list from its text."""
    return tuple(
        Exception_(
            row["name"],
            " ".join(row["reason"].split()),
            tuple(row["paths"]),
            frozenset(row["may"]),
            row.get("type", ""),
            row.get("dangling", False),
            row.get("lines", ""),
        )
        for row in yaml.safe_load(text)
    )


@functools.cache
def _compiled(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(_expression(pattern) for pattern in patterns))


def _expression(pattern: str) -> str:
    parts = re.split(r"(\*\*|\*)", pattern)
    return "".join({"**": ".*", "*": "[^/]*"}.get(part) or re.escape(part) for part in parts)


def table(rules: Iterable[Exception_]) -> str:
    """A list as the document shows it."""
    lines = ["| what | paths | may be | reason |", "|---|---|---|---|"]
    for rule in rules:
        paths = " ".join(f"`{path}`" for path in rule.paths)
        may = ", ".join(sorted(rule.may)) + (f" ({rule.type})" if rule.type else "")
        lines.append(f"| {rule.name} | {paths} | {may} | {rule.reason} |")
    return "".join(f"{line}\n" for line in lines)
