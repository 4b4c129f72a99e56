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
        secrets: the names of those that its text has.
    """

    path: str
    uid: int
    gid: int
    mode: str
    text: str
    secrets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Variable:
    """An environment variable that the site gives.

    Attributes:
        secrets: the names of those that its text has.
    """

    name: str
    text: str
    secrets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """What the deploy stage knows of a step beside what its image says.

    Attributes:
        when: ``start``, ``before``, ``after`` or ``by-hand`` (dsl.model.Step).
        after: the steps that it waits for.
        schedule: as of cron; empty if it does not run again and again.
        given: variables of the site's.
    """

    name: str
    when: str = "by-hand"
    after: tuple[str, ...] = ()
    schedule: str = ""
    given: tuple[Variable, ...] = ()


@dataclass(frozen=True, slots=True)
class Entrance:
    """How a workload is reached from outside a cluster.

    Attributes:
        port: the name of its port.
        kind: the class of the Ingress; empty for the cluster's own.
        tls: the name of the Secret with its certificate; empty for plain HTTP.
        gateway: ``NAME`` or ``NAMESPACE/NAME`` of the Gateway whose route it is; empty for an Ingress.
    """

    host: str
    port: str
    path: str = "/"
    kind: str = ""
    tls: str = ""
    gateway: str = ""


@dataclass(frozen=True, slots=True)
class Workload:
    """An image that runs at a site.

    Attributes:
        name: of its container, by which others find it.
        declared: what it says of itself.
        files: its configuration.
        publish: addresses and ports of the machine by port name: ``127.0.0.1:8080``.
        component: whose image it is.
        version: the release's tag: ``31.0.0-r3``.
        group: of hosts, where one image runs in several; empty for the only one.
        nodes: labels of the nodes that it runs on.
        tolerates: taints that do not keep it away: ``dedicated=compute:NoSchedule``.
        given: variables of the site's.
        steps: all that its image has, by name.
        replicas: how many of it run, where it is not one a host.
        storage: sizes of its volumes by name.
        storage_class: empty for the cluster's own.
        needs: the functions that must be there for it.
        provides: the functions that it provides.
        after: the names of images of its component that come up and roll before it.
        entrance: None if it is not reached from outside.
        shared: the volumes that several of it may have at once, by name.
        back_to: the oldest version that can run on what this one leaves behind; empty if nothing is said.
    """

    name: str
    declared: Declared
    files: tuple[ConfigFile, ...] = ()
    publish: Mapping[str, str] = field(default_factory=dict)
    component: str = ""
    version: str = ""
    group: str = ""
    nodes: Mapping[str, str] = field(default_factory=dict)
    tolerates: tuple[str, ...] = ()
    given: tuple[Variable, ...] = ()
    steps: tuple[Step, ...] = ()
    replicas: int = 1
    storage: Mapping[str, str] = field(default_factory=dict)
    storage_class: str = ""
    needs: tuple[str, ...] = ()
    provides: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    entrance: Entrance | None = None
    shared: tuple[str, ...] = ()
    back_to: str = ""

    @property
    def key(self) -> str:
        """What no other workload of the site is called: its name, and its group where it runs in several."""
        return f"{self.name}-{self.group}" if self.group else self.name

    @property
    def each_host(self) -> bool:
        """Whether it works on its host, once on each: it has folders, devices or namespaces of the host."""
        platform = self.declared.platform
        return any(platform.get(key) for key in ("host", "mounts", "shared", "devices", "privileged"))

    @property
    def keeps(self) -> bool:
        """Whether it has volumes that only one of it can have at a time: the old one must go before the new one comes."""
        volumes = self.declared.run.get("volumes", {})
        return not self.each_host and bool(volumes) and not (self.replicas > 1 and {*volumes} <= {*self.shared})

    @property
    def on_host_network(self) -> bool:
        """Whether its network is the machine's own."""
        return "network" in self.declared.platform.get("host", ())


@dataclass(frozen=True, slots=True)
class Deployment:
    """A site with all that runs there, in the order of its file.

    Attributes:
        namespace: of a cluster; the site's name if empty.
        pull_secrets: the Secrets by which nodes pull images.
    """

    site: str
    workloads: tuple[Workload, ...]
    namespace: str = ""
    pull_secrets: tuple[str, ...] = ()


def place(workload: Workload, file: ConfigFile) -> str:
    """Where a rendered file lies, below the folder of all that is rendered: ``config/keystone/etc/keystone.conf``."""
    return f"config/{workload.key}{file.path}"


def given(workload: Workload, step: str) -> tuple[Variable, ...]:
    """Variables of the site's for a step: those of its service, and its own."""
    own = next((one.given for one in workload.steps if one.name == step), ())
    names = {one.name for one in own}
    return (*(one for one in workload.given if one.name not in names), *own)
