"""YAML text → plain data, and the place of every path in it.

Definitions are data that any tool can read the same way, so whatever YAML 1.1 and 1.2 readers disagree on
(``yes``, ``1.10``, duplicate keys, tags of languages) is a problem here, told at its place.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from dsl.errors import DefinitionError, Place, Problem

MAX_BYTES = 4 * 1024 * 1024
MAX_VALUES = 50_000
"""How many values a document may have once its aliases are expanded."""
MAX_DEPTH = 100
_SURELY_SHALLOW = 1000

Path_ = tuple[str | int, ...]
"""Where a value stands in a document: keys and list positions."""

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_OLD_BOOLEANS = frozenset({"yes", "no", "on", "off", "y", "n"})
_STR, _INT, _NULL, _BOOL = (f"tag:yaml.org,2002:{name}" for name in ("str", "int", "null", "bool"))


@dataclass(frozen=True, slots=True)
class Document:
    """A file's data with its places.

    Attributes:
        data: mappings, tuples, strings, numbers, booleans, None.
        places: of every value, by path; a mapping's value, not its key.
        keys: the places of the mappings' keys, by the path of the value.
        lines: the file's text.
        others: the text of the overlays that changed it, by file.
    """

    file: Path
    data: Any
    places: Mapping[Path_, Place] = field(default_factory=dict)
    keys: Mapping[Path_, Place] = field(default_factory=dict)
    lines: tuple[str, ...] = ()
    others: Mapping[Path, tuple[str, ...]] = field(default_factory=dict)

    def value(self, path: Path_) -> Any:
        """The value that stands at a path."""
        data = self.data
        for part in path:
            data = data[part]
        return data

    def place(self, path: Path_) -> Place:
        """Where a value stands; that of the nearest value around it if it is not there."""
        for end in range(len(path), -1, -1):
            if path[:end] in self.places:
                return self.places[path[:end]]
        return Place(self.file)

    def key_place(self, path: Path_) -> Place:
        """Where the key of a value stands."""
        return self.keys.get(path) or self.place(path)

    def line(self, place: Place) -> str:
        """The source line of a place."""
        lines = self.others.get(place.file, self.lines)
        return lines[place.line - 1] if place.line <= len(lines) else ""

    def problem(self, place: Place, code: str, message: str, hint: str = "") -> Problem:
        """A problem at a place, with its source line."""
        return Problem(place, code, message, hint, self.line(place))


def read(file: Path) -> Document:
    """Read a file of definitions.

    Raises:
        DefinitionError: it is no such file, or its YAML has problems; all of them.
    """
    return parse(_text(file), file)


def parse(text: str, file: Path) -> Document:
    """The data of a text.

    Args:
        file: what places name.

    Raises:
        DefinitionError: its YAML has problems.
    """
    lines = tuple(re.split(r"\r\n|\n|\r", text))
    document = Document(file, None, lines=lines)
    tabs = tuple(
        document.problem(Place(file, number, len(line) - len(line.lstrip()) or 1), "tab",
                         "a tab indents this line", "YAML wants spaces")
        for number, line in enumerate(lines, start=1)
        if "\t" in line[: len(line) - len(line.lstrip())]
    )  # fmt: skip
    try:
        _require_shallow(document, text)
        loader = _Loader(text)
        try:
            root = loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise DefinitionError(tabs or (_yaml_problem(document, error),)) from None
    except (RecursionError, ValueError) as error:
        raise DefinitionError((document.problem(Place(file), "syntax", f"this cannot be read: {error}"),)) from None
    if root is None:
        raise DefinitionError((document.problem(Place(file), "empty", "the file is empty"),))
    builder = _Builder(document)
    data = builder.build(root, (), 0)
    if builder.problems:
        raise DefinitionError(tuple(builder.problems))
    return Document(file, data, builder.places, builder.keys, lines)


def _require_shallow(document: Document, text: str) -> None:
    # libyaml's composer recurses in C: text nested deeply enough would end the process, not raise an exception.
    # A level takes a bracket, or a column of some line (twice, as a list may stand at its key's column).
    if text.count("[") + text.count("{") + 2 * max(map(len, document.lines)) <= _SURELY_SHALLOW:
        return
    depth = 0
    events: Any = yaml.parse(text, Loader=_Loader)
    for count, event in enumerate(events):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        place = Place(document.file, event.start_mark.line + 1, event.start_mark.column + 1)
        if depth > MAX_DEPTH:
            raise DefinitionError((document.problem(place, "too-deep", f"nested more than {MAX_DEPTH} deep"),))
        if count > 2 * MAX_VALUES:
            raise DefinitionError((document.problem(place, "too-many", f"more than {MAX_VALUES} values"),))


def _text(file: Path) -> str:
    def fail(code: str, message: str, hint: str = "") -> DefinitionError:
        return DefinitionError((Problem(Place(file), code, message, hint),))

    try:
        if file.is_dir():
            raise fail("not-a-file", "this is a folder, a file is expected")
        if file.exists() and not file.is_file():  # a pipe would be waited for, a device never ends
            raise fail("not-a-file", "this is a pipe or a device, a file is expected")
        with file.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise fail("not-found", "there is no such file") from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise fail("link-loop", "its symbolic links go in a circle") from None
        raise fail("unreadable", f"it cannot be read: {error.strerror}") from None
    except RuntimeError:  # Python 3.11 tells a loop of links so
        raise fail("link-loop", "its symbolic links go in a circle") from None
    if len(raw) > MAX_BYTES:
        raise fail("too-large", f"it is larger than {MAX_BYTES // 1024 // 1024} MiB: this is no definition")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        line, column = before.count(b"\n") + 1, len(before) - (before.rfind(b"\n") + 1) + 1
        message = f"byte 0x{raw[error.start]:02x} is not UTF-8"
        problem = Problem(Place(file, line, column), "not-utf-8", message, "save the file as UTF-8")
        raise DefinitionError((problem,)) from None


def _yaml_problem(document: Document, error: yaml.YAMLError) -> Problem:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    place = Place(document.file, mark.line + 1, mark.column + 1) if mark else Place(document.file)
    said = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    context = getattr(error, "context", None)
    if "expected a single document" in f"{said} {context}":
        return document.problem(place, "documents", "a second document begins here", "one file, one document")
    if "nesting depth" in said:  # newer libyaml counts flow levels itself
        return document.problem(place, "too-deep", f"nested more than {MAX_DEPTH} deep")
    return document.problem(place, "syntax", f"not YAML: {said}" + (f" ({context})" if context else ""))


class _Builder:
    """Nodes → data; collects places and problems."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.places: dict[Path_, Place] = {}
        self.keys: dict[Path_, Place] = {}
        self.problems: list[Problem] = []
        self.count = 0
        self.open: set[int] = set()

    def fail(self, node: Any, code: str, message: str, hint: str = "") -> None:
        self.problems.append(self.document.problem(self.place(node), code, message, hint))

    def place(self, node: Any) -> Place:
        return Place(self.document.file, node.start_mark.line + 1, node.start_mark.column + 1)

    def build(self, node: Any, path: Path_, depth: int) -> Any:
        self.places[path] = self.place(node)
        self.count += 1
        if self.count == MAX_VALUES:
            self.fail(node, "too-many", f"more than {MAX_VALUES} values, counting each use of an anchor")
        if self.count >= MAX_VALUES:
            return None
        if depth > MAX_DEPTH:
            self.fail(node, "too-deep", f"nested more than {MAX_DEPTH} deep")
            return None
        if id(node) in self.open:
            self.fail(node, "anchor-loop", "an anchor contains itself")
            return None
        if isinstance(node, yaml.ScalarNode):
            return self.scalar(node)
        self.open.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode):
                if node.tag != "tag:yaml.org,2002:seq":
                    self.tag(node)
                return tuple(self.build(item, (*path, i), depth + 1) for i, item in enumerate(node.value))
            if node.tag != "tag:yaml.org,2002:map":
                self.tag(node)
            return self.mapping(node, path, depth)
        finally:
            self.open.discard(id(node))

    def mapping(self, node: Any, path: Path_, depth: int) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self.fail(key, "key", "a key must be text")
                continue
            if key.tag == "tag:yaml.org,2002:merge":
                self.fail(key, "merge-key", "`<<` is no part of YAML 1.2", "write the keys out, or use `extends`")
                continue
            name = self.scalar(key)
            if not isinstance(name, str):
                if name is not None:
                    self.fail(key, "key", f"a key must be text, this is {_kind(name)}", f'quote it: "{key.value}"')
                name = key.value
            if name in data:
                first = self.keys[(*path, name)]
                self.fail(key, "duplicate-key", f"{name!r} is here a second time", f"the first is in line {first.line}")
                continue
            self.keys[(*path, name)] = self.place(key)
            data[name] = self.build(value, (*path, name), depth + 1)
        return data

    def tag(self, node: Any) -> None:
        short = node.tag.replace("tag:yaml.org,2002:", "!!")
        self.fail(node, "tag", f"the tag {short} is not allowed", "a definition is plain data")

    def scalar(self, node: Any) -> Any:
        text, tag = node.value, node.tag
        if "\0" in text:
            self.fail(node, "nul", "a NUL character")
            return None
        if tag == _STR:
            return text
        if node.style is not None and not tag.startswith("tag:yaml.org,2002:"):
            self.tag(node)
            return None
        if tag == _NULL:
            return None
        if tag == _BOOL:
            if text.lower() in _OLD_BOOLEANS:
                self.fail(node, "boolean", f"{text!r} is a boolean to some readers and text to others",
                          f'write true or false, or quote it: "{text}"')  # fmt: skip
                return None
            return text.lower() == "true"
        if tag == _INT and re.fullmatch(r"[-+]?(0|[1-9][0-9]*)", text) and len(text) < 20:
            return int(text)
        if tag == _INT:
            self.fail(
                node, "number", f"{text!r} is a number that readers understand differently", f'quote it: "{text}"'
            )
            return None
        if tag == "tag:yaml.org,2002:float":
            self.fail(node, "number", f"{text!r} is a number to YAML: a version would lose its last zero",
                      f'quote it: "{text}"')  # fmt: skip
            return None
        if tag == "tag:yaml.org,2002:timestamp":
            self.fail(node, "date", f"{text!r} is a date to YAML", f'quote it: "{text}"')
            return None
        self.tag(node)
        return None


def _kind(value: Any) -> str:
    return {bool: "a boolean", int: "a number", type(None): "nothing", str: "text", tuple: "a list"}.get(
        type(value), "a mapping"
    )
