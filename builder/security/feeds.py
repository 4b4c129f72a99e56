"""The documents of security sources → advisories. A record that is broken is left out and told, never the whole feed.

- Debian's security tracker: ``https://security-tracker.debian.org/tracker/data/json``, a mapping of source packages to
  mappings of flaws (https://security-team.debian.org/security_tracker.html).
- OpenVEX (``builder.security.vex``): what a vendor or an upstream says of flaws in its products.
- OSV (https://ossf.github.io/osv-schema/): one record, a list of records, or a zip archive of them, as
  ``https://osv-vulnerabilities.storage.googleapis.com/Debian/all.zip`` is one.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from builder.errors import FeedError
from builder.model.advisory import PYPI, SAME_SEVERITIES, Advisory
from builder.model.decision import Statement
from builder.security import vex

TRACKER = "https://security-tracker.debian.org/tracker/data/json"
CODENAMES = {"11": "bullseye", "12": "bookworm", "13": "trixie", "14": "forky"}
"""OSV calls Debian's releases by number."""
_ZIP = b"PK\x03\x04"
_MAX_RECORD = 16 * 1024 * 1024


class Advisories(Protocol):
    """All that a feed says, wherever it is kept."""

    def __iter__(self) -> Iterator[Advisory]: ...

    def about(self, sources: frozenset[str]) -> Iterable[Advisory]:
        """What it says of some source packages."""
        ...


class Listed(tuple[Advisory, ...]):
    """What was just read."""

    __slots__ = ()

    def about(self, sources: frozenset[str]) -> Iterable[Advisory]:
        """What is said of some source packages."""
        return (one for one in self if one.source in sources)


@dataclass(frozen=True, slots=True)
class Feed:
    """What a document says.

    Attributes:
        suites: what it speaks of.
        broken: names of records that could not be read, and why.
        statements: what it says of flaws in products.
    """

    name: str
    advisories: Advisories
    suites: frozenset[str]
    broken: tuple[str, ...]
    statements: tuple[Statement, ...] = ()


def parse(name: str, data: bytes) -> Feed:
    """Read a document, whichever of the forms it has.

    Args:
        name: of the feed, for messages and advisories.

    Raises:
        FeedError: it has none of them.
    """
    found: list[Advisory] = []
    broken: list[str] = []
    statements: list[Statement] = []
    for one in _documents(name, data):
        if vex.is_vex(one):
            said, left_out = vex.parse(name, one)
            statements += said
            broken += left_out
        elif isinstance(one, str):
            broken.append(one)
        elif _is_osv(one):
            _read_osv(name, one, found, broken)
        else:
            _read_tracker(name, one, found, broken)
    suites = frozenset(advisory.suite for advisory in found)
    return Feed(name, Listed(sorted(found)), suites, tuple(broken), tuple(statements))


def _documents(name: str, data: bytes) -> Iterator[Any]:
    """Each record of OSV, or the one document of the tracker; a text for a member that cannot be read."""
    if not data.startswith(_ZIP):
        read = _json(data)
        if isinstance(read, list):
            yield from read
        elif isinstance(read, dict):
            yield read
        else:
            raise FeedError(
                f"{name}: this is no feed of advisories", "Debian's tracker, OSV and OpenVEX, as JSON or zip, are read"
            )
        return
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for info in archive.infolist():
                if not info.filename.endswith(".json"):
                    continue
                record = _json(archive.read(info)) if info.file_size <= _MAX_RECORD else None
                yield record if isinstance(record, dict) else f"{info.filename}: not a record of OSV"
    except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
        raise FeedError(f"{name}: a damaged archive: {error}", "fetch it again") from None


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _is_osv(record: Any) -> bool:
    return isinstance(record, dict) and isinstance(record.get("id"), str) and "affected" in record


def _read_osv(name: str, record: Mapping[str, Any], found: list[Advisory], broken: list[str]) -> None:
    if record.get("withdrawn"):
        return
    try:
        found += list(_osv(name, record))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        broken.append(f"{record['id']}: {type(error).__name__} {error}")


def _osv(name: str, record: Mapping[str, Any]) -> Iterator[Advisory]:
    aliases = tuple(sorted({*map(str, record.get("aliases") or ()), *map(str, record.get("upstream") or ())}))
    for affected in record["affected"]:
        package = affected["package"]
        ecosystem, _, release = str(package["ecosystem"]).partition(":")
        suite = PYPI if ecosystem == PYPI else CODENAMES.get(release) if ecosystem == "Debian" else None
        if suite is None:
            continue
        told = {**(record.get("database_specific") or {}), **(affected.get("ecosystem_specific") or {})}
        severity = _severity(told.get("urgency") or told.get("severity"))
        for introduced, fixed in _intervals(affected):
            yield Advisory(
                str(record["id"]), str(package["name"]), suite, introduced, fixed,
                severity, "", aliases,
                str(record.get("published") or ""), _line(record.get("summary") or record.get("details") or ""), name,
            )  # fmt: skip


def _intervals(affected: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for range_ in affected.get("ranges") or ():
        if range_["type"] != "ECOSYSTEM":
            continue
        begun = None
        for event in range_["events"]:
            if "introduced" in event:
                begun = str(event["introduced"])
            elif "fixed" in event and begun is not None:
                yield begun, str(event["fixed"])
                begun = None
        if begun is not None:
            yield begun, ""


def _read_tracker(name: str, document: Any, found: list[Advisory], broken: list[str]) -> None:
    if not isinstance(document, dict):
        broken.append(f"{name}: {type(document).__name__} in place of a mapping")
        return
    for source, flaws in document.items():
        if not isinstance(flaws, dict):
            broken.append(f"{source}: {type(flaws).__name__} in place of its flaws")
            continue
        for flaw, said in flaws.items():
            try:
                found += list(_tracked(name, source, flaw, said))
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                broken.append(f"{source} {flaw}: {type(error).__name__} {error}")


def _tracked(name: str, source: str, flaw: str, said: Mapping[str, Any]) -> Iterator[Advisory]:
    for suite, told in said["releases"].items():
        status = told["status"]
        fixed = str(told.get("fixed_version") or "")
        if status not in ("open", "resolved", "undetermined"):
            raise ValueError(f"its status in {suite} is {status!r}")
        if status == "undetermined" or fixed == "0":
            # Nobody knows yet, or the release never had it.
            continue
        reason = str(told.get("nodsa_reason") or "no-dsa") if "nodsa" in told else ""
        waiting = f"{reason}: {told['nodsa']}" if reason else ""
        severity = _severity(told.get("urgency"))
        yield Advisory(
            flaw, source, suite, "0", fixed if status == "resolved" else "",
            "" if severity == "end-of-life" else severity,
            "end-of-life" if severity == "end-of-life" else waiting,
            (), "", _line(said.get("description") or ""), name,
        )  # fmt: skip


def _severity(said: object) -> str:
    """A feed's word for how grave a flaw is; empty if it has none."""
    word = str(said or "").strip("*").lower()
    return "" if word == "not yet assigned" else SAME_SEVERITIES.get(word, word)


def _line(text: object) -> str:
    return " ".join(str(text).split())[:300]
