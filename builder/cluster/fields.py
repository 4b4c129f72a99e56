"""An object as a server has it → what one field manager said of it (Kubernetes, "Server-Side Apply", fieldsV1)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def owned(one: Mapping[str, Any], manager: str) -> dict[str, Any]:
    """What a manager has applied; nothing if it has applied nothing."""
    for entry in one["metadata"].get("managedFields") or ():
        if (entry["manager"], entry["operation"]) == (manager, "Apply"):
            found = _part(one, entry["fieldsV1"])
            return found if isinstance(found, dict) else {}
    return {}


def _part(value: Any, fields: Mapping[str, Any]) -> Any:
    inner = {key: part for key, part in fields.items() if key != "."}
    if not inner:
        # A leaf, or a list that has one owner as a whole; with "." alone all that is in it is somebody else's.
        return value if "." not in fields else type(value)()
    if isinstance(value, Mapping):
        named = ((key.removeprefix("f:"), part) for key, part in inner.items())
        return {name: _part(value[name], part) for name, part in named if name in value}
    return [each for key, part in inner.items() for each in _members(value, key, part)]


def _members(value: list[Any], key: str, fields: Mapping[str, Any]) -> list[Any]:
    kind, _, text = key.partition(":")
    meant = json.loads(text)
    if kind == "v":
        return [each for each in value if each == meant]
    return [_part(each, fields) for each in value if meant.items() <= each.items()]
