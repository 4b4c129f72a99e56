"""What shell scripts of packages say, as far as it can be read without running them."""

from __future__ import annotations

import re
import shlex

from builder.formats import systemd
from builder.formats.systemd import OwnedFolder, SystemUser

_WITH_VALUE = {
    "--home", "--home-dir", "--shell", "--gecos", "--comment", "--ingroup", "--gid", "--uid", "--firstuid", "--lastuid",
    "--conf", "-h", "-d", "-s", "-c", "-g", "-u", "-G", "--groups", "-K", "-k", "--base-dir", "-b",
}  # fmt: skip
_OPENSTACK = re.compile(r"^\s*pkgos_var_user_group\s+([a-z_][a-z0-9_-]*)", re.MULTILINE)


def users(text: str) -> tuple[SystemUser, ...]:
    """The system users that a maintainer script makes by adduser, useradd or OpenStack's helper."""
    found = [SystemUser(name, f"/var/lib/{name}") for name in _OPENSTACK.findall(text)]
    for argv in _commands(text, ("adduser", "useradd")):
        user = _user(argv)
        if user:
            found.append(user)
    return tuple({user.name: user for user in reversed(found)}.values())


def folders(text: str) -> tuple[OwnedFolder, ...]:
    """The folders that a maintainer script gives to somebody, by ``chown`` or ``install -d``."""
    found = []
    for argv in _commands(text, ("chown",)):
        words = [word for word in argv[1:] if not word.startswith("-")]
        owner, _, group = words[0].partition(":") if words else ("", "", "")
        found += [OwnedFolder(path.rstrip("/"), owner, group) for path in words[1:] if _is_path(path)]
    for argv in _commands(text, ("install",)):
        said, paths = _options(argv[1:])
        if "-d" in said or "--directory" in said:
            owner, group = said.get("-o", said.get("--owner", "")), said.get("-g", said.get("--group", ""))
            mode = said.get("-m", said.get("--mode", ""))
            found += [OwnedFolder(path.rstrip("/"), owner, group, mode) for path in paths if _is_path(path)]
    return tuple(folder for folder in found if folder.owner and "$" not in folder.owner + folder.path)


def _is_path(word: str) -> bool:
    return word.startswith("/") and not re.search(r"[*?\[$`]", word)


def _options(argv: list[str]) -> tuple[dict[str, str], list[str]]:
    said: dict[str, str] = {}
    rest: list[str] = []
    words = iter(argv)
    for word in words:
        name, equal, value = word.partition("=")
        if name in ("-o", "-g", "-m", "--owner", "--group", "--mode"):
            said[name] = value if equal else next(words, "")
        elif word.startswith("-"):
            said[name] = value
        else:
            rest.append(word)
    return said, rest


def _commands(text: str, names: tuple[str, ...]) -> list[list[str]]:
    """The calls of some commands, with variables put in that the script sets to a constant."""
    text = text.replace("\\\n", " ")
    known = systemd.assignments(text)
    found = []
    for line in text.splitlines():
        match = re.search(rf"(?:^|[\s;&|(+!-])(?:(?:/usr)?/s?bin/)?({'|'.join(names)})\s+(.*)$", line)
        if not match or line.lstrip().startswith("#"):
            continue
        call = re.split(r"\s(?:\|\||&&|[0-9]?>|<)|;|\)\s*$", match[2])[0]
        call = re.sub(r"\$(?:\{(\w+)\}|(\w+))", lambda m: known.get(m[1] or m[2], m[0]), call)
        try:
            found.append([match[1], *shlex.split(call)])
        except ValueError:
            continue
    return found


def _user(argv: list[str]) -> SystemUser | None:
    said: dict[str, str] = {}
    names: list[str] = []
    words = iter(argv[1:])
    for word in words:
        name, equal, value = word.partition("=")
        if equal and name.startswith("--"):
            said[name] = value
        elif word in _WITH_VALUE:
            said[word] = next(words, "")
        elif word.startswith("-"):
            said[word] = ""
        else:
            names.append(word)
    # `adduser USER GROUP` makes nobody.
    if len(names) != 1 or not ({"--system", "-r"} & said.keys()) or not re.fullmatch(r"[a-z_][a-z0-9_-]*", names[0]):
        return None

    def first(*keys: str) -> str:
        value = next((said[key] for key in keys if said.get(key)), "")
        return "" if "$" in value else value

    group = first("--ingroup", "--gid", "-g")
    return SystemUser(
        names[0],
        first("--home", "--home-dir", "-d").rstrip("/"),
        first("--shell", "-s"),
        first("--gecos", "--comment", "-c").split(",")[0],
        "" if group.isdigit() or group == names[0] else group,
    )
