"""The model → the language's reference for people: ``python -m dsl.reference`` writes ``docs/language.md``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dsl import schema

TARGET = Path(__file__).parent.parent / "docs" / "language.md"
_HEAD = """# The language

Made from `dsl/model.py` by `python -m dsl.reference`; the JSON Schema for editors is printed by `imgbuild schema`.

A definition is data: YAML that any tool can read. A component repo has a `component.yaml` ([Component](#component)),
a layer definition a `layer.yaml` ([LayerDefinition](#layerdefinition)), a workspace an `imgbuild.yaml`
([Workspace](#workspace)), a site's changes an `overlay.yaml` ([Overlay](#overlay)); what runs together somewhere is
said by a `site.yaml` ([Site](#site)).
"""


def text() -> str:
    """The reference as the file in ``docs/``."""
    definitions = schema.everything()["$defs"]
    parts = [_HEAD]
    for name, definition in definitions.items():
        if "properties" not in definition:
            continue
        summary = " ".join(definition.get("description", "").split())
        parts.append(f"\n## {name}\n\n{summary}\n\n| key | type | default | what it says |\n|---|---|---|---|\n")
        required = set(definition.get("required", ()))
        for key, field in definition["properties"].items():
            mark = " (required)" if key in required else ""
            said = " ".join(field.get("description", "").split()).replace("|", "\\|")
            parts.append(f"| `{key}`{mark} | {_type(field)} | {_default(field)} | {said} |\n")
    return "".join(parts)


def _default(field: dict[str, Any]) -> str:
    default = field.get("default")
    # What is empty goes without saying, and a mapping has a section of its own.
    told = default is False or (default and not isinstance(default, dict))
    return f"`{json.dumps(default)}`" if told else ""


def _type(field: dict[str, Any]) -> str:
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if "anyOf" in field:
        return " or ".join(dict.fromkeys(_type(one) for one in field["anyOf"] if one.get("type") != "null"))
    match field.get("type"):
        case "array":
            return f"list of {_type(field.get('items', {}))}"
        case "object":
            values: Any = field.get("additionalProperties") or next(
                iter(field.get("patternProperties", {}).values()), {}
            )
            return f"mapping to {_type(values)}" if isinstance(values, dict) and values else "mapping"
        case "integer":
            return "number"
        case "boolean":
            return "`true` or `false`"
        case "string":
            return "text"
        case _:
            return "anything"


if __name__ == "__main__":
    TARGET.write_text(text())
