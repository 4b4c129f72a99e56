"""Functions that images need, and the addresses where others provide them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

Secrets = Callable[[str], str]
"""A secret by its name."""
Met = Callable[[str, str, tuple[str, ...]], None]
"""Told of a function, of the name of an account that somebody wants there, and of what else that is to have."""


def _nobody(function: str, name: str, more: tuple[str, ...]) -> None:
    """Hears nothing."""


@dataclass(frozen=True, slots=True)
class Account:
    """What a service lets one of its users in with.

    Attributes:
        url: the service's address with the name and the password in it.
        more: what the account is to have beside what has its name: further databases.
    """

    name: str
    password: str
    url: str
    more: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """What is told of a service where another function is provided.

    Attributes:
        told: by its definition: ``{type: image, name: glance}``.
    """

    service: Service
    told: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Service:
    """Where a function is found: what ``service('database')`` is in a template.

    Attributes:
        function: its name.
        port: empty where the scheme has one of its own.
        path: where its address ends; ``{account}`` stands for the name of an account.
        met: told of each account that is asked for.
        listed: what those who provide other functions are told of it, by function.
    """

    function: str
    scheme: str
    host: str
    port: str
    path: str
    secrets: Secrets
    met: Met = _nobody
    listed: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @classmethod
    def outside(cls, function: str, address: str, secrets: Secrets) -> Service:
        """A service that is no image of the site.

        Raises:
            ValueError: it is no address.
        """
        parts = urlsplit(address)
        if not parts.scheme or not parts.hostname:
            raise ValueError(f"{address!r} is no address with a scheme and a host")
        return cls(function, parts.scheme, parts.hostname, str(parts.port or ""), parts.path, secrets)

    @property
    def address(self) -> str:
        """Host and port."""
        return f"{self.host}:{self.port}" if self.port else self.host

    @property
    def url(self) -> str:
        """The address without an account."""
        return f"{self.scheme}://{self.address}{self.path.replace('/{account}', '')}"

    def account(self, name: str, *more: str) -> Account:
        """A user of the service; its password is the secret ``FUNCTION-NAME``.

        Args:
            more: what it is to have beside what has its name: further databases.
        """
        self.met(self.function, name, more)
        password = self.secrets(f"{self.function}-{name}")
        path = self.path.replace("{account}", name)
        return Account(name, password, f"{self.scheme}://{name}:{quote(password, safe='')}@{self.address}{path}", more)


Services = Mapping[str, Service]


def listed(services: Services, function: str) -> tuple[Entry, ...]:
    """All services that are told of where a function is provided, by their own functions' names."""
    return tuple(Entry(one, one.listed[function]) for _, one in sorted(services.items()) if function in one.listed)
