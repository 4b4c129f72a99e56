"""Who we are at registries: what `docker login` and `podman login` keep, and their credential helpers.

Passwords are in no message, and in no ``repr``.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from builder.errors import RegistryError, UsageError
from builder.registry.address import Host
from builder.tools import process

_HUB = ("docker.io", "index.docker.io", "registry-1.docker.io")
_HELPER = re.compile(r"[A-Za-z0-9._-]+")
_PATIENCE = 60


@dataclass(frozen=True, slots=True)
class Login:
    """A user of a registry.

    Attributes:
        token: in place of a password: it is given for tokens alone (docker's "identity token").
        origin: the file or helper that has it, for messages.
    """

    user: str
    password: str = field(repr=False)
    token: str = field(repr=False)
    origin: str


class Logins:
    """What the files have, read when first asked; helpers are asked once for a host.

    Args:
        environ: in place of the process's own environment.
    """

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._environ = os.environ if environ is None else environ
        self._files: tuple[tuple[Path, Mapping[str, Any]], ...] | None = None
        self._asked: dict[tuple[str, str], Login | None] = {}

    def __repr__(self) -> str:
        return "Logins()"

    def find(self, host: Host, repository: str) -> Login | None:
        """The login for a repository: of the first file that has one, the one of the longest prefix of its name.

        The order of files is that of containers-auth.json(5); ``$REGISTRY_AUTH_FILE`` stands for all of them.

        Raises:
            UsageError: a file cannot be read or understood.
            RegistryError: a helper failed.
        """
        if self._files is None:
            self._files = tuple((path, found) for path in paths(self._environ) if (found := _read(path)) is not None)
        for path, file in self._files:
            if login := self._of_file(path, file, host, repository):
                return login
        return None

    def _of_file(self, path: Path, file: Mapping[str, Any], host: Host, repository: str) -> Login | None:
        names = _HUB if host.name in _HUB else (host.name,)
        helpers = file["credHelpers"]
        for name in names:
            if name in helpers:
                return self._helped(helpers[name], name, path)
        entries = {_key(key): value for key, value in file["auths"].items()}
        parts = repository.split("/")
        beginnings = ["/".join((name, *parts[:end])) for end in range(len(parts), -1, -1) for name in names]
        for key in beginnings:
            if (entry := entries.get(key)) and (login := _login(entry, path, key)):
                return login
        if file["credsStore"]:
            for name in ("https://index.docker.io/v1/", *names) if host.name in _HUB else names:
                if login := self._helped(file["credsStore"], name, path):
                    return login
        return None

    def _helped(self, helper: str, server: str, path: Path) -> Login | None:
        key = (helper, server)
        if key not in self._asked:
            self._asked[key] = _ask(helper, server, path, self._environ)
        return self._asked[key]


def paths(environ: Mapping[str, str]) -> Iterator[Path]:
    """The files that may have logins, in order."""
    if named := environ.get("REGISTRY_AUTH_FILE"):
        yield Path(named)
        return
    home = Path(environ.get("HOME") or Path.home())
    if runtime := environ.get("XDG_RUNTIME_DIR"):
        yield Path(runtime) / "containers/auth.json"
    yield Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "containers/auth.json"
    yield Path(environ.get("DOCKER_CONFIG") or home / ".docker") / "config.json"


def _read(path: Path) -> Mapping[str, Any] | None:
    try:
        text = path.read_text()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else "it is no text"
        raise UsageError(f"{path}: logins of registries cannot be read: {said}") from None
    try:
        data = json.loads(text or "{}")
        auths, helpers, store = data.get("auths") or {}, data.get("credHelpers") or {}, data.get("credsStore") or ""
        if not all(isinstance(one, dict) for one in (auths, helpers, *auths.values())):
            raise TypeError
        if not all(isinstance(one, str) and (not one or _HELPER.fullmatch(one)) for one in (store, *helpers.values())):
            raise TypeError
    except (ValueError, TypeError, AttributeError, RecursionError):
        # What is wrong in it is not told: it may be half a password.
        raise UsageError(
            f"{path}: it is no file of logins", "it is JSON, as `docker login` and `podman login` write it"
        ) from None
    return {"auths": auths, "credHelpers": helpers, "credsStore": store}


def _key(text: str) -> str:
    """A name of ``auths`` as hosts and repositories are called; docker writes Docker Hub's as an address."""
    plain = re.sub(r"^https?://", "", text).rstrip("/")
    return re.sub(r"/v[12]$", "", plain)


def _login(entry: Mapping[str, Any], path: Path, key: str) -> Login | None:
    origin = f"{path} ({key})"
    user, password = str(entry.get("username") or ""), str(entry.get("password") or "")
    if entry.get("auth"):
        try:
            text = base64.b64decode(str(entry["auth"]), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError, ValueError):
            raise UsageError(f"{path}: the login of {key} is damaged", "log in again") from None
        user, _, password = text.rstrip("\0").partition(":")
    token = str(entry.get("identitytoken") or "")
    return Login(user, password, token, origin) if password or token else None


def _ask(helper: str, server: str, path: Path, environ: Mapping[str, str]) -> Login | None:
    """What a helper has: it is told the server on its standard input, and answers in JSON."""
    program = f"docker-credential-{helper}"
    place = f"{program} (named by {path})"
    try:
        result = process.run(
            [program, "get"], env=dict(environ), stdin=server.encode(), timeout=_PATIENCE, check=False
        )  # fmt: skip
    except FileNotFoundError:
        raise RegistryError(f"{place} is not installed", hint=f"install it, or take it out of {path}") from None
    except TimeoutError:
        raise RegistryError(f"{place} does not answer") from None
    if result.code:
        # "credentials not found in native keychain" is what all of them say, to standard output.
        if "not found" in result.text + result.errors:
            return None
        raise RegistryError(f"{place} ended with {result.code} when asked for {server}", hint=f"try: {program} get")
    try:
        data = json.loads(result.stdout)
        user, secret = str(data["Username"]), str(data["Secret"])
    except (ValueError, KeyError, TypeError):
        raise RegistryError(f"{place} gives no JSON with Username and Secret") from None
    return Login("", "", secret, place) if user == "<token>" else Login(user, secret, "", place)
