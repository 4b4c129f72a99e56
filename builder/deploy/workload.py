"""What runs at a site, as values: each image with what the site gives it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from builder.declared import Declared


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A file of configuration with its text.

    Attributes:
        path: where the image expects it.
        uid, gid: whose it is.
        mode: its permission bits, in octal.
    """

    path: str
    uid: int
    gid: int
    mode: str
    text: str


@dataclass(frozen=True, slots=True)
class Workload:
    """An image that runs at a site.

    Attributes:
        name: of its container, by which others find it.
        declared: what it says of itself.
        files: its configuration.
        publish: addresses and ports of the machine by port name: ``127.0.0.1:8080``.
    """

    name: str
    declared: Declared
    files: tuple[ConfigFile, ...] = ()
    publish: Mapping[str, str] = field(default_factory=dict)

    @property
    def on_host_network(self) -> bool:
        """Whether its network is the machine's own."""
        return "network" in self.declared.platform.get("host", ())


@dataclass(frozen=True, slots=True)
class Deployment:
    """A site with all that runs there, in the order of its file."""

    site: str
    workloads: tuple[Workload, ...]


def place(workload: Workload, file: ConfigFile) -> str:
    """Where a rendered file lies, below the folder of all that is rendered: ``config/keystone/etc/keystone.conf``."""
    return f"config/{workload.name}{file.path}"
