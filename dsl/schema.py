"""The model → JSON Schema (2020-12), with the fields' docstrings as descriptions.

``python -m dsl.schema`` writes the schema that ships.
"""

from __future__ import annotations

import ast
import inspect
import json
from functools import cache
from pathlib import Path
from typing import Any

from pydantic.json_schema import models_json_schema

from dsl import model

KINDS: dict[str, type[model.Node]] = {
    "component": model.Component,
    "layer": model.LayerDefinition,
    "workspace": model.Workspace,
    "overlay": model.Overlay,
}
SHIPPED = Path(__file__).with_name("imgbuild.schema.json")


@cache
def descriptions() -> dict[str, dict[str, str]]:
    """The docstring of each field, by class and field; inherited ones too."""
    found: dict[str, dict[str, str]] = {}
    for node in ast.parse(inspect.getsource(model)).body:
        if not isinstance(node, ast.ClassDef):
            continue
        fields: dict[str, str] = {}
        for base in node.bases:
            fields |= found.get(getattr(base, "id", ""), {})
        for statement, following in zip(node.body, node.body[1:], strict=False):
            if isinstance(statement, ast.AnnAssign) and isinstance(following, ast.Expr):
                assert isinstance(statement.target, ast.Name)
                fields[statement.target.id.rstrip("_")] = ast.literal_eval(following.value)
        found[node.name] = fields
    return found


def of(kind: str) -> dict[str, Any]:
    """The schema of one kind of document."""
    whole = everything()
    chosen = whole["$defs"][KINDS[kind].__name__]
    return {
        "$schema": whole["$schema"],
        "title": chosen["title"],
        "$ref": f"#/$defs/{KINDS[kind].__name__}",
        "$defs": whole["$defs"],
    }


def everything() -> dict[str, Any]:
    """One schema for all documents: the key that names the kind decides."""
    for kind in KINDS.values():
        kind.model_rebuild()
    _, schema = models_json_schema([(kind, "validation") for kind in KINDS.values()], by_alias=True)
    for name, definition in schema["$defs"].items():
        for key, text in descriptions().get(name, {}).items():
            if key in definition.get("properties", {}):
                definition["properties"][key]["description"] = text
    _close(schema["$defs"])
    branches = [
        {"if": {"required": [kind]}, "then": {"$ref": f"#/$defs/{node.__name__}"}} for kind, node in KINDS.items()
    ]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "imgbuild definitions",
        "type": "object",
        "anyOf": [{"required": [kind]} for kind in KINDS],
        "allOf": branches,
        "$defs": schema["$defs"],
    }


def _close(schema: Any) -> None:
    # A mapping whose keys have a pattern has no others.
    for part in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        _close(part)
    if isinstance(schema, dict) and isinstance(schema.get("patternProperties"), dict):
        schema.setdefault("additionalProperties", False)


def text() -> str:
    """The schema as the file that ships."""
    return json.dumps(everything(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    SHIPPED.write_text(text())
