"""What is wrong, at its places in files, as SARIF 2.1.0, which code hosts show beside a change."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from builder.model.digest import Digest
from dsl.errors import Place

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
Level = Literal["error", "warning", "note"]
_ROOT = "%SRCROOT%"


@dataclass(frozen=True, slots=True)
class Rule:
    """A kind of thing that may be wrong.

    Attributes:
        id: stable: ``unknown-key``, ``CVE-2026-1234``.
        title: what it is, in a line; empty if the id says it.
        help: an address with more; empty if there is none.
        severity: of a flaw in security, from 0 to 10 as CVSS has it; 0 for what is none.
    """

    id: str
    title: str = ""
    help: str = ""
    severity: float = 0

    def data(self) -> dict[str, Any]:
        """As a ``reportingDescriptor`` (3.49)."""
        security = {"tags": ["security"], "security-severity": f"{self.severity:.1f}"}
        return {
            "id": self.id,
            **({"shortDescription": {"text": self.title}} if self.title else {}),
            **({"helpUri": self.help} if self.help else {}),
            **({"properties": security} if self.severity else {}),
        }


@dataclass(frozen=True, slots=True)
class Result:
    """One thing that is wrong.

    Attributes:
        subject: what it is about, beside rule and file: what has the same is the same thing in the next run, whatever line it
            has moved to.
        accepted: why somebody has decided that it does not matter; empty if nobody has.
    """

    rule: Rule
    level: Level
    message: str
    place: Place
    subject: str
    accepted: str = ""

    def data(self, number: int, root: Path) -> dict[str, Any]:
        """As a ``result`` (3.27).

        Args:
            number: of its rule.
        """
        where = _artifact(self.place.file, root)
        mark = Digest.of("\n".join((self.rule.id, where["uri"], self.subject)).encode()).removeprefix("sha256:")
        region = {"startLine": self.place.line, "startColumn": self.place.column}
        accepted = [{"kind": "external", "justification": self.accepted}] if self.accepted else []
        return {
            "ruleId": self.rule.id,
            "ruleIndex": number,
            "level": self.level,
            "message": {"text": self.message},
            "locations": [{"physicalLocation": {"artifactLocation": where, "region": region}}],
            "partialFingerprints": {"imgbuild/v1": mark},
            **({"suppressions": accepted} if accepted else {}),
        }


def log(results: Iterable[Result], version: str, root: Path) -> bytes:
    """A log of one run; the same results give the same bytes.

    Args:
        version: of this program.
        root: the top of the repository: files in it are named from there.
    """
    found = tuple(results)
    rules = {one.rule.id: one.rule for one in found}
    numbers = {name: number for number, name in enumerate(rules)}
    driver = {"name": "imgbuild", "version": version, "rules": [rule.data() for rule in rules.values()]}
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {_ROOT: {"description": {"text": "the top of the repository"}}},
        "results": [one.data(numbers[one.rule.id], root) for one in found],
    }
    told = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
    return (json.dumps(told, indent=1, ensure_ascii=False) + "\n").encode("utf-8", "replace")


def _artifact(file: Path, root: Path) -> dict[str, str]:
    """Where a file is (3.4), as an address: from the top of the repository, if it lies in there."""
    from urllib.parse import quote

    path = Path(os.path.abspath(file))
    if path.is_relative_to(root):
        return {"uri": quote(bytes(path.relative_to(root))), "uriBaseId": _ROOT}
    return {"uri": path.as_uri()}
