"""What an environment asks for: its own list and a file in pip's format, as one list with hashes.

Of pip's format (https://pip.pypa.io/en/stable/reference/requirements-file-format/) it takes requirements, comments,
continued lines and ``--hash``. Options and addresses say where packages come from: that is what sources are for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from dsl import model

_COMMENT = re.compile(r"(^|\s)#.*$")
_HASH = re.compile(r"\s--hash[=\s](\S+)")
_SHA256 = re.compile(r"sha256:([0-9a-f]{64})")
_SOURCES = "where packages come from is said by `sources`: {index: …} or {wheels: FOLDER}"


@dataclass(frozen=True, slots=True)
class Wanted:
    """One requirement.

    Attributes:
        name: normalised (PEP 503).
        text: as it was said, without hashes.
        hashes: sha256 of the files that may be taken, sorted; empty for any.
    """

    name: str
    text: str
    hashes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Wrong:
    """What cannot be used of a list or file.

    Attributes:
        line: of a file, from 1; of a list, its place from 0.
    """

    line: int
    message: str
    hint: str = ""


def of(environment: model.Environment, file: Path | None) -> tuple[Wanted, ...]:
    """All that an environment asks for; what is wrong, checks have told.

    Args:
        file: its file of requirements, found.

    Raises:
        OSError: the file cannot be read.
    """
    found = [one for text in environment.wheels if isinstance(one := parsed(0, text), Wanted)]
    if file is not None:
        found += [one for one in lines(file.read_text(errors="replace")) if isinstance(one, Wanted)]
    return tuple(dict.fromkeys(found))


def lines(text: str) -> Iterator[Wanted | Wrong]:
    """What a file of requirements says, line by line."""
    whole, begun = "", 0
    for number, line in enumerate([*text.removeprefix("\ufeff").splitlines(), ""], start=1):
        begun = begun if whole else number
        continued = line.endswith("\\") and not line.lstrip().startswith("#")
        whole += _COMMENT.sub("", line[:-1] + " " if continued else line)
        if continued:
            continue
        if whole.strip():
            yield parsed(begun, whole.strip())
        whole = ""


def parsed(line: int, text: str) -> Wanted | Wrong:
    """One requirement, or what is wrong with it."""
    if text.startswith("-"):
        return Wrong(line, f"{text.split()[0]!r} is none of the options that are taken: --hash alone is", _SOURCES)
    hashes = _HASH.findall(text)
    said = _HASH.sub("", text).strip()
    if " --" in said:
        option = said[said.index(" --") + 1 :].split()[0]
        return Wrong(line, f"{option!r} is none of the options that are taken: --hash alone is")
    try:
        found = Requirement(said)
    except InvalidRequirement:
        return Wrong(
            line,
            f"{said!r} is no requirement",
            "such as: flask, flask ~= 3.1, flask[async] >= 3; python_version < '3.14'",
        )
    if found.url:
        return Wrong(line, f"{found.name} is asked for by its address", _SOURCES)
    known = [match[1] for one in hashes if (match := _SHA256.fullmatch(one))]
    if hashes and not known:
        return Wrong(
            line, f"{found.name} has no sha256 among its hashes", "`uv pip compile --generate-hashes` writes them"
        )
    return Wanted(canonicalize_name(found.name), said, tuple(sorted(known)))
