"""systemd's files as text → values: units, command lines, environment files, sysusers.d, tmpfiles.d."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_SPECIFIERS = {
    "%": "%", "t": "/run", "S": "/var/lib", "C": "/var/cache", "L": "/var/log", "E": "/etc",
    "T": "/tmp", "V": "/var/tmp", "h": "/root", "u": "root", "U": "0", "g": "root", "G": "0", "i": "", "I": "",
}  # fmt: skip
"""systemd.unit(5), "Specifiers", for a system manager; those of one machine (%H, %m, %b) are left as they are."""
_ESCAPES = {"n": "\n", "t": "\t", "s": " ", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))")


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit file.

    Attributes:
        name: ``memcached.service``.
        entries: (section, key, value) in order.
    """

    name: str
    entries: tuple[tuple[str, str, str], ...]

    def all(self, section: str, key: str) -> tuple[str, ...]:
        """Every value of a key; an empty one takes away those before it."""
        found: list[str] = []
        for where, name, value in self.entries:
            if (where, name) == (section, key):
                found = [*found, value] if value else []
        return tuple(found)

    def last(self, section: str, key: str) -> str:
        """The value that counts for a key that has one; empty if it is not given."""
        return (self.all(section, key) or ("",))[-1]

    @property
    def stem(self) -> str:
        """Its name without the suffix."""
        return self.name.rpartition(".")[0]


def unit(name: str, text: str) -> Unit:
    """A unit from its text (systemd.syntax(7)): comments, and lines that go on after a backslash."""
    entries: list[tuple[str, str, str]] = []
    section, pending = "", ""
    for line in text.splitlines():
        if line.lstrip()[:1] in ("#", ";"):
            continue  # a comment does not end a line that goes on
        joined = pending + line
        if joined.endswith("\\"):
            pending = joined[:-1] + " "
            continue
        pending = ""
        joined = joined.strip()
        if joined.startswith("[") and joined.endswith("]"):
            section = joined[1:-1]
        elif "=" in joined:
            key, _, value = joined.partition("=")
            entries.append((section, key.strip(), value.strip()))
    return Unit(name, tuple(entries))


def specifiers(text: str, unit_name: str) -> str:
    """Put in what ``%`` stands for, as far as it is the same on every machine."""
    stem = unit_name.rpartition(".")[0]
    prefix = stem.partition("@")[0]
    own = {"n": unit_name, "N": stem, "p": prefix, "P": prefix}
    known = {**_SPECIFIERS, **own}
    return re.sub(r"%(.)", lambda found: known.get(found[1], found[0]), text)


def words(text: str) -> tuple[str, ...]:
    """A command line's words (systemd.service(5), "Command lines"): quotes and C escapes.

    A quote that is not closed ends with the line: what is proposed is read by a person.
    """
    found: list[str] = []
    current, quote, begun = "", "", False
    position = 0
    while position < len(text):
        letter = text[position]
        position += 1
        if letter == "\\" and position < len(text):
            follower = text[position]
            position += 1
            current += _ESCAPES.get(follower, follower)
            begun = True
        elif quote:
            if letter == quote:
                quote = ""
            else:
                current += letter
        elif letter in "\"'":
            quote, begun = letter, True
        elif letter.isspace():
            if begun:
                found.append(current)
            current, begun = "", False
        else:
            current += letter
            begun = True
    if begun:
        found.append(current)
    return tuple(found)


def command(text: str, unit_name: str) -> tuple[str, ...]:
    """The words of an ``ExecStart=``, without its prefixes; a name given by ``@`` is dropped."""
    stripped = text.lstrip("-@:+!|")
    named = "@" in text[: len(text) - len(stripped)]
    found = words(specifiers(stripped, unit_name))
    return (found[0], *found[2:]) if named and len(found) > 1 else found


def expand(argv: Iterable[str], environment: Mapping[str, str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Put in environment variables: ``$X`` as a word of its own becomes none, one or more words; ``${X}`` a part of one.

    Returns:
        The words, and the names of variables that have no value; their words are dropped.
    """
    found: list[str] = []
    unknown: list[str] = []
    for word in argv:
        alone = re.fullmatch(r"\$([A-Za-z_][A-Za-z0-9_]*)", word)
        if alone:
            if not environment.get(alone[1]):
                unknown += [alone[1]] if alone[1] not in environment else []
                continue
            found += words(environment[alone[1]])
            continue
        names = [one or other for one, other in _VARIABLE.findall(word.replace("$$", ""))]
        missing = [name for name in names if name not in environment]
        if missing:
            unknown += missing
            continue
        put_in = _VARIABLE.sub(lambda m: environment.get(m[1] or m[2], ""), word.replace("$$", "\0"))
        found.append(put_in.replace("\0", "$"))
    return tuple(found), tuple(dict.fromkeys(unknown))


def assignments(text: str, *, first: bool = False) -> dict[str, str]:
    """The ``NAME=value`` lines of an environment file or a shell script, values without their quotes.

    Values that a shell would have to work out (``$(…)``, backquotes) are left out.

    Args:
        first: whether the first value counts, as with a script's constants, instead of the last.
    """
    found: dict[str, str] = {}
    for line in text.replace("\\\n", " ").splitlines():
        match = re.match(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)$", line)
        if not match or "$(" in match[2] or "`" in match[2]:
            continue
        value = match[2].strip()
        if value[:1] in ("'", '"'):
            value = value[1:].partition(value[0])[0]
        else:
            value = value.split(" #")[0].split(";")[0].strip()
        if not (first and match[1] in found):
            found[match[1]] = value
    return found


def environment(values: Iterable[str]) -> dict[str, str]:
    """The variables of ``Environment=`` lines."""
    return dict(word.split("=", 1) for value in values for word in words(value) if "=" in word)


@dataclass(frozen=True, slots=True)
class SystemUser:
    """A user that a package makes, by sysusers.d or its script.

    Attributes:
        group: its primary group if it is not one of its own name; empty otherwise.
    """

    name: str
    home: str = ""
    shell: str = ""
    summary: str = ""
    group: str = ""


def sysusers(text: str) -> tuple[SystemUser, ...]:
    """The users of a sysusers.d(5) file."""
    found = []
    for line in text.splitlines():
        fields = words(line) if not line.lstrip().startswith("#") else ()
        if len(fields) < 2 or fields[0].rstrip("!") != "u":
            continue
        number, summary, home, shell = (*(("" if field == "-" else field) for field in fields[2:]), "", "", "", "")[:4]
        group = number.partition(":")[2]
        found.append(SystemUser(fields[1], home, shell, summary, group if group and not group.isdigit() else ""))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class OwnedFolder:
    """A folder with its owner and mode, as far as they are told."""

    path: str
    owner: str = ""
    group: str = ""
    mode: str = ""


def tmpfiles(text: str) -> tuple[OwnedFolder, ...]:
    """The folders of a tmpfiles.d(5) file."""
    found = []
    for line in text.splitlines():
        fields = words(line) if not line.lstrip().startswith("#") else ()
        if len(fields) < 2 or fields[0].rstrip("!+-=~^$") not in ("d", "D", "v", "q", "Q") or "%" in fields[1]:
            continue
        mode, owner, group = (*(("" if field == "-" else field) for field in fields[2:5]), "", "", "")[:3]
        path = re.sub(r"^/var/run(?=/)", "/run", fields[1]).rstrip("/")
        found.append(OwnedFolder(path, owner, group, mode.lstrip("~:")))
    return tuple(found)
