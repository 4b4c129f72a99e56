"""A cluster's API by the official client: objects as plain data in and out, errors as ours."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from builder.errors import ClusterError

MANAGER = "imgbuild"
"""The field manager of server-side apply."""
Object = Mapping[str, Any]
_PATIENCE = 60.0
"""For how long a server that answered before may be away."""
_AWAY = frozenset({0, 429, 500, 502, 503, 504})
T = TypeVar("T")


class Cluster:
    """A connection to a cluster, as kubectl would make it: by KUBECONFIG, ``~/.kube/config``, or from within a pod.

    Args:
        context: of the configuration; its current one if empty.

    Raises:
        ClusterError: there is no configuration, or the cluster does not answer.
    """

    def __init__(self, context: str = "") -> None:
        from kubernetes import client, config
        from kubernetes.config.config_exception import ConfigException
        from kubernetes.dynamic import DynamicClient
        from yaml import YAMLError

        try:
            within = "KUBERNETES_SERVICE_HOST" in os.environ and not context
            if within and "KUBECONFIG" not in os.environ and not Path("~/.kube/config").expanduser().exists():
                config.load_incluster_config()  # type: ignore[no-untyped-call]
            else:
                config.load_kube_config(context=context or None)  # type: ignore[no-untyped-call]
        except (ConfigException, OSError, ValueError, KeyError, TypeError, AttributeError, YAMLError) as error:
            said = " ".join(str(error).removeprefix("Invalid kube-config file. ").split())
            raise ClusterError(
                f"no cluster is configured: {said}", "set KUBECONFIG, or name a context: --context NAME"
            ) from None
        self._api: Any = client.ApiClient()
        self.address = str(self._api.configuration.host)
        self._cache = tempfile.TemporaryDirectory()
        with self._told("it cannot be asked what it can do"):
            kept = str(Path(self._cache.name) / "api.json")
            self._client: Any = DynamicClient(self._api, cache_file=kept)  # type: ignore[no-untyped-call]
            said = self._client.version["kubernetes"]
            self.version = int(said["major"]), int("".join(c for c in said["minor"] if c.isdigit()))

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        self._cache.cleanup()
        self._api.close()

    def get(self, one: Object) -> Object | None:
        """An object as it is there; None if it is not."""
        from kubernetes.dynamic.exceptions import NotFoundError

        def ask() -> Object | None:
            with contextlib.suppress(NotFoundError):
                found: Object = self._resource(one).get(**_named(one)).to_dict()
                return found
            return None

        return self._asked(f"{called(one)} cannot be read", ask)

    def apply(self, one: Object, *, dry: bool = False, force: bool = False, manager: str = MANAGER) -> Object:
        """Apply an object on the server's side: what it is then, or would be.

        Args:
            force: take fields from other managers.
            manager: whose fields these are.

        Raises:
            ClusterError: it is refused: a field of somebody else's, no permission, a quota, a value.
        """
        more = {"dry_run": "All"} if dry else {}

        def ask() -> Object:
            resource = self._resource(one)
            found: Object = resource.server_side_apply(
                body=dict(one), field_manager=manager, force_conflicts=force, **_named(one), **more
            ).to_dict()
            return found

        return self._asked(f"{called(one)} cannot be applied", ask)

    def delete(self, one: Object) -> bool:
        """Delete an object, with what belongs to it: whether it was there."""
        from kubernetes.dynamic.exceptions import NotFoundError

        body = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Foreground"}

        def ask() -> bool:
            with contextlib.suppress(NotFoundError):
                self._resource(one).delete(**_named(one), body=body)
                return True
            return False

        return self._asked(f"{called(one)} cannot be deleted", ask)

    def find(self, version: str, kind: str, namespace: str, selector: str) -> tuple[Object, ...]:
        """The objects of a kind that have some labels."""

        def ask() -> tuple[Object, ...]:
            resource = self._client.resources.get(api_version=version, kind=kind)
            found = resource.get(namespace=namespace, label_selector=selector).to_dict()
            # In a list its members do not say what they are.
            return tuple({"apiVersion": version, "kind": kind, **one} for one in found["items"])

        return self._asked(f"objects of the kind {kind} cannot be listed in {namespace}", ask)

    def logs(self, pod: Object, container: str, lines: int = 20) -> str:
        """The last lines that a container said; empty if they cannot be had."""
        from kubernetes import client
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        told = pod["metadata"]
        try:
            core: Any = client.CoreV1Api(self._api)
            answer = core.read_namespaced_pod_log(
                told["name"], told["namespace"], container=container, tail_lines=lines, _preload_content=False
            )
            return str(answer.data.decode(errors="replace"))
        except (ApiException, HTTPError):
            return ""

    def _resource(self, one: Object) -> Any:
        return self._client.resources.get(api_version=one["apiVersion"], kind=one["kind"])

    def _asked(self, doing: str, ask: Callable[[], T]) -> T:
        """What is answered. All that is asked may be asked twice, so a server that is away for a moment is waited for."""
        deadline = time.monotonic() + _PATIENCE
        pause = 0.5
        while True:
            try:
                with self._told(doing):
                    return ask()
            except ClusterError as error:
                if error.status not in _AWAY or time.monotonic() + pause > deadline:
                    raise
            time.sleep(pause)
            pause = min(pause * 2, 5)

    @contextlib.contextmanager
    def _told(self, doing: str) -> Iterator[None]:
        from kubernetes.client.exceptions import ApiException
        from kubernetes.dynamic.exceptions import ResourceNotFoundError
        from urllib3.exceptions import HTTPError

        try:
            yield
        except ResourceNotFoundError as error:
            hint = "what is not Kubernetes' own has to be installed first; `deploy render --kubernetes VERSION` writes for an older release"
            raise ClusterError(f"{doing}: this cluster does not know such objects: {error}", hint, status=404) from None
        except ApiException as error:
            raise refused(doing, int(error.status or 0), str(error.reason), error.body) from None
        except (HTTPError, OSError) as error:
            message = f"{doing}: {self.address} does not answer: {_short(error)}"
            raise ClusterError(message, "is the cluster up, and is this its address?") from None


def called(one: Object) -> str:
    """What messages call an object: ``Deployment keystone``."""
    return f"{one['kind']} {one['metadata']['name']}"


def refused(doing: str, status: int, reason: str, body: str | bytes | None) -> ClusterError:
    """What a server said in place of doing it (API conventions, "Status").

    Args:
        body: of its answer.
    """
    try:
        told = json.loads(body or b"")
        said = str(told["message"])
    except (ValueError, KeyError, TypeError):
        said = f"{status} {reason}"
    hint = ""
    if status == 409 and "conflict" in said.lower():
        hint = "somebody else has set these fields: take them over by --force, or leave them to them"
    elif status == 403 and "exceeded quota" in said:
        hint = "the namespace has a quota: raise it, or ask for less"
    elif status in (401, 403):
        hint = "log in as somebody who may: `kubectl auth can-i --list` says what you may"
    return ClusterError(f"{doing}: {said}", hint, status=status)


def _named(one: Object) -> dict[str, str]:
    told = one["metadata"]
    return {"name": told["name"], **({"namespace": told["namespace"]} if "namespace" in told else {})}


def _short(error: BaseException) -> str:
    reason = getattr(error, "reason", None)
    return _short(reason) if isinstance(reason, BaseException) else str(error) or type(error).__name__
