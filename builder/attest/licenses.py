"""A package's copyright file → an SPDX license expression, as far as it says so in a form that machines read.

Debian's form is DEP-5 (https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/): its short names are near
SPDX's. A name that means nothing in SPDX becomes a ``LicenseRef-`` with the text that the file gives.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_EXCEPTION = re.compile(r"(.+?)[ -]with[ -](.+?)(?:[ -]exception)?", re.IGNORECASE)
_FAMILY = re.compile(r"(A?GPL|LGPL|GFDL|GFDL-NIV)-?v?(\d+(?:\.\d+)?)?(\+)?", re.IGNORECASE)
_NO_NAME = re.compile(r"later|newer|above|below|\.*|other|see|none", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Reference:
    """A license that SPDX has no name for.

    Attributes:
        id: ``LicenseRef-…``; another text has another one.
        name: as the package calls it.
        text: as the package gives it; may be empty.
    """

    id: str
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Licenses:
    """The licenses of a package.

    Attributes:
        expression: of all its files together (SPDX 2.3, annex D); empty if nobody says it for machines.
        references: what the expression's ``LicenseRef-`` mean, sorted.
        place: the file that says so.
    """

    expression: str
    references: tuple[Reference, ...] = ()
    place: str = ""


UNKNOWN = Licenses("")


def read(text: str) -> Licenses:
    """The licenses that a copyright file names for any of its package's files."""
    from debian.copyright import Copyright, MachineReadableFormatError, NotMachineReadableError

    logging.getLogger("debian.copyright").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = Copyright(text.splitlines(), strict=False)
            said: list[Any] = [part.license for part in found.all_files_paragraphs()]
            alone: list[Any] = [part.license for part in found.all_license_paragraphs()]
    except (NotMachineReadableError, MachineReadableFormatError, ValueError, KeyError, TypeError):
        # What people wrote for people.
        return UNKNOWN
    named = {license_.synopsis.strip(): license_.text for license_ in said if license_ and license_.synopsis.strip()}
    return combined(named, {one.synopsis.strip(): one.text for one in alone if one})


def combined(named: Mapping[str, str], texts: Mapping[str, str]) -> Licenses:
    """All of some licenses.

    Args:
        named: what is said of files (``GPL-2+ or Artistic``), and the text that is given there.
        texts: those given elsewhere, by name.
    """
    parts: set[str] = set()
    references: dict[str, Reference] = {}
    for synopsis, text in named.items():
        found = _expression(synopsis, {**texts, synopsis: text or texts.get(synopsis, "")})
        references |= {reference.id: reference for reference in found.references}
        parts |= set(_all_of(found.expression))
    several = len(parts) > 1
    expression = " AND ".join(f"({part})" if several and " OR " in part else part for part in sorted(parts))
    return Licenses(expression, tuple(references[id_] for id_ in sorted(references)))


def _all_of(expression: str) -> list[str]:
    """What an expression demands all of: ``(A OR B) AND C`` is two parts."""
    if "(" not in expression:
        return [expression] if " OR " in expression else expression.split(" AND ")
    from license_expression import Licensing

    licensing = Licensing()
    parsed = licensing.parse(expression).flatten()
    return [str(part) for part in parsed.args] if isinstance(parsed, licensing.AND) else [str(parsed)]


def _expression(synopsis: str, texts: Mapping[str, str]) -> Licenses:
    """One synopsis: ``and`` binds more than ``or``, and a comma less than both (DEP-5, "License specification")."""
    words = " ".join(synopsis.split())
    whole = _atom(words, texts)
    if not whole.references:
        return whole
    clauses = re.split(r",\s+(and|or)\s+", words, flags=re.IGNORECASE)
    done = [_joined(re.split(r"\s+or\s+", clause, flags=re.IGNORECASE), texts) for clause in clauses[::2]]
    if any(part is None for part in done):
        return whole
    result = done[0]
    for operator, part in zip(clauses[1::2], done[1:], strict=True):
        assert result
        assert part
        result = _merged((result, part), operator.upper())
    return result or whole


def _joined(either: Iterable[str], texts: Mapping[str, str]) -> Licenses | None:
    choices = []
    for choice in either:
        atoms = re.split(r"\s+and\s+", choice, flags=re.IGNORECASE)
        if not all(_is_name(atom) for atom in atoms):
            return None
        choices.append(_merged([_atom(atom, texts) for atom in atoms], "AND"))
    return _merged(choices, "OR")


def _merged(parts: Iterable[Licenses], operator: str) -> Licenses:
    found = tuple(parts)
    other = " OR " if operator == "AND" else " AND "
    words = [f"({one.expression})" if len(found) > 1 and other in one.expression else one.expression for one in found]
    return Licenses(
        f" {operator} ".join(dict.fromkeys(words)), tuple(reference for one in found for reference in one.references)
    )


def _is_name(atom: str) -> bool:
    return bool(atom) and not _NO_NAME.fullmatch(atom) and (" " not in atom or bool(_EXCEPTION.fullmatch(atom)))


def _atom(name: str, texts: Mapping[str, str]) -> Licenses:
    known = identifier(name)
    if known:
        return Licenses(known)
    text = next((texts[one] for one in texts if one.lower() == name.lower() and texts[one]), "")
    slug = re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-.")[:60] or "unnamed"
    mark = hashlib.sha256(f"{name}\n{text}".encode()).hexdigest()[:8]
    id_ = f"LicenseRef-{slug}-{mark}"
    return Licenses(id_, (Reference(id_, name, text),))


def identifier(name: str) -> str:
    """What SPDX calls a license that Debian calls so; empty if it has no name for it."""
    licenses, _ = _known()
    plain = name.strip().lower()
    told = _table()["licenses"].get(plain)
    if told:
        return told
    if plain in licenses:
        return licenses[plain]
    with_ = _EXCEPTION.fullmatch(name.strip())
    if with_:
        base = identifier(with_[1])
        exception = _exception(with_[2], base)
        return f"{base} WITH {exception}" if base and exception else ""
    return _family(name.strip(), licenses)


def _exception(name: str, base: str) -> str:
    said = name.lower().replace(" ", "-")
    major = re.search(r"[0-9]", base)
    table, (_, known) = _table()["exceptions"], _known()
    found = table.get(f"{said} {major[0] if major else ''}") or table.get(said)
    return found or known.get(said) or known.get(f"{said}-exception") or ""


def _family(name: str, licenses: Mapping[str, str]) -> str:
    """A GNU license: ``GPL-2+`` is ``GPL-2.0-or-later``; without a number, as it says itself, any that there is."""
    found = _FAMILY.fullmatch(name)
    if not found:
        return ""
    family, number, later = found[1].upper(), found[2], found[3]
    if number is None:
        number, later = {"GPL": "1.0", "LGPL": "2.0", "AGPL": "3.0"}.get(family, "1.1"), "+"
    number = number if "." in number else f"{number}.0"
    kind = "-no-invariants" if family.endswith("-NIV") else ""
    id_ = f"{family.removesuffix('-NIV')}-{number}{kind}-{'or-later' if later else 'only'}"
    return licenses.get(id_.lower(), "")


@functools.cache
def _table() -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = yaml.safe_load(Path(__file__).with_name("debian_licenses.yaml").read_text())
    return found


@functools.cache
def _known() -> tuple[dict[str, str], dict[str, str]]:
    """What SPDX calls licenses and exceptions, by the same in small letters."""
    from license_expression import get_spdx_licensing

    symbols = get_spdx_licensing().known_symbols.values()
    plain = {s.key.lower(): s.key for s in symbols if not s.is_exception and not s.key.startswith("LicenseRef-")}
    return plain, {s.key.lower(): s.key for s in symbols if s.is_exception and not s.key.startswith("LicenseRef-")}


def references(all_of: Iterable[Licenses]) -> Iterator[Reference]:
    """What the ``LicenseRef-`` of several packages mean, each once, sorted."""
    found = {reference.id: reference for one in all_of for reference in one.references}
    return (found[id_] for id_ in sorted(found))
