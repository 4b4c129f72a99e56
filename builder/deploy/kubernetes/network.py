"""How workloads are reached: Services by their ports, who may come in, and the way from outside."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from builder.deploy.kubernetes import metadata, pods
from builder.deploy.kubernetes.target import Target
from builder.deploy.kubernetes.waves import FIRST
from builder.deploy.workload import Entrance, Workload


def service(one: Workload, target: Target) -> dict[str, Any] | None:
    """The name by which others find it, in all its groups of hosts."""
    ports = [
        {"name": pods.port_name(name, number), "port": number, "targetPort": number, "protocol": protocol.upper()}
        for name, (number, protocol) in one.declared.ports.items()
    ]
    if not ports:
        return None
    spec = {"selector": _pods(one, target), "ports": ports}
    return {"apiVersion": "v1", "kind": "Service", "metadata": _described(one, target), "spec": spec}


def closed(target: Target) -> dict[str, Any]:
    """Nobody comes in where nothing else is said."""
    described = metadata.described(target.site, target, metadata.of_site(target), FIRST)
    return _policy(described, {metadata.SITE: target.site}, [])


def opened(one: Workload, target: Target, everyone: Iterable[Workload]) -> dict[str, Any] | None:
    """The pods of the site come in at its ports.

    At those of what somebody needs who has the network of its host, and at those that are reached from outside, all the
    world does: no rule can name the pods of a host's network.
    """
    if not one.declared.ports or one.on_host_network:
        return None
    needed = {function for other in everyone if other.on_host_network for function in other.needs}
    rules: list[dict[str, Any]] = []
    for name, (number, protocol) in one.declared.ports.items():
        wide = needed & {*one.provides} or (one.entrance and one.entrance.port == name)
        port = {"port": number, "protocol": protocol.upper()}
        own = {"from": [{"podSelector": {"matchLabels": {metadata.SITE: target.site}}}]}
        rules.append({**({} if wide else own), "ports": [port]})
    return _policy(_described(one, target), _pods(one, target), rules)


def entrance(one: Workload, target: Target) -> dict[str, Any] | None:
    """How it is reached from outside the cluster."""
    if one.entrance is None:
        return None
    return _route(one, target, one.entrance) if one.entrance.gateway else _ingress(one, target, one.entrance)


def _route(one: Workload, target: Target, told: Entrance) -> dict[str, Any]:
    namespace, _, name = told.gateway.rpartition("/")
    backend = {"name": metadata.short(one.name), "port": one.declared.ports[told.port][0]}
    path = {"type": "PathPrefix", "value": told.path}
    spec = {
        "parentRefs": [{"name": name, **({"namespace": namespace} if namespace else {})}],
        "hostnames": [told.host],
        "rules": [{"matches": [{"path": path}], "backendRefs": [backend]}],
    }
    described = _described(one, target)
    return {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": described, "spec": spec}


def _ingress(one: Workload, target: Target, told: Entrance) -> dict[str, Any]:
    port = {"name": pods.port_name(told.port, one.declared.ports[told.port][0])}
    backend = {"service": {"name": metadata.short(one.name), "port": port}}
    path = {"path": told.path, "pathType": "Prefix", "backend": backend}
    spec = {
        **({"ingressClassName": told.kind} if told.kind else {}),
        "rules": [{"host": told.host, "http": {"paths": [path]}}],
        **({"tls": [{"hosts": [told.host], "secretName": told.tls}]} if told.tls else {}),
    }
    described = _described(one, target)
    return {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": described, "spec": spec}


def _described(one: Workload, target: Target) -> dict[str, Any]:
    labels = {**metadata.lasting(one, target), metadata.INSTANCE: metadata.short(one.name)}
    return metadata.described(metadata.short(one.name), target, labels, FIRST)


def _pods(one: Workload, target: Target) -> dict[str, str]:
    return {metadata.NAME: metadata.short(one.name), metadata.SITE: target.site}


def _policy(described: dict[str, Any], pods_: dict[str, str], rules: list[dict[str, Any]]) -> dict[str, Any]:
    spec: dict[str, Any] = {"podSelector": {"matchLabels": pods_}, "policyTypes": ["Ingress"]}
    spec |= {"ingress": rules} if rules else {}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": described, "spec": spec}
