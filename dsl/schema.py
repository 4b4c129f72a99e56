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

import msgspec

from dsl import model

KINDS: dict[str, type[model.Node]] = {
    "component": model.Component,
    "layer": model.LayerDefinition,
    "workspace": model.Workspace,
    "overlay": model.Overlay,
    "site": model.Site,
}
DIALECT = "https://json-schema.org/draft/2020-12/schema"
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
    return of_node(KINDS[kind])


def of_node(node: type[model.Node]) -> dict[str, Any]:
    """The schema of one kind of document, by its type."""
    found = _definitions()
    return {
        "$schema": DIALECT,
        "title": node.__name__,
        "$ref": f"#/$defs/{node.__name__}",
        "$defs": found,
    }


def everything() -> dict[str, Any]:
    """One schema for all documents: the key that names the kind decides."""
    found = _definitions()
    branches = [
        {"if": {"required": [kind]}, "then": {"$ref": f"#/$defs/{node.__name__}"}} for kind, node in KINDS.items()
    ]
    # What editors offer in a file that does not say yet what it is.
    first = {kind: found[node.__name__]["properties"][kind] for kind, node in KINDS.items()}
    return {
        "$schema": DIALECT,
        "title": "imgbuild definitions",
        "type": "object",
        "properties": {"dsl": found["Component"]["properties"]["dsl"]}
        | {kind: {**said, "description": f"{KINDS[kind].__doc__}".partition("\n")[0]} for kind, said in first.items()},
        "anyOf": [{"required": [kind]} for kind in KINDS],
        "allOf": branches,
        "$defs": found,
    }


def _definitions() -> dict[str, Any]:
    _, found = msgspec.json.schema_components(KINDS.values(), ref_template="#/$defs/{name}")
    for name, definition in found.items():
        for key, text in descriptions().get(name, {}).items():
            definition["properties"][key]["description"] = text
    return found


def text() -> str:
    """The schema as the file that ships."""
    return json.dumps(everything(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    SHIPPED.write_text(text())
