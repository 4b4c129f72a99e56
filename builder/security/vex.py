"""OpenVEX: what somebody says of a flaw in some products, read and written (https://github.com/openvex/spec, 0.2.0).

OpenVEX knows of no end of a statement, and of no author of a single one; its schema allows no keys of others. So both
stand as a sentence in ``status_notes``, and are read from there: ``decided by NAME <ADDRESS>; valid until 2026-12-31``.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from packageurl import PackageURL

from builder.model.advisory import ANNOUNCEMENT, Advisory, State
from builder.model.decision import JUSTIFICATIONS, Product, Statement

CONTEXT = "https://openvex.dev/ns"
_NO_LIST = "it has no list of statements"
NOT_AFFECTED, FIXED = "not_affected", "fixed"
_STATUSES = (NOT_AFFECTED, "affected", FIXED, "under_investigation")
_NOTES = re.compile(r"(?:decided by (?P<author>[^;]+))?(?:; )?(?:valid until (?P<until>\d{4}-\d{2}-\d{2}))?")


@dataclass(frozen=True, slots=True)
class Subject:
    """What a finding is about, as far as a statement may name it.

    Attributes:
        kind: ``deb`` or ``pypi``.
        source, version: the source package, or the project.
        packages: names, versions and architectures of the packages of it that are there.
        distros: all that the distribution is called in a package URL: ``debian-13``, ``trixie``.
        images: the images that have it, by name, or by reference where several releases of one are meant
            (``app:1-r2``): their tags.
    """

    kind: str
    source: str
    version: str
    packages: frozenset[tuple[str, str, str]]
    distros: frozenset[str]
    images: Mapping[str, str]


def is_vex(document: Any) -> bool:
    """Whether plain data is such a document."""
    return isinstance(document, dict) and str(document.get("@context", "")).startswith(CONTEXT)


def parse(name: str, document: Mapping[str, Any]) -> tuple[tuple[Statement, ...], tuple[str, ...]]:
    """The statements of a document, and what is wrong with those that are left out."""
    if not isinstance(document.get("statements"), list):
        return (), (f"{name}: {_NO_LIST}",)
    found, broken = read(document)
    return found, tuple(f"statement {number}: {said}" for number, said in broken)


def read(document: Mapping[str, Any]) -> tuple[tuple[Statement, ...], tuple[tuple[int, str], ...]]:
    """The statements of a document, and what is wrong with those that are left out, by their numbers."""
    found: list[Statement] = []
    broken: list[tuple[int, str]] = []
    rows = document.get("statements")
    if not isinstance(rows, list):
        return (), ((0, _NO_LIST),)
    for number, row in enumerate(rows, start=1):
        try:
            found.append(_statement(document, row))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            broken.append((number, _said(error)))
    return tuple(found), tuple(broken)


def _said(error: Exception) -> str:
    return f"it has no {error}" if isinstance(error, KeyError) else str(error)


def _statement(document: Mapping[str, Any], row: Mapping[str, Any]) -> Statement:
    flaw = row["vulnerability"]
    # Before 0.2.0 it was a text.
    names = (flaw,) if isinstance(flaw, str) else (flaw["name"], *flaw.get("aliases", ()))
    if not all(isinstance(one, str) and one for one in names):
        raise ValueError(f"its flaw is named {names!r}")
    status = row["status"]
    if status not in _STATUSES:
        raise ValueError(f"its status is {status!r}")
    justification, because = str(row.get("justification") or ""), str(row.get("impact_statement") or "")
    if justification and justification not in JUSTIFICATIONS:
        raise ValueError(f"its justification is {justification!r}")
    if status == NOT_AFFECTED and not (justification or because):
        raise ValueError("it says neither `justification` nor `impact_statement`")
    products = tuple(_product(one, row.get("subcomponents") or ()) for one in row.get("products") or ())
    if not products:
        raise ValueError("it names no product")
    notes = _NOTES.fullmatch(str(row.get("status_notes") or ""))
    until = (notes["until"] if notes else None) or ""
    if until:
        datetime.strptime(until, "%Y-%m-%d")
    because = because or str(row.get("action_statement") or ("" if notes else row.get("status_notes")) or "")
    author = (notes["author"] if notes else None) or str(document.get("author") or "")
    return Statement(
        tuple(dict.fromkeys(names)), tuple(sorted(products)), status, justification, " ".join(because.split()),
        author or "nobody named", _time(row.get("timestamp") or document["timestamp"]), until,
    )  # fmt: skip


def _product(told: Any, within: Iterable[Any]) -> Product:
    more = () if isinstance(told, str) else told.get("subcomponents") or ()
    return Product(_purls(told), tuple(sorted(purl for one in (*within, *more) for purl in _purls(one))))


def _purls(told: Any) -> tuple[str, ...]:
    if isinstance(told, str):
        told = {"@id": told}
    names = (told.get("@id"), (told.get("identifiers") or {}).get("purl"))
    if not any(names) and not told.get("identifiers") and not told.get("hashes"):
        raise ValueError("a product has no name")
    return tuple(sorted({name for name in names if isinstance(name, str) and name.startswith("pkg:")}))


def _time(text: Any) -> str:
    found = datetime.fromisoformat(re.sub(r"(\.[0-9]{6})[0-9]+", r"\1", str(text)).replace("Z", "+00:00"))
    return found.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if found.tzinfo else f"{text}Z"


def covered(statement: Statement, subject: Subject) -> frozenset[str]:
    """The images in which a statement speaks of what a finding is about."""
    found: set[str] = set()
    for product in statement.products:
        for purl in map(_parsed, product.purls):
            if purl is None:
                continue
            if purl.type == "oci":
                if product.within and not _is_all(product.within, subject):
                    continue
                found |= {one for one, tag in subject.images.items() if _is_image(purl, one.partition(":")[0], tag)}
    # Packages that stand alone may take several products to say all of a source.
    alone = tuple(purl for product in statement.products if not product.within for purl in product.purls)
    if _is_all(alone, subject):
        found |= subject.images.keys()
    return frozenset(found)


def _is_image(purl: PackageURL, name: str, tag: str) -> bool:
    qualifiers = _qualifiers(purl)
    # What a registry or a digest stands for is not told by locks: another image may have that name.
    named = not purl.version and "repository_url" not in qualifiers
    return named and purl.name == name and qualifiers.get("tag", tag) == tag


def _is_all(purls: Iterable[str], subject: Subject) -> bool:
    """Whether package URLs name a source as a whole, or every package of it that is there."""
    named = [purl for purl in map(_parsed, purls) if purl is not None and _is_of(purl, subject)]
    if any(_is_source(purl, subject) for purl in named):
        return True
    return bool(subject.packages) and all(any(_is_package(p, *one) for p in named) for one in subject.packages)


def _is_of(purl: PackageURL, subject: Subject) -> bool:
    distro = _qualifiers(purl).get("distro")
    return purl.type == subject.kind and (purl.type != "deb" or purl.namespace == "debian") and (
        distro is None or distro in subject.distros
    )  # fmt: skip


def _is_source(purl: PackageURL, subject: Subject) -> bool:
    # Who says no architecture and a source's name means the source, as OSV does.
    return (
        purl.name == subject.source
        and purl.version in (None, subject.version)
        and _qualifiers(purl).get("arch") in (None, "source")
    )


def _is_package(purl: PackageURL, name: str, version: str, architecture: str) -> bool:
    return (
        purl.name == name and purl.version in (None, version) and _qualifiers(purl).get("arch") in (None, architecture)
    )


def _qualifiers(purl: PackageURL) -> Mapping[str, str]:
    return purl.qualifiers if isinstance(purl.qualifiers, dict) else {}


def _parsed(text: str) -> PackageURL | None:
    try:
        return PackageURL.from_string(text)
    except ValueError:
        return None


def speaks_of(statement: Statement, name: str, aliases: Iterable[str]) -> bool:
    """Whether a statement is about an advisory itself: by its name or, if that is but another name of one flaw, theirs."""
    return name in statement.names or (not ANNOUNCEMENT.match(name) and bool(set(statement.names) & set(aliases)))


def members(name: str, aliases: tuple[str, ...]) -> tuple[str, ...]:
    """The flaws that an announcement speaks of; none if it is about one."""
    return aliases if ANNOUNCEMENT.match(name) else ()


def verdict(advisory: Advisory, state: State, said: Iterable[Statement], day: str) -> tuple[State, str]:
    """How a finding stands by what is said of it in an image, and in which words.

    Args:
        state: how it stands by its version.
        said: statements that speak of the package in this image, and of the advisory or one of its other names.
        day: today.
    """
    statements = sorted(said, key=lambda one: (one.own, one.timestamp))
    mine = [one for one in statements if speaks_of(one, advisory.id, advisory.aliases)]
    last = next((one for one in reversed(mine) if not one.over(day)), None)
    if last:
        return _verdict(last, state)
    parts = [
        next((one for one in reversed(statements) if name in one.names and not one.over(day)), None)
        for name in members(advisory.id, advisory.aliases)
    ]
    if parts and all(one and _verdict(one, state)[0] != state for one in parts):
        return State.DECIDED, "; ".join(dict.fromkeys(one.told for one in parts if one))
    if mine:
        return state, f"what was decided is over: {mine[-1].told}"
    return state, ""


def _verdict(statement: Statement, state: State) -> tuple[State, str]:
    if statement.status == NOT_AFFECTED:
        return State.DECIDED, statement.told
    if statement.status == FIXED:
        return State.FIXED, statement.told
    return state, f"{statement.status.replace('_', ' ')}: {statement.told}"


def package_products(kind: str, source: str, names: Iterable[str]) -> tuple[str, ...]:
    """The package URLs of a source and of its binary packages, which scanners know it by; of a project of PyPI, one."""
    if kind == "pypi":
        return (PackageURL("pypi", None, source).to_string(),)
    whole = PackageURL("deb", "debian", source, None, {"arch": "source"}).to_string()
    return tuple(sorted({whole, *(PackageURL("deb", "debian", name).to_string() for name in names)}))


def image_product(name: str) -> str:
    """The package URL of an image, of whatever version."""
    return PackageURL("oci", None, name).to_string()


def scope(statement: Statement) -> frozenset[str]:
    """The images, sources and projects that a statement names: what it is about, whichever packages a source has."""
    found = (purl for one in statement.products for purl in (*one.purls, *one.within))
    return frozenset(p for p in found if p.startswith(("pkg:oci/", "pkg:pypi/")) or "arch=source" in p)


def named(statement: Statement) -> frozenset[str]:
    """The names of those sources and projects."""
    parsed = (_parsed(purl) for purl in scope(statement))
    return frozenset(str(purl.name) for purl in parsed if purl is not None and purl.type != "oci")


def of_the_same(one: Statement, other: Statement) -> bool:
    """Whether two statements are about the same flaw in the same products."""
    return one.names[0] == other.names[0] and scope(one) == scope(other)


def edited(
    before: Mapping[str, Any] | None,
    stays: Callable[[Statement], bool],
    new: Iterable[Statement],
    author: str,
    time: str,
) -> str:
    """The document with other statements, stable under ``git diff``; empty if none is left, which OpenVEX does not allow.

    Args:
        before: the document as it was.
        stays: whether a statement of it stays, as it is written.
        author: of a new document.
        time: now.
    """
    known = before or {}
    rows = [row for row in known.get("statements", ()) if stays(_statement(known, row))]
    rows += [_row(statement) for statement in new]
    if not rows:
        return ""
    document = {
        "@context": f"{CONTEXT}/v0.2.0",
        "@id": known.get("@id") or f"urn:uuid:{uuid.uuid4()}",
        "author": known.get("author") or author,
        "timestamp": known.get("timestamp") or time,
        **({"last_updated": time} if known else {}),
        "version": known["version"] + 1 if isinstance(known.get("version"), int) else 1,
        "tooling": "imgbuild security ignore",
        "statements": sorted(rows, key=lambda row: json.dumps([row["vulnerability"], row["products"]], sort_keys=True)),
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def of_image(
    document: Mapping[str, Any], image: str, tag: str, purl: str, packages: Container[str], day: str
) -> bytes | None:  # fmt: skip
    """What a document says of one image, as a document of its own; None if that is nothing.

    The same statements always give the same bytes.

    Args:
        purl: of the image, with its digest.
        packages: names of the packages in it, and of their sources.
        day: today: what is over is left out.
    """
    rows = []
    for row in document.get("statements", ()):
        statement = _statement(document, row)
        within = _within(statement, image, tag, packages)
        if within is None or statement.over(day):
            continue
        product: dict[str, Any] = {"@id": purl, "identifiers": {"purl": purl}}
        if within:
            product["subcomponents"] = [{"@id": one} for one in sorted(within)]
        rows.append({**row, "products": [product]})
    if not rows:
        return None
    found = {
        "@context": f"{CONTEXT}/v0.2.0",
        "@id": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(rows, sort_keys=True))}",
        "author": document.get("author") or "",
        "timestamp": document.get("timestamp") or rows[0]["timestamp"],
        **({"last_updated": document["last_updated"]} if "last_updated" in document else {}),
        "version": document["version"] if isinstance(document.get("version"), int) else 1,
        "statements": rows,
    }
    return (json.dumps(found, indent=2, ensure_ascii=False) + "\n").encode()


def _within(statement: Statement, image: str, tag: str, packages: Container[str]) -> frozenset[str] | None:
    """The packages of an image that a statement speaks of; none of them if of all of it; None if of nothing in it."""
    found: set[str] = set()
    whole = False
    for product in statement.products:
        for purl in filter(None, map(_parsed, product.purls)):
            if purl.type == "oci" and _is_image(purl, image, tag):
                found |= {one for one in product.within if (inner := _parsed(one)) and inner.name in packages}
                whole = whole or not product.within
            elif purl.type != "oci" and not product.within and purl.name in packages:
                found.add(purl.to_string())
    return frozenset() if whole else frozenset(found) or None


def _row(statement: Statement) -> dict[str, Any]:
    name, *aliases = statement.names
    end = f"; valid until {statement.until}" if statement.until else ""
    return {
        "vulnerability": {"name": name, **({"aliases": aliases} if aliases else {})},
        "timestamp": statement.timestamp,
        "products": [
            {
                "@id": product.purls[0],
                **({"subcomponents": [{"@id": purl} for purl in product.within]} if product.within else {}),
            }
            for product in statement.products
        ],
        "status": statement.status,
        "status_notes": f"decided by {statement.author}{end}",
        **({"justification": statement.justification} if statement.justification else {}),
        "impact_statement": statement.because,
    }
