"""A proposal → the text of a ``component.yaml``, with short comments that say where each value comes from."""

from __future__ import annotations

import json
import re
import textwrap
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from builder.formats.systemd import OwnedFolder
from builder.propose.service import Proposal
from dsl import base_passwd

_NUMBERS = Path(__file__).with_name("numbers.yaml")
_WIDTH = 120
_FIRST, _COUNT = 43000, 10000
"""The range of proposed numbers: above Kolla's, far below those of container engines."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was asked for.

    Attributes:
        name: of the component and of its image.
        extends: ``debian-13 ^1.0``.
        taken: numbers of users that the workspace has, by name.
        license: an SPDX expression; empty if the package does not say it for machines.
    """

    name: str
    package: str
    extends: str
    taken: Mapping[str, int]
    license: str = ""


@cache
def _kolla() -> Mapping[str, int]:
    found: dict[str, int] = yaml.safe_load(_NUMBERS.read_text())
    return found


def number(user: str, taken: Mapping[str, int]) -> tuple[int, str]:
    """A number for a user and where it comes from: the workspace's own, a well-known one, or a free one.

    A free one follows from the name, so that two workspaces that know nothing of each other mostly agree.
    """
    if user in taken:
        return taken[user], "as elsewhere in this workspace"
    used = set(taken.values())
    known = _kolla().get(user)
    if known is not None and known not in used:
        return known, "the number that Kolla's volumes have"
    used |= set(_kolla().values())
    free = _FIRST + zlib.crc32(user.encode()) % _COUNT
    while free in used:
        free = _FIRST + (free + 1 - _FIRST) % _COUNT
    return free, "free in this workspace; keep it, volumes outlive images"


def text(wanted: Wanted, fields: Mapping[str, str], found: Proposal) -> str:
    """The file.

    Args:
        fields: of the package's control stanza.
    """
    summary = fields.get("Description", wanted.package).splitlines()[0].strip() or wanted.package
    lines = [
        f"# Proposed by `imgbuild init` from Debian's package {wanted.package}. A comment says where a value comes from,",
        "# or what to look up; take comments away when you have.",
        "dsl: 1",
        f"component: {_flow(wanted.name)}",
        f"summary: {_flow(summary)}",
        *([f"homepage: {_flow(fields['Homepage'])}"] if fields.get("Homepage") else []),
        *(
            _said(0, f"license: {_flow(wanted.license)}", "of all files of the source package")
            if wanted.license
            else []
        ),
        f"version: {{from: apt/{wanted.package}}}",
        "",
        "images:",
        f"  {_flow(wanted.name)}:",
        f"    summary: {_flow(summary)}",
        f"    extends: {wanted.extends}",
        "    packages:",
        f"      apt: [{', '.join((wanted.package, *found.packages))}]",
        *_users(wanted, found),
        *_block("files", found.files, 4),
        *_block("generated", found.generated, 4),
        *([] if found.user else ["    allow:", f"      root: {_flow(found.root)}"]),
        *([_comment(4, "other services of these packages: " + ", ".join(found.others))] if found.others else []),
        "    run:",
        *(_comment(6, f"look: {line}") for line in found.look),
        *_command(found),
        *_said(6, f"user: {found.user.name if found.user else 'root'}", found.user_why),
    ]
    if found.workdir:
        lines += _said(6, f"workdir: {_flow(found.workdir.value)}", found.workdir.why)
    if found.env:
        one = _flow(dict(found.env))
        if len(one) <= _WIDTH - 11:
            lines += _said(6, f"env: {one}", found.env_why)
        else:
            lines += _said(6, "env:", found.env_why)
            lines += [f"        {key}: {_flow(value)}" for key, value in found.env.items()]
    lines += [*_ports(found), *_volumes(found), *_writable(found)]
    if found.capabilities:
        lines.append(f"      platform: {{capabilities: {_flow(list(found.capabilities))}}}")
    if found.stop_signal:
        lines += _said(6, f"stop_signal: {found.stop_signal.value}", found.stop_signal.why)
    return "\n".join([*lines, *_block("steps", found.steps, 4)]) + "\n"


class _Dumper(yaml.SafeDumper):
    """Quotes with ", and only what must be quoted."""


def _string(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    plain = not yaml.safe_dump([value], default_flow_style=True).startswith(("['", '["'))
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=None if plain else '"')


_Dumper.add_representer(str, _string)


def _flow(value: Any) -> str:
    """A value on one line, quoted where it must be."""
    if isinstance(value, str):
        plain = not yaml.safe_dump({"k": value}, width=10**6, allow_unicode=True).startswith(("k: '", 'k: "', "k: |"))
        return value if plain else json.dumps(value, ensure_ascii=False)
    text = yaml.dump(value, Dumper=_Dumper, default_flow_style=True, width=10**6, allow_unicode=True, sort_keys=False)
    return text.removesuffix("...\n").strip()


def _block(name: str, value: Any, indent: int) -> list[str]:
    """A key with its value as lines; what has no mapping in it stays on one."""
    if not value:
        return []
    text = yaml.dump({name: value}, Dumper=_Dumper, width=10**6, allow_unicode=True, sort_keys=False)
    if not any(isinstance(one, dict) for one in value.values()):
        return [" " * indent + line for line in text.splitlines()]
    return [" " * indent + f"{name}:", *(line for key, one in value.items() for line in _entries(key, one, indent + 2))]


def _entries(name: str, value: Mapping[str, Any], indent: int) -> list[str]:
    lines = [" " * indent + f"{name}:"]
    for key, one in value.items():
        if isinstance(one, str) and "\n" in one:
            lines += [" " * (indent + 2) + f"{key}: |", *(" " * (indent + 4) + line for line in one.splitlines())]
        else:
            lines.append(" " * (indent + 2) + f"{key}: {_flow(one)}")
    return lines


def _comment(indent: int, text: str) -> str:
    head = " " * indent + "# "
    return textwrap.fill(text, _WIDTH, initial_indent=head, subsequent_indent=head + "  ", break_long_words=False)


def _said(indent: int, text: str, why: str) -> list[str]:
    """A line with a comment after it, or above it if it gets too long."""
    line = " " * indent + text
    if not why:
        return [line]
    if len(line) + len(why) + 3 <= _WIDTH:
        return [f"{line}  # {why}"]
    return [_comment(indent, why), line]


def _owners(found: Proposal) -> list[str]:
    folders = [folder for folder, _ in (*found.volumes, *found.folders)]
    return [name for name in dict.fromkeys(folder.owner for folder in folders) if name not in ("root", "")]


def _users(wanted: Wanted, found: Proposal) -> list[str]:
    names = list(dict.fromkeys([*([found.user.name] if found.user else []), *_owners(found)]))
    names = [name for name in names if name not in base_passwd.USERS]
    if not names:
        return []
    taken = dict(wanted.taken)
    known = {user.name: user for user in (*found.owners, *([found.user] if found.user else []))}
    lines, groups = ["    users:"], dict[str, int]()
    for name in names:
        uid, why = number(name, taken)
        taken[name] = uid
        said: dict[str, Any] = {"uid": uid}
        if name in known:
            told = {"home": known[name].home, "shell": known[name].shell, "group": known[name].group}
            said |= {key: value for key, value in told.items() if value}
            summary = re.sub(r"[:\n]", " ", known[name].summary)
            said |= {"summary": summary} if summary else {}
            if known[name].group and known[name].group not in base_passwd.GROUPS:
                groups.setdefault(known[name].group, number(known[name].group, taken)[0])
        lines += _said(6, f"{name}: {_flow(said)}", why)
    told_groups = [f"      {name}: {{gid: {gid}}}" for name, gid in groups.items() if name not in names]
    return [*lines, *(["    groups:", *told_groups] if told_groups else [])]


def _command(found: Proposal) -> list[str]:
    words = [str(word) for word in found.command.value]
    line = f"command: {_flow(words)}"
    if len(line) <= _WIDTH - 6:
        return _said(6, line, found.command.why)
    return [*_said(6, "command:", found.command.why), *(f"        - {_flow(word)}" for word in words)]


def _ports(found: Proposal) -> list[str]:
    if not found.ports:
        return ["      # look: no port was found in units, the command or configuration: `ports: {NAME: NUMBER}`"]
    whys = ", ".join(dict.fromkeys(port.why for port in found.ports.values()))
    return _said(6, f"ports: {_flow({name: port.value for name, port in found.ports.items()})}", whys)


def _owned(folder: OwnedFolder) -> dict[str, Any]:
    said: dict[str, Any] = {"path": folder.path}
    if folder.owner and folder.owner != "root":
        said["owner"] = folder.owner
    if folder.group and folder.group not in (folder.owner, "root"):
        said["group"] = folder.group
    if folder.mode and re.fullmatch(r"[0-7]{3,4}", folder.mode) and folder.mode != "0755":
        said["mode"] = folder.mode.zfill(4)
    return said


def _volumes(found: Proposal) -> list[str]:
    if not found.volumes:
        return []
    lines = ["      volumes:"]
    names: list[str] = []
    for folder, why in found.volumes:
        name = "data" if not names else re.sub(r"[^a-z0-9_-]", "-", folder.path.rpartition("/")[2].lower()).strip("-")
        if name in names or not name:
            name = f"data-{len(names) + 1}"
        names.append(name)
        lines += _said(8, f"{name}: {_flow(_owned(folder))}", why)
    return lines


def _writable(found: Proposal) -> list[str]:
    if not found.folders:
        return []
    entries = (line for folder, why in found.folders for line in _said(8, f"- {_flow(_owned(folder))}", why))
    return ["      writable:", *entries]
