"""Plain data with places → the model; all problems of a file at once, with the nearest right names."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from dsl import document, model
from dsl.document import Document, Path_
from dsl.errors import DefinitionError, Place, Problem

M = TypeVar("M", bound=model.Node)

_EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "mapping_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
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
        return kind.model_validate(source.data)
    except ValidationError as error:
        raise DefinitionError(_problems(source, kind, error)) from None


def _problems(source: Document, kind: type[BaseModel], error: ValidationError) -> tuple[Problem, ...]:
    found: dict[tuple[Path_, str], Problem] = {}
    unions: dict[Path_, list[str]] = {}
    for one in error.errors(include_url=False):
        path, in_union = _path(source, one["loc"], one["type"] == "missing")
        if in_union:
            unions.setdefault(path, []).append(_describe(one))
        problem = _problem(source, kind, path, one)
        found.setdefault((path, "" if in_union else problem.code), problem)
    for path, said in unions.items():
        if len(said) > 1 and (path, "") in found:
            place = source.place(path)
            expected = " or ".join(dict.fromkeys(said))
            found[path, ""] = source.problem(
                place, "type", f"{_where(path)}: expected {expected}, found {_found(source, path)}"
            )
    return tuple(found.values())


def _path(source: Document, location: tuple[Any, ...], missing: bool) -> tuple[Path_, bool]:
    # pydantic's location also names union members and `[key]`; only what the document has is a path of it.
    path: Path_ = ()
    extra = False
    data = source.data
    for index, part in enumerate(location):
        if part == "[key]":
            continue
        in_list = isinstance(data, tuple) and isinstance(part, int) and part < len(data)
        if in_list or (isinstance(data, dict) and part in data):
            data, path = data[part], (*path, part)
        elif missing and index == len(location) - 1:
            path = (*path, part)
        else:
            extra = True
    return path, extra


def _problem(source: Document, kind: type[BaseModel], path: Path_, one: Any) -> Problem:
    if one["type"] == "extra_forbidden":
        name = str(path[-1])
        near = _near(name, _known_keys(kind, path[:-1]))
        return source.problem(
            source.key_place(path), "unknown-key", f"{_where(path[:-1])}: there is no key {name!r}", near
        )
    if one["type"] == "missing":
        place = source.key_place(path[:-1]) if len(path) > 1 else Place(source.file)
        return source.problem(place, "missing", f"{_where(path[:-1])}: the key {path[-1]!r} is missing")
    if one["loc"] and one["loc"][-1] == "[key]":
        message = f"{_where(path[:-1])}: {path[-1]!r} cannot be a name here: {_describe(one)}"
        return source.problem(source.key_place(path), "name", message)
    place = source.place(path)
    hint = ""
    if one["type"] in ("literal_error", "enum"):
        expected = one["ctx"]["expected"]
        hint = _near(str(one["input"]), [word.strip("'") for word in expected.replace(" or ", ", ").split(", ")])
    code = "value" if one["type"] not in _EXPECTED else "type"
    return source.problem(place, code, f"{_where(path)}: expected {_describe(one)}, found {_found(source, path)}", hint)


def _describe(one: Any) -> str:
    context = one.get("ctx", {})
    match one["type"]:
        case "string_pattern_mismatch":
            return f"text like {context['pattern']}"
        case "literal_error" | "enum":
            return str(context["expected"])
        case "too_short":
            return f"at least {context['min_length']} of them"
        case "greater_than_equal":
            return f"at least {context['ge']}"
        case "less_than_equal":
            return f"at most {context['le']}"
        case "string_too_long":
            return f"at most {context['max_length']} characters"
        case "string_too_short":
            return "text that is not empty"
        case other if other in _EXPECTED:
            return _EXPECTED[other]
        case _:
            return str(one["msg"])


def _found(source: Document, path: Path_) -> str:
    data = source.data
    for part in path:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return "nothing"
    match data:
        case None:
            return "nothing"
        case bool():
            return str(data).lower()
        case int():
            return f"the number {data}"
        case str():
            return repr(data if len(data) <= 60 else data[:57] + "…")
        case tuple():
            return "a list"
        case _:
            return "a mapping"


def _where(path: Path_) -> str:
    return ".".join(str(part) for part in path) if path else "the document"


def _near(name: str, known: list[str]) -> str:
    match = difflib.get_close_matches(name, known, 1, 0.6)
    if match:
        return f"did you mean {match[0]!r}?"
    return f"known are: {', '.join(sorted(known))}" if known else ""


def _known_keys(kind: type[BaseModel], path: Path_) -> list[str]:
    models: list[type[BaseModel]] = [kind]
    for part in path:
        following: list[type[BaseModel]] = []
        for one in models:
            field = next((f for n, f in one.model_fields.items() if (f.alias or n) == part), None)
            if field is not None:
                following += _models(field.annotation)
        # A mapping of named things: the name is no field, and the models stay.
        models = following or models
    return [field.alias or name for one in models for name, field in one.model_fields.items()]


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in get_args(annotation) for found in _models(part)]
