"""An Open vSwitch from our images, whose network stands for a host's: agents of this host share it."""

from __future__ import annotations

from collections.abc import Mapping

from tests.kit.running import Running, Site

SOCKET = "unix:/run/openvswitch/db.sock"


def start(site: Site, images: Mapping[str, str]) -> dict[str, Running]:
    """Start its database and the switch itself; the database is the host."""
    site.step(images["openvswitch-db-server"], "init")
    host = site.start(images["openvswitch-db-server"], "openvswitch-db-server")
    host.healthy()
    switch = site.start(images["openvswitch-vswitchd"], "openvswitch-vswitchd", host=host)
    switch.says("Open vSwitch")
    return {one.name: one for one in (host, switch)}


def tell(host: Running, *words: str) -> str:
    """What ``ovs-vsctl`` answers."""
    return host.exec("ovs-vsctl", f"--db={SOCKET}", "--timeout=10", *words)
