"""An image's health → probes: whether it is ready is asked deeply, whether it lives only shallowly.

What a service stands on may be away for a while: then it is not ready, and nothing is gained by starting it anew.
"""

from __future__ import annotations

from typing import Any

from builder.declared import Declared
from dsl import quantities


def of(declared: Declared) -> dict[str, Any]:
    """The probes of a container; none if the image says nothing of its health."""
    health = declared.run.get("health")
    if not health:
        return {}
    interval = _seconds(health.get("interval", "30s"))
    timeout = _seconds(health.get("timeout", "10s"))
    retries = health.get("retries", 3)
    start = _seconds(health.get("start", "60s"))
    deep, shallow = _deep(declared, health), _shallow(declared, health)
    # Short while it starts, so that what waits for it need not wait long.
    often = min(interval, 5)
    found: dict[str, Any] = {}
    if shallow:
        started = {"periodSeconds": often, "timeoutSeconds": timeout, "failureThreshold": max(start // often, 1)}
        lives = {"periodSeconds": interval, "timeoutSeconds": timeout, "failureThreshold": retries}
        found = {"startupProbe": {**shallow, **started}, "livenessProbe": {**shallow, **lives}}
    ready = {"periodSeconds": min(interval, 10), "timeoutSeconds": timeout, "failureThreshold": retries}
    return {**found, "readinessProbe": {**deep, **ready}}


def _deep(declared: Declared, health: dict[str, Any]) -> dict[str, Any]:
    if "http" in health:
        port = declared.ports[health["http"]][0]
        return {"httpGet": {"path": health.get("path", "/"), "port": port, "scheme": "HTTP"}}
    if "tcp" in health:
        return {"tcpSocket": {"port": declared.ports[health["tcp"]][0]}}
    return {"exec": {"command": list(health["exec"])}}


def _shallow(declared: Declared, health: dict[str, Any]) -> dict[str, Any]:
    name = health.get("http") or health.get("tcp")
    ports = [declared.ports[name]] if name else list(declared.ports.values())
    number = next((port for port, protocol in ports if protocol == "tcp"), None)
    return {"tcpSocket": {"port": number}} if number else {}


def _seconds(duration: str) -> int:
    return max(quantities.nanoseconds(duration) // 10**9, 1)
