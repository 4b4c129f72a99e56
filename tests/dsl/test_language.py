"""The language beside its errors: versions, overlays, schema, and that nothing ends in a traceback."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dsl import catalog, document, loading, model, reader, reference, schema, versions
from dsl.errors import DefinitionError
from tests.dsl.test_broken import CASES, GOOD


@pytest.mark.parametrize(
    ("package", "product"),
    [
        ("2:31.0.0-6+deb13u2", "31.0.0"),
        ("1:11.8.3-0+deb13u1", "11.8.3"),
        ("1.6.38-1", "1.6.38"),
        ("2.0+really1.9-1", "1.9"),
        ("3.1+dfsg1-2", "3.1"),
        ("3.1+ds-2", "3.1"),
        ("1.0~rc1-1", "1.0-rc1"),
        ("1.0+git2-1", "1.0.git2"),
        ("7", "7"),
    ],
)
def test_product_versions(package: str, product: str) -> None:
    assert versions.product_version(package) == product


def test_floating_tags() -> None:
    assert versions.floating_tags("31.0.0") == ("31.0.0", "31.0", "31")


def test_the_highest_in_range() -> None:
    assert versions.highest("^1.0", ["1.0.0", "1.4.2", "2.0.0"]) == "1.4.2"
    assert versions.highest("^3", ["1.0.0"]) is None


@pytest.mark.parametrize("text", ["one", "1.2.3.4", "^1.", "01", "^one"])
def test_what_is_no_range_is_told(text: str) -> None:
    assert versions.check_range(text)


def test_the_schema_that_ships_is_that_of_the_model() -> None:
    assert schema.SHIPPED.read_text() == schema.text()


def test_the_reference_is_that_of_the_model() -> None:
    assert reference.TARGET.read_text() == reference.text()


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(schema.everything())


DEFINITIONS = [
    file
    for name in ("component", "layer", "imgbuild", "overlay")
    for top in ("layers", "repos", "examples")
    for file in sorted((catalog.SHIPPED_LAYERS.parent / top).rglob(f"{name}.yaml"))
]


@pytest.mark.parametrize("file", DEFINITIONS, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_one_schema_is_for_all_files_that_ship(file: Path) -> None:
    whole = jsonschema.Draft202012Validator(schema.everything())
    data = plain(document.read(file).data)
    assert [error.message for error in whole.iter_errors(data)] == []
    assert not whole.is_valid({**data, "sumary": "x"})  # type: ignore[dict-item]


def test_editors_are_told_how_a_file_begins() -> None:
    first = schema.everything()["properties"]
    assert first.keys() == {"dsl", *schema.KINDS}
    assert all(said["description"] for said in first.values())


def test_patterns_have_words_for_editors() -> None:
    def walk(part: object) -> None:
        if isinstance(part, dict):
            assert "pattern" not in part or part.get("patternErrorMessage"), part
            for one in part.values():
                walk(one)
        elif isinstance(part, list):
            for one in part:
                walk(one)

    walk(schema.everything())


def test_every_key_is_described() -> None:
    said = schema.descriptions()
    for name, kind in vars(model).items():
        if isinstance(kind, type) and issubclass(kind, model.Node) and kind is not model.Node:
            missing = {f.rstrip("_") for f in kind.__struct_fields__} - said[name].keys()
            assert not missing, f"{name}: {missing}"


def plain(value: object) -> object:
    """Tuples as JSON's lists."""
    return json.loads(json.dumps(value))


COMPONENT = jsonschema.Draft202012Validator(schema.of("component"))


@pytest.mark.parametrize("name", ["good", *CASES])
def test_the_schema_gives_the_readers_verdict(name: str, tmp_path: Path) -> None:
    case = {"text": GOOD} if name == "good" else CASES[name]
    text = case["text"] if "text" in case else GOOD.replace(case["replace"], case["by"])
    try:
        read = document.parse(text, tmp_path / "component.yaml")
    except DefinitionError:
        return
    try:
        reader.validate(read, model.Component)
        good = True
    except DefinitionError:
        good = False
    assert COMPONENT.is_valid(plain(read.data)) == good


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-1, 70000), st.sampled_from(["", "a", "web", "/x", "x\n", "0640", "5s", "^1"]),
    st.just(()), st.just({}), st.just(("a",)), st.just({"a": "b"}), st.just({"": 1}),
)  # fmt: skip
WHOLE = """dsl: 1
component: web
summary: a web server
version: {from: apt/nginx}
labels: {a: b}
sources: {x: {apt: "http://x", suites: [a], keyring: k, priority: 1}}
layers:
  base: {summary: x, extends: debian-13 ^1.0, users: {web: {uid: 1, groups: [adm]}}, keep: [man], leave_out: [docs]}
images:
  web:
    summary: x
    debconf: {p: {q: true, r: {type: select, value: v}}}
    alternatives: {editor: /bin/ed}
    allow: {root: because}
    folders: {/x: {mode: "0700"}}
    config: {/a: b, /c: {optional: true}}
    run:
      command: [x]
      user: web
      env: {A: b}
      ports: {a: 1, b: {port: 2, protocol: udp}}
      volumes: {a: /x, b: {path: /y}}
      writable: [/x, {path: /y, size: 1Mi}]
      health: {exec: [x], interval: 1s, retries: 2}
      limits: {cpus: "2", pids: 3}
      platform: {capabilities: [NET_ADMIN], host: [pid]}
    steps: {init: {command: [x], writable: [/z]}}
"""


def somewhere_else(data: object, choose: Callable[[int], int], value: object) -> object:
    """The data with another value somewhere, or a key more."""
    if isinstance(data, dict) and data and choose(6):
        keys = [*data, "web"]
        key = keys[choose(len(keys))]
        return {**data, key: somewhere_else(data.get(key), choose, value)}
    if isinstance(data, tuple) and data and choose(4):
        index = choose(len(data))
        return (*data[:index], somewhere_else(data[index], choose, value), *data[index + 1 :])
    return value


@settings(max_examples=200, deadline=None)
@given(st.data(), SCALARS)
def test_types_and_schema_have_one_verdict(data: st.DataObject, value: object) -> None:
    right = document.parse(WHOLE, Path("x"))
    wrong = replace(right, data=somewhere_else(right.data, lambda n: data.draw(st.integers(0, n - 1)), value))
    try:
        reader.validate(wrong, model.Component)
        good = True
    except DefinitionError:
        good = False
    assert good == (reader.problems(wrong, model.Component) == ())


ALPHABET = st.sampled_from([*"dsl:1 \n-[]{}&*!|>'\"#%@`,?yesno.0x\t\\ü\0", "component", "images", "run", "<<"])


@settings(max_examples=300, deadline=None)
@example("? [a]\n: b")
@example("a: !!set {b}")
@example("- &a\n- *a")
@given(st.one_of(st.text(), st.lists(ALPHABET, max_size=60).map("".join)))
def test_no_text_ends_in_a_traceback(text: str) -> None:
    with contextlib.suppress(DefinitionError):
        reader.validate(document.parse(text, Path("x")), model.Component)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_end_in_a_traceback(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "x.yaml"
    path.write_bytes(data)
    with contextlib.suppress(DefinitionError):
        reader.read(path, model.Component)


OVERLAY = """dsl: 1
overlay: acme
components:
  web:
    license: MIT
    images:
      web:
        packages: {apt: {add: [curl], remove: [nginx-light]}}
        files: {/srv/page: null}
        run: {command: [nginx, -q]}
"""


def workspace(folder: Path, overlay: str) -> catalog.Catalog:
    """A workspace with one component and one overlay."""
    for path, text in {
        "imgbuild.yaml": "dsl: 1\nworkspace: w\noverlays: [acme]\n",
        "repos/web/component.yaml": GOOD,
        "acme/overlay.yaml": overlay,
    }.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return loading.load(loading.find(folder))


def test_an_overlay_adds_removes_and_replaces(tmp_path: Path) -> None:
    loaded = workspace(tmp_path, OVERLAY)
    (component,) = loaded.components
    image = component.model.images["web"]
    assert image.packages.apt == ("curl",)
    assert dict(image.files) == {}
    assert image.run.command == ("nginx", "-q")
    assert component.model.license == "MIT"
    assert component.overlay == "acme"
    assert component.lock_path == tmp_path / "acme/web/lock.yaml"
    origins = component.document.places
    assert origins["images", "web", "run", "command"].file == tmp_path / "acme/overlay.yaml"
    assert origins["images", "web", "run", "user"].file == tmp_path / "repos/web/component.yaml"


def test_an_overlay_that_removes_what_is_not_there_is_told(tmp_path: Path) -> None:
    loaded = workspace(tmp_path, OVERLAY.replace("/srv/page: null", "/srv/other: null"))
    (problem,) = loaded.problems
    assert (problem.code, problem.place.line) == ("overlay", 9)


def test_the_definitions_that_ship_are_right() -> None:
    from dsl import checks

    loaded = loading.load(loading.find(Path(__file__).parent.parent.parent))
    assert checks.check(loaded) == ()
    assert {c.name for c in loaded.components} >= {"nova", "keystone", "mariadb", "rabbitmq", "memcached"}
