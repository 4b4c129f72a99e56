"""Secrets that a cluster has already → what they hold."""

from __future__ import annotations

import base64
from collections.abc import Callable

from builder.pipeline import applying
from builder.pipeline.applying import Api
from builder.pipeline.sites import SiteFile
from dsl.errors import nearest


def reader(api: Api, file: SiteFile) -> Callable[[str], str]:
    """What reads one of a site's ``secrets`` by its name, in the site's namespace.

    It raises DefinitionError where there is no such Secret or key, at the place of the site's file.
    """
    namespace = applying.named(file.site).namespace

    def ask(name: str) -> str:
        told = file.site.secrets[name]
        found = api.get(
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": told.secret, "namespace": namespace}}
        )
        if found is None:
            message = f"there is no Secret {told.secret!r} in the namespace {namespace!r}"
            raise file.problem(("secrets", name, "secret"), "unknown-name", message, "make it there first")
        data = found.get("data") or {}
        at = ("secrets", name, "key")
        if told.key not in data:
            message = f"the Secret {told.secret!r} has no key {told.key!r}"
            raise file.problem(at, "unknown-name", message, nearest(told.key, data))
        try:
            return base64.b64decode(data[told.key]).decode()
        except ValueError:
            message = f"what the Secret {told.secret!r} has as {told.key!r} is no text"
            raise file.problem(at, "value", message) from None

    return ask
