"""Plain data with places → the model; all problems of a file at once, with the nearest right names.

The types decide whether a document is right (msgspec, quick). What is wrong with one that is not is told by their
JSON Schema, which finds all of it: so an editor with the schema and ``imgbuild check`` say the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from dsl import document, model
from dsl.document import Document, Path_
from dsl.errors import DefinitionError, Place, Problem, nearest

_Error = Any
"""jsonschema's ValidationError, whose every attribute may be unset to a type checker."""

M = TypeVar("M", bound=model.Node)

_KINDS = {
    "string": "text",
    "integer": "a whole number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
    "null": "nothing",
}


def read(file: Path, kind: type[M]) -> M:
    """Read a file as a component, layer definition, workspace or overlay.

    Raises:
        DefinitionError: with every problem of the file.
    """
    return validate(document.read(file), kind)


def validate(source: Document, kind: type[M]) -> M:
    """The model of a document.

    Raises:
        DefinitionError: with every problem of it.
    """
    if not isinstance(source.data, dict):
        place = source.place(())
        raise DefinitionError((source.problem(place, "type", "a mapping of keys is expected here"),))
    number = source.data.get("dsl")
    if isinstance(number, int) and not isinstance(number, bool) and number != model.DSL_VERSION:
        message = f"this imgbuild reads `dsl: {model.DSL_VERSION}`, the file says {number}"
        hint = "use a newer imgbuild" if number > model.DSL_VERSION else "the language begins with 1"
        raise DefinitionError((source.problem(source.place(("dsl",)), "dsl", message, hint),))
    try:
        return msgspec.convert(source.data, kind)
    except msgspec.ValidationError as error:
        unplaced = source.problem(source.place(()), "value", str(error))
        raise DefinitionError(problems(source, kind) or (unplaced,)) from None


def problems(source: Document, kind: type[model.Node]) -> tuple[Problem, ...]:
    """What the schema of a kind says of a document."""
    found: dict[Path_, Problem] = {}
    for error in _validator(kind).iter_errors(source.data):
        for told in _told(error):
            for path, problem in _problems(source, told):
                found.setdefault(path, problem)
    return tuple(found.values())


@cache
def _validator(kind: type[model.Node]) -> Any:
    # Only a broken document pays for these imports.
    from jsonschema import Draft202012Validator, validators

    from dsl import schema

    types = Draft202012Validator.TYPE_CHECKER.redefine("array", lambda _, value: isinstance(value, tuple))
    reading: Any = validators.extend(Draft202012Validator, type_checker=types)  # type: ignore[no-untyped-call]
    return reading(schema.of_node(kind))


def _told(error: _Error) -> Iterator[_Error]:
    # Of a union, what the one member says that the value was meant for; if no member is of its type, the union.
    if error.validator != "anyOf":
        yield error
        return
    members: dict[Any, list[_Error]] = {}
    for one in error.context or ():
        members.setdefault(one.schema_path[0], []).append(one)
    meant = [said for said in members.values() if not any(_is_other_type(one, error) for one in said)]
    if len(meant) != 1:
        yield error
        return
    for one in meant[0]:
        yield from _told(one)


def _is_other_type(one: _Error, union: _Error) -> bool:
    return bool(one.validator == "type" and one.absolute_path == union.absolute_path)


def _problems(source: Document, error: _Error) -> Iterator[tuple[Path_, Problem]]:
    path: Path_ = tuple(error.absolute_path)
    if error.validator == "required":
        place = source.key_place(path) if path else Place(source.file)
        for name in error.validator_value:
            if name not in error.instance:
                message = f"{_where(path)}: the key {name!r} is missing"
                yield (*path, name), source.problem(place, "missing", message)
    elif error.validator == "additionalProperties":
        known = error.schema["properties"]
        for name in error.instance:
            if name not in known:
                message = f"{_where(path)}: there is no key {name!r}"
                place = source.key_place((*path, name))
                yield (*path, name), source.problem(place, "unknown-key", message, nearest(name, known))
    elif "propertyNames" in list(error.absolute_schema_path)[-2:]:
        name = error.instance
        message = f"{_where(path)}: {name!r} cannot be a name here: expected {_expected(error)}"
        yield (*path, name), source.problem(source.key_place((*path, name)), "name", message)
    else:
        code = "type" if error.validator in ("type", "anyOf") else "value"
        hint = nearest(str(error.instance), map(str, error.validator_value)) if error.validator == "enum" else ""
        message = f"{_where(path)}: expected {_expected(error)}, found {_found(error.instance)}"
        yield path, source.problem(source.place(path), code, message, hint)


def _expected(error: _Error) -> str:
    value = error.validator_value
    match error.validator:
        case "type":
            return _KINDS[value]
        case "anyOf":
            said = [_expected(one) for one in error.context or () if one.validator_value != "null"]
            return " or ".join(dict.fromkeys(said))
        case "pattern":
            return str(error.schema.get("patternErrorMessage", f"text like {value}"))
        case "enum":
            words = [repr(one) for one in value]
            return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))
        case "minItems" | "minProperties":
            return f"at least {value} of them"
        case "minimum":
            return f"at least {value}"
        case "maximum":
            return f"at most {value}"
        case "maxLength":
            return f"at most {value} characters"
        case _:
            return f"{error.validator} {value}"


def _found(value: Any) -> str:
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case int():
            return f"the number {value}"
        case str():
            return repr(value if len(value) <= 60 else value[:57] + "…")
        case tuple():
            return "a list" if value else "an empty list"
        case _:
            return "a mapping" if value else "an empty mapping"


def _where(path: Path_) -> str:
    return ".".join(str(part) for part in path) if path else "the document"
