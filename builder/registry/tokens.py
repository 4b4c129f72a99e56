"""What a registry wants to see of who we are: nothing, a password, or a token that another server gives for it.

Challenges are RFC 9110's (11.6.1); tokens are those of docker's "Token Authentication Specification", scopes included.
"""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Lock as Mutex
from typing import Any
from urllib.parse import urlsplit

from builder.errors import RegistryError
from builder.registry.address import Host
from builder.registry.logins import Login, Logins

_PAIR = re.compile(r'(\w+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s",]+))')
_LIFE, _MARGIN = 60, 10
"""Seconds that a token lives if it does not say so, and before whose end it is not used any more."""
Scopes = tuple[str, ...]
Ask = Callable[..., Any]
"""Asks a token server: method, address, headers, parameters or a form; its status and its data."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a registry wants: ``basic`` or ``bearer``."""

    scheme: str
    realm: str = ""
    service: str = ""
    scope: str = ""


@dataclass(frozen=True, slots=True)
class _Token:
    text: str = field(repr=False)
    until: float


def scope(repository: str, *actions: str) -> str:
    """What is to be done with a repository: ``repository:openstack/nova-api:pull,push``."""
    return f"repository:{repository}:{','.join(actions)}"


def challenge(header: str) -> Challenge | None:
    """The best challenge of a WWW-Authenticate header that we can meet."""
    found = {}
    for match in re.finditer(r"(?i)(?:^|,\s*)(basic|bearer)\b(.*?)(?=,\s*(?:basic|bearer)\s|$)", header.strip()):
        said = {name.lower(): quoted or plain for name, quoted, plain in _PAIR.findall(match[2])}
        scheme = match[1].lower()
        found[scheme] = Challenge(scheme, said.get("realm", ""), said.get("service", ""), said.get("scope", ""))
    return found.get("bearer") or found.get("basic")


class Authorization:
    """What we show one registry; tokens are kept until shortly before they expire.

    Args:
        ask: asks a token server.
    """

    def __init__(self, host: Host, logins: Logins, ask: Ask) -> None:
        self._host, self._logins, self._ask = host, logins, ask
        self._wanted: Challenge | None = None
        self._tokens: dict[tuple[str, Scopes], _Token] = {}
        self._mutex = Mutex()

    def __repr__(self) -> str:
        return f"Authorization({self._host})"

    def header(self, repository: str, scopes: Scopes, *, plain: bool) -> str:
        """The Authorization header of a request; empty as long as the registry has not asked for one.

        Args:
            plain: the registry is spoken to without TLS.

        Raises:
            RegistryError: there is no login, or it is refused.
        """
        with self._mutex:
            wanted = self._wanted
            if wanted is None:
                return ""
            login = self._logins.find(self._host, repository)
            if wanted.scheme == "basic":
                if login is None or not login.password:
                    raise self._nobody(login)
                return _basic(login)
            key = (login.origin if login else "", scopes)
            known = self._tokens.get(key)
            if known is None or known.until <= time.monotonic():
                known = self._tokens[key] = self._fetch(wanted, login, scopes, plain)
            return f"Bearer {known.text}"

    def refused(self, shown: str, repository: str, scopes: Scopes, challenges: str) -> None:
        """A registry has answered 401: what it wants is shown from now on.

        Args:
            shown: the header that it has refused; empty if there was none.

        Raises:
            RegistryError: nothing else can be shown.
        """
        wanted = challenge(challenges)
        if wanted is None:
            raise RegistryError(f"{self._host} wants a login of a kind that is not known here", status=401)
        with self._mutex:
            login = self._logins.find(self._host, repository)
            if shown.startswith("Basic"):
                raise self._wrong(login)
            self._wanted = wanted
            for key in [key for key, token in self._tokens.items() if f"Bearer {token.text}" == shown]:
                # Its time was over before it said.
                del self._tokens[key]

    def denied(self, repository: str) -> RegistryError:
        """A fresh token was refused, too."""
        login = self._logins.find(self._host, repository)
        return self._wrong(login) if login else self._nobody(None)

    def _fetch(self, wanted: Challenge, login: Login | None, scopes: Scopes, plain: bool) -> _Token:
        realm = urlsplit(wanted.realm)
        if realm.scheme != "https" and not (realm.scheme == "http" and plain):
            raise RegistryError(f"{self._host} sends us for a token to a place without TLS", status=401)
        asked: dict[str, Any] = {"service": wanted.service} if wanted.service else {}
        headers: dict[str, str] = {}
        if login and login.token:
            form = {**asked, "grant_type": "refresh_token", "refresh_token": login.token, "client_id": "imgbuild"}
            status, data = self._ask("POST", wanted.realm, headers, form={**form, "scope": " ".join(scopes)})
        else:
            if login:
                headers["Authorization"] = _basic(login)
            status, data = self._ask("GET", wanted.realm, headers, params={**asked, "scope": list(scopes)})
        if status in (400, 401, 403):
            raise self._wrong(login) if login else self._nobody(None)
        text = data.get("token") or data.get("access_token") if isinstance(data, Mapping) else None
        if status != 200 or not isinstance(text, str) or not text.isprintable():
            raise RegistryError(
                f"{realm.hostname}, which gives tokens for {self._host}, answers {status}", status=status
            )
        life = data.get("expires_in")
        seconds = life if isinstance(life, int | float) and life > 0 else _LIFE
        return _Token(text, time.monotonic() + max(seconds - _MARGIN, seconds / 2))

    def _nobody(self, login: Login | None) -> RegistryError:
        del login
        name = self._host.name
        return RegistryError(
            f"{name} wants a login", status=401,
            hint=f"`docker login {name}` or `podman login {name}`, or name a file of logins by REGISTRY_AUTH_FILE",
        )  # fmt: skip

    def _wrong(self, login: Login | None) -> RegistryError:
        if login is None:
            return self._nobody(None)
        name = self._host.name
        return RegistryError(
            f"{name} refuses the login of {login.origin}", status=401, hint=f"log in again: `docker login {name}`"
        )


def _basic(login: Login) -> str:
    return "Basic " + base64.b64encode(f"{login.user}:{login.password}".encode()).decode()
