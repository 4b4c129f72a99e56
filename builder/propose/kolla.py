"""A ``config.json`` that Kolla's images read when they start → what a definition says in its place.

Kolla's ``set_configs.py`` documents the form: ``command``, ``config_files`` (source, dest, owner, perm, optional),
``permissions`` (path, owner, perm, recurse). It copies files and changes owners at every start, as root by sudo; here the
deploy stage renders files where they belong, and folders have their owners from the start.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import jsonschema
import yaml

from builder.errors import UsageError

_TEXT = {"type": "string", "minLength": 1}
_SWITCH = {"type": "boolean"}
_OWNED = {"owner": _TEXT, "perm": {"type": "string", "pattern": "^[0-7]{3,4}$"}}
_FILE = {
    **_OWNED,
    "source": _TEXT,
    "dest": {**_TEXT, "pattern": "^/"},
    "optional": _SWITCH,
    "exclude": {"type": "array"},
}
_FOLDER = {**_OWNED, "path": {**_TEXT, "pattern": "^/"}, "recurse": _SWITCH, "exclude": {"type": "array"}}
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "required": ["command"],
    "properties": {
        "command": _TEXT,
        "config_files": {
            "type": "array",
            "items": {"type": "object", "required": ["source", "dest"], "properties": _FILE},
        },
        "permissions": {
            "type": "array",
            "items": {"type": "object", "required": ["path", "owner"], "properties": _FOLDER},
        },
    },
}
_DATA = ("/var/lib/", "/srv/")
_SHELL = set("|&;<>$`*?")


@dataclass(frozen=True, slots=True)
class Migrated:
    """What a definition says.

    Attributes:
        data: ``run`` and ``config``, as the language has them.
        look: what the reader has to decide, in words.
    """

    data: Mapping[str, Any]
    look: tuple[str, ...]

    @property
    def text(self) -> str:
        """As YAML, with what is to be looked at above it."""
        comments = "".join(f"# look: {line}\n" for line in self.look)
        return comments + yaml.safe_dump(dict(self.data), sort_keys=False, width=10**6, allow_unicode=True)


def parse(text: str, place: str) -> Migrated:
    """Read a ``config.json``.

    Args:
        place: what it is called in errors.

    Raises:
        UsageError: it is none.
    """
    try:
        told = json.loads(text)
    except json.JSONDecodeError as error:
        raise UsageError(f"{place}:{error.lineno}:{error.colno}: it is no JSON: {error.msg}") from None
    problems = sorted(jsonschema.Draft202012Validator(SCHEMA).iter_errors(told), key=lambda one: one.json_path)
    if problems:
        raise UsageError(
            "\n".join(f"{place}: {one.json_path}: {one.message}" for one in problems), "see docs/from-kolla.md"
        )
    return _migrated(told)


def _migrated(told: Mapping[str, Any]) -> Migrated:
    look: list[str] = []
    files = told.get("config_files", [])
    owners = [one["owner"].partition(":")[0] for one in files if one.get("owner", "root").partition(":")[0] != "root"]
    user = max(set(owners), key=owners.count) if owners else ""
    if not user:
        look.append("no file says who the service runs as: `user` is who its package makes")
    run: dict[str, Any] = {"command": _command(told["command"], look), "user": user or "root"}
    volumes, writable = _folders(told.get("permissions", []), look)
    run |= {name: value for name, value in (("volumes", volumes), ("writable", writable)) if value}
    config = {path: value for one in files for path, value in _file(one, look)}
    return Migrated({"run": run, **({"config": config} if config else {})}, tuple(look))


def _command(text: str, look: list[str]) -> list[str]:
    if _SHELL & set(text):
        look.append("the command is the shell's: a definition runs a program itself")
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UsageError(f"the command cannot be split into words: {error}") from None
    if words[0] in ("sudo", "kolla_start", "bash", "sh", "/bin/sh", "/bin/bash"):
        look.append(f"{words[0]} stands before the service's own executable: leave it out")
    if any("/var/log/kolla" in word for word in words):
        look.append("/var/log/kolla: a service logs to its standard output; say so by its own options")
    return words


def _file(one: Mapping[str, Any], look: list[str]) -> list[tuple[str, dict[str, Any]]]:
    source, path = PurePosixPath(one["source"]), one["dest"]
    if one["dest"].endswith("/") or set(source.name) & set("*?["):
        look.append(f"{one['source']} is several files: name each of them under {path.rstrip('/')}/")
        path = str(PurePosixPath(path) / source.name) if not set(source.name) & set("*?[") else path.rstrip("/")
    owner, _, group = one.get("owner", "root").partition(":")
    told: dict[str, Any] = {"template": f"templates/{PurePosixPath(path).name}.j2"}
    told |= {"owner": owner} if owner != "root" else {}
    told |= {"group": group} if group and group != owner else {}
    told |= {"mode": one["perm"].rjust(4, "0")} if "perm" in one else {}
    told |= {"optional": True} if one.get("optional") else {}
    return [(path, told)]


def _folders(told: list[Mapping[str, Any]], look: list[str]) -> tuple[dict[str, dict[str, Any]], list[dict[str, Any]]]:
    """Folders that get an owner when the container starts: volumes under /var/lib, writable ones elsewhere."""
    volumes: dict[str, dict[str, Any]] = {}
    writable: list[dict[str, Any]] = []
    for one in told:
        path = one["path"].rstrip("/")
        if path.startswith("/var/log/"):
            look.append(f"{path}: a service logs to its standard output and needs no folder for it")
            continue
        owner, _, group = one["owner"].partition(":")
        folder: dict[str, Any] = {"path": path, "owner": owner}
        folder |= {"group": group} if group and group != owner else {}
        folder |= {"mode": one["perm"].rjust(4, "0")} if "perm" in one else {}
        if path.startswith(_DATA):
            volumes[PurePosixPath(path).name.strip(".").lower()] = folder
        else:
            writable.append(folder)
    return volumes, writable


def read(path: Path) -> Migrated:
    """Read a file.

    Raises:
        UsageError: it is not there, or no ``config.json`` of Kolla's.
    """
    try:
        return parse(path.read_text("utf-8", "replace"), str(path))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
