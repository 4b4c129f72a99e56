"""Templates of configuration, rendered for a small site whose services find each other by function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml
from jinja2 import Environment, StrictUndefined

FORMED = {"barbican-kek": "c2VjcmV0LW9mLWJhcmJpY2FuLWtlay10ZXN0c18xMjM="}
"""Secrets that have a form of their own, as the templates that ask for them say."""


def password(of: str) -> str:
    """The password of the tests' site for an account."""
    return FORMED.get(of) or f"secret-of-{of}"


@dataclass(frozen=True, slots=True)
class Account:
    """What a service lets one of its users in with."""

    url: str
    password: str


@dataclass(frozen=True, slots=True)
class Service:
    """Where a function is found.

    Attributes:
        scheme: of its address.
        address: host and port.
        path: where its address ends; ``{name}`` is the account's.
    """

    scheme: str
    address: str
    path: str = ""

    @property
    def host(self) -> str:
        """The name of its host."""
        return self.address.partition(":")[0]

    @property
    def port(self) -> str:
        """Its port."""
        return self.address.partition(":")[2]

    @property
    def url(self) -> str:
        """The address without an account."""
        return f"{self.scheme}://{self.address}{self.path}"

    def account(self, name: str, *more: str) -> Account:
        """The account of a user; a database has its user's name, and there may be more."""
        path = self.path.format(name=name)
        return Account(f"{self.scheme}://{name}:{password(name)}@{self.address}{path}", password(name))


SERVICES: Mapping[str, Service] = {
    "database": Service("mysql+pymysql", "mariadb:3306", "/{name}"),
    "messages": Service("rabbit", "rabbitmq:5672", "/"),
    "identity": Service("http", "keystone:5000", "/v3"),
    "metadata": Service("http", "nova-metadata:8775"),
    "ovn-southbound": Service("tcp", "ovn-sb-db-server:6642"),
    "cache": Service("memcached", "memcached:11211"),
}

VALUES: Mapping[str, object] = {
    "nfs_shares": "nfs:/volumes",
    "interface": "eth0",
    "router_id": "51",
    "priority": "100",
    "address": "192.0.2.7/32",
    "datapath": "netdev",  # kernels of tests need not have the module of Open vSwitch
}


def rendered(template: Path, services: Mapping[str, Service] = SERVICES) -> str:
    """The text of a template of a component: its values are those of its definition but for what tests say."""
    declared = yaml.safe_load((template.parent.parent / "component.yaml").read_text()).get("values", {})
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True)
    functions: dict[str, Callable[[str], object]] = {
        "service": services.__getitem__,
        "secret": password,
        "value": {**declared, **VALUES}.__getitem__,
    }
    return environment.from_string(template.read_text()).render(functions)
