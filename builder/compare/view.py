"""A tree → what is compared of it: facts of every path, and what dpkg, debconf and the lists of users say, record by record.

Owners are compared by name, since the ordinary way gives numbers as they come; a lock's numbers are facts of the users
and groups themselves. Files that are lists of records, in whatever order, are compared by their records: one differing
record is one difference, named ``user:nova`` or ``alternative:editor``. Times are not compared: layers have one.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping

from builder.formats import deb
from builder.formats.tree import Item, Tree

Facts = dict[str, str]
View = dict[str, Facts]
"""Facts by path, and by the names of records."""

ADMIN = "var/lib/dpkg"
DEBCONF = "var/cache/debconf"
TRIGGERS = f"{ADMIN}/triggers"
ALTERNATIVES = f"{ADMIN}/alternatives"
_LISTS = frozenset(
    {
        "etc/passwd", "etc/group", "etc/shadow", "etc/gshadow",
        f"{ADMIN}/status", f"{ADMIN}/statoverride", f"{ADMIN}/diversions",
        f"{DEBCONF}/config.dat", f"{DEBCONF}/templates.dat", f"{DEBCONF}/passwords.dat",
    }
)  # fmt: skip
_TRANSLATED = re.compile(r"[A-Za-z_]+-(?!c$).*", re.IGNORECASE)


def wanted(path: str) -> bool:
    """Whether a file is compared by its records: its bytes are to be kept."""
    return path in _LISTS or path.startswith((f"{TRIGGERS}/", f"{ALTERNATIVES}/"))


def of(tree: Tree, *, translations: bool = True) -> View:
    """What is compared of a tree.

    Args:
        translations: whether those of debconf's templates count.
    """
    texts = {path: _text(tree, path) for path, item in tree.items() if item.data is not None}
    users, groups = numbers(tree)
    names: dict[tuple[int, str], list[str]] = defaultdict(list)
    for path, item in tree.items():
        if item.entry.type == "file":
            names[item.file].append(path)
    found = {path: _facts(item, names[item.file], users, groups) for path, item in tree.items()}
    for record, facts in _records(texts, users, groups, translations=translations):
        found[record] = facts
    return found


def numbers(tree: Tree) -> tuple[dict[int, str], dict[int, str]]:
    """The names of users and of groups by their numbers."""
    return _names(_text(tree, "etc/passwd")), _names(_text(tree, "etc/group"))


def _text(tree: Tree, path: str) -> str:
    item = tree.get(path)
    return item.data.decode(errors="surrogateescape") if item and item.data else ""


def _facts(item: Item, names: list[str], users: Mapping[int, str], groups: Mapping[int, str]) -> Facts:
    entry = item.entry
    facts = {
        "type": entry.type,
        "owner": f"{users.get(entry.uid, f'#{entry.uid}')}:{groups.get(entry.gid, f'#{entry.gid}')}",
    }
    if entry.type != "link":
        # A link's own mode means nothing.
        facts["mode"] = f"{entry.mode:04o}"
    if entry.type == "file" and item.data is None:
        facts |= {"size": str(entry.size), "content": item.content}
    if len(names) > 1:
        facts["names"] = " ".join(f"/{name}" for name in sorted(names))
    if entry.target:
        facts["target"] = entry.target
    if entry.xattrs:
        facts["xattrs"] = " ".join(f"{name}={value.hex()}" for name, value in entry.xattrs)
    return facts


def _names(text: str) -> dict[int, str]:
    """Names by number, of passwd or group: the first one, as getpwuid(3) does it."""
    found: dict[int, str] = {}
    for line in text.splitlines():
        parts = line.split(":")
        if len(parts) > 2 and parts[2].isdigit():
            found.setdefault(int(parts[2]), parts[0])
    return found


def _records(
    texts: Mapping[str, str], users: Mapping[int, str], groups: Mapping[int, str], *, translations: bool
) -> Iterator[tuple[str, Facts]]:
    yield from _accounts(texts, groups)
    for stanza in _stanzas(texts.get(f"{ADMIN}/status", "")):
        yield f"package:{stanza['Package']}:{stanza.get('Architecture', '')}", _status(stanza)
    for line in texts.get(f"{ADMIN}/statoverride", "").splitlines():
        owner, group, mode, path = line.split(" ", 3)
        yield f"statoverride:{path}", {"owner": f"{_named(owner, users)}:{_named(group, groups)}", "mode": mode}
    lines = texts.get(f"{ADMIN}/diversions", "").splitlines()
    for path, target, package in zip(lines[::3], lines[1::3], lines[2::3], strict=False):
        yield f"diversion:{path}", {"target": target, "package": package}
    for path, text in texts.items():
        if path.startswith(f"{ALTERNATIVES}/"):
            yield f"alternative:{path.removeprefix(f'{ALTERNATIVES}/')}", _alternative(text)
        elif path.startswith(f"{TRIGGERS}/"):
            name = path.removeprefix(f"{TRIGGERS}/")
            for line in text.splitlines():
                yield f"trigger:{name}:{line}", {"line": line}
    for name in ("config", "templates", "passwords"):
        for stanza in _stanzas(texts.get(f"{DEBCONF}/{name}.dat", "")):
            if not translations:
                stanza = {key: value for key, value in stanza.items() if not _TRANSLATED.fullmatch(key)}
            yield f"debconf:{name}:{stanza.get('Name', '')}", _question(stanza)


def _accounts(texts: Mapping[str, str], groups: Mapping[int, str]) -> Iterator[tuple[str, Facts]]:
    shadow = _by_name(texts.get("etc/shadow", ""))
    for name, parts in _by_name(texts.get("etc/passwd", "")).items():
        if len(parts) != 7:
            continue
        gid = int(parts[3]) if parts[3].isdigit() else -1
        facts = {"number": parts[2], "group": groups.get(gid, f"#{parts[3]}"), "comment": parts[4]}
        facts |= {"home": parts[5], "shell": parts[6], "password": parts[1]}
        hidden = shadow.pop(name, None)
        if hidden:
            # The day of the last change is no difference between two systems.
            facts |= {"shadow": ":".join((hidden[1], "day" if hidden[2] else "", *hidden[3:]))}
        yield f"user:{name}", facts
    for name in shadow:
        yield f"user:{name}", {"shadow": "a line without a user"}
    gshadow = _by_name(texts.get("etc/gshadow", ""))
    for name, parts in _by_name(texts.get("etc/group", "")).items():
        facts = {"number": parts[2], "members": _sorted(parts[3], ","), "password": parts[1]}
        hidden = gshadow.pop(name, None)
        if hidden:
            facts["gshadow"] = ":".join((*hidden[1:3], _sorted(hidden[3], ",")))
        yield f"group:{name}", facts
    for name in gshadow:
        yield f"group:{name}", {"gshadow": "a line without a group"}


def _by_name(text: str) -> dict[str, list[str]]:
    return {parts[0]: parts for line in text.splitlines() if len(parts := line.split(":")) > 3}


def _named(text: str, names: Mapping[int, str]) -> str:
    number = text.removeprefix("#")
    return names.get(int(number), text) if text.startswith("#") and number.isdigit() else text


def _sorted(text: str, separator: str) -> str:
    return separator.join(sorted(word for word in text.split(separator) if word))


def _stanzas(text: str) -> Iterator[Facts]:
    for block in re.split(r"\n(?:[ \t]*\n)+", text):
        if block.strip():
            yield deb.fields(block)


def _status(stanza: Facts) -> Facts:
    facts = dict(stanza)
    conffiles = facts.get("Conffiles")
    if conffiles:
        facts["Conffiles"] = "\n".join(sorted(conffiles.splitlines()))
    return facts


def _question(stanza: Facts) -> Facts:
    facts = dict(stanza)
    for name in ("Owners", "Flags"):
        if name in facts:
            facts[name] = ", ".join(sorted(word.strip() for word in facts[name].split(",")))
    if "Variables" in facts:
        facts["Variables"] = "\n".join(sorted(facts["Variables"].splitlines()))
    return facts


def _alternative(text: str) -> Facts:
    """dpkg's record of an alternative (update-alternatives(1), "Administrative files"): slaves and choices in any order."""
    head, _, rest = text.partition("\n\n")
    lines = head.splitlines()
    slaves = dict(zip(lines[2::2], lines[3::2], strict=False))
    size = len(slaves) + 2
    body = rest.split("\n")
    choices = [body[start : start + size] for start in range(0, len(body) - size + 1, size)]
    facts = {"status": lines[0] if lines else "", "link": lines[1] if len(lines) > 1 else ""}
    facts |= {f"slave {name}": link for name, link in sorted(slaves.items())}
    for choice in choices:
        if choice[0]:
            facts[f"choice {choice[0]}"] = " ".join(
                (choice[1], *(f"{name}={path}" for name, path in sorted(zip(slaves, choice[2:], strict=False)) if path))
            )
    return facts


def fingerprint(data: bytes) -> Facts:
    """The facts that bytes give a file."""
    return {"size": str(len(data)), "content": hashlib.sha256(data).hexdigest()}
