"""A site's changes: what comes of them, and where each value is from."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from dsl import checks, loading, overlay
from dsl.catalog import Catalog
from dsl.document import Document, parse
from dsl.errors import DefinitionError
from tests.kit.project import project

COMPONENT = """dsl: 1
component: web
summary: a web server
version: "1.0"
images:
  web:
    summary: serves pages
    extends: debian-13 ^1.0
    packages: {apt: [nginx-light, curl (>= 8)]}
    users: {web: {uid: 4000}}
    files:
      /srv/page: {from: page}
      /srv/other: {content: hello}
    run:
      command: [nginx, -q, -q]
      user: web
      ports: {http: 8080}
      writable:
        - {path: /run/web, owner: web}
        - {path: /tmp, mode: "1777"}
        - /var/cache
      health: {http: http}
    config:
      /etc/web.conf: web.j2
"""


def changed(*overlays: str) -> Document:
    """The component after some overlays, each the text of `images.web`."""
    base = parse(COMPONENT, Path("up/component.yaml"))
    for number, text in enumerate(overlays, start=1):
        base = overlay.apply(base, parse(text, Path(f"o{number}/overlay.yaml")), ())
    return base


def origins(document: Document, *path: str) -> dict[str, str]:
    """Where the values below a path come from."""
    return {
        ".".join(map(str, at[len(path) :])): f"{place.file.parent}:{place.line}:{place.column}"
        for at, place in document.places.items()
        if at[: len(path)] == path
    }


def test_several_overlays_each_keep_their_origin() -> None:
    read = changed(
        "images: {web: {run: {ports: {http: 80, https: 443}, health: {http: https}}}}",
        "images:\n  web:\n    run: {ports: {https: {port: 8443, summary: TLS}}}",
    )
    assert read.value(("images", "web", "run", "ports")) == {"http": 80, "https": {"port": 8443, "summary": "TLS"}}
    assert origins(read, "images", "web", "run", "ports") == {
        "": "up:17:14",
        "http": "o1:1:36",
        "https": "o2:3:26",
        "https.port": "o2:3:33",
        "https.summary": "o2:3:48",
    }
    assert origins(read, "images", "web", "run", "health") == {"": "up:22:15", "http": "o1:1:68"}
    assert read.line(read.place(("images", "web", "run", "ports", "https", "port"))).startswith("    run: {ports")


def test_lists_keep_the_places_of_what_stays() -> None:
    read = changed("images: {web: {run: {writable: {remove: [/tmp], add: [{path: /var/cache, owner: web}, /x]}}}}")
    assert read.value(("images", "web", "run", "writable")) == (
        {"path": "/run/web", "owner": "web"},
        {"path": "/var/cache", "owner": "web"},
        "/x",
    )
    assert origins(read, "images", "web", "run", "writable") == {
        "": "o1:1:32",
        "0": "up:19:11",
        "0.path": "up:19:18",
        "0.owner": "up:19:35",
        "1": "o1:1:55",
        "1.path": "o1:1:62",
        "1.owner": "o1:1:81",
        "2": "o1:1:87",
    }


@pytest.mark.parametrize(
    ("change", "path", "value"),
    [
        ("{packages: {apt: {add: [curl (>= 9)]}}}", "packages.apt", ("nginx-light", "curl (>= 9)")),
        ("{packages: {apt: {remove: [curl]}}}", "packages.apt", ("nginx-light",)),
        ("{run: {command: {add: [-v]}}}", "run.command", ("nginx", "-q", "-q", "-v")),
        ("{run: {groups: {add: [adm]}}}", "run.groups", ("adm",)),
        ("{steps: {init: {command: [x], needs: {add: [database]}}}}", "steps.init.needs", ("database",)),
        ("{packages: {apt: [nginx]}}", "packages.apt", ("nginx",)),
        ("{files: {/srv/other: {content: bye}}}", "files./srv/other", {"content": "bye"}),
        ("{files: {/srv/other: null}}", "files", {"/srv/page": {"from": "page"}}),
    ],
)
def test_a_change_gives(change: str, path: str, value: Any) -> None:
    read = changed(f"images: {{web: {change}}}")
    assert read.value(("images", "web", *path.split("."))) == value
    assert {at for at in read.places if at} == paths(read.data)


def paths(data: Any, at: tuple[Any, ...] = ()) -> set[tuple[Any, ...]]:
    """The path of every value."""
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, tuple) else ()
    return {at for _ in (at,) if at}.union(*(paths(value, (*at, key)) for key, value in inner))


@pytest.mark.parametrize(
    ("change", "column", "message"),
    [
        ("{files: {/nowhere: null}}", 24, "'/nowhere' cannot be taken away: it is not there"),
        ("{packages: {apt: {remove: [vim]}}}", 42, "'vim' cannot be taken away: it is not there"),
        ("{run: {writable: {remove: [{path: /nowhere}]}}}", 42, "this cannot be taken away: it is not there"),
        ("{run: {writable: {add: /x}}}", 33, "'add' wants a list"),
        ("{run: {groups: {remove: [adm]}}}", 40, "'adm' cannot be taken away: it is not there"),
    ],
)
def test_what_cannot_be_changed_is_told(change: str, column: int, message: str) -> None:
    with pytest.raises(DefinitionError) as raised:
        changed(f"images: {{web: {change}}}")
    (problem,) = raised.value.problems
    assert (problem.code, problem.message, str(problem.place)) == ("overlay", message, f"o1/overlay.yaml:1:{column}")
    assert problem.source_line.endswith(f"{change}}}")


KEYS = st.sampled_from(["add", "remove", "images", "web", "run", "writable", "command", "packages", "apt", "path", "x"])
CHANGES = st.recursive(
    st.one_of(st.none(), st.integers(), st.sampled_from(["/tmp", "curl", "nginx", "-q", "x y"])),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(CHANGES, st.sampled_from([(), ("images",), ("images", "web"), ("images", "web", "run")]))
def test_whatever_is_changed_every_value_has_its_place(change: Any, at: tuple[str, ...]) -> None:
    for key in reversed(at):
        change = {key: change}
    text = yaml.safe_dump(change)
    with contextlib.suppress(DefinitionError):
        read = changed(text, text)
        assert read.places.keys() - {()} == paths(read.data)
        assert {at for at in read.keys if at not in read.places} == set()
        assert all(read.line(place) for place in read.places.values())


def workspace(folder: Path, change: str) -> Catalog:
    """The component with an overlay that brings files."""
    files = {
        "imgbuild.yaml": "dsl: 1\nworkspace: w\noverlays: [sites/acme]\n",
        "repos/web/component.yaml": COMPONENT,
        "repos/web/page": "upstream",
        "repos/web/web.j2": "upstream",
        "sites/acme/overlay.yaml": f"dsl: 1\noverlay: acme\ncomponents:\n  web:\n    images:\n      web: {change}\n",
        "sites/acme/page": "acme",
        "sites/acme/bad.j2": "a\n{% if %}\n",
    }
    project(folder, files)
    return loading.load(loading.find(folder))


def test_files_lie_beside_the_text_that_names_them(tmp_path: Path) -> None:
    loaded = workspace(tmp_path, "{files: {/srv/new: {from: page}, /srv/page: {mode: '0600'}}}")
    assert checks.check(loaded) == ()
    (image,) = loaded.find("web")
    assert image.beside("files", "/srv/page", "from").read_text() == "upstream"
    assert image.beside("files", "/srv/new", "from").read_text() == "acme"


@pytest.mark.parametrize(
    ("change", "place", "message"),
    [
        ("{run: {user: [x]}}", "overlay.yaml:6:25", "images.web.run.user: expected text, found a list"),
        ("{run: {usr: x}}", "overlay.yaml:6:19", "images.web.run: there is no key 'usr'"),
        ("{extends: debian-31 ^1}", "overlay.yaml:6:22", "there is no layer definition 'debian-31'"),
        ("{run: {command: [env, sh]}}", "overlay.yaml:6:34", "a shell as command (sh) in an image is refused"),
        ("{files: {/x: {from: nowhere}}}", "overlay.yaml:6:32", "there is no file 'nowhere' beside the definition"),
        ("{run: {user: null}}", "overlay.yaml:6:13", "images.web.run: the key 'user' is missing"),
        (
            "{config: {/etc/web.conf: bad.j2}}", "bad.j2:2:1",
            "not a Jinja2 template: Expected an expression, got 'end of statement block'",
        ),
    ],
)  # fmt: skip
def test_errors_in_changed_values_name_the_overlay(tmp_path: Path, change: str, place: str, message: str) -> None:
    loaded = workspace(tmp_path, change)
    (problem,) = checks.check(loaded)
    found = f"{problem.place.file.name}:{problem.place.line}:{problem.place.column}"
    assert (found, problem.message) == (place, message)
    assert problem.source_line
    if problem.place.file.name == "overlay.yaml":
        assert problem.source_line.endswith(change)


def test_a_change_of_what_is_not_there_stops_every_target(tmp_path: Path) -> None:
    workspace(tmp_path, "{}")
    overlay_file = tmp_path / "sites/acme/overlay.yaml"
    overlay_file.write_text(overlay_file.read_text().replace("  web:\n    images", "  wep:\n    images"))
    loaded = loading.load(loading.find(tmp_path))
    with pytest.raises(DefinitionError) as raised:
        loaded.find("web")
    assert [p.hint for p in raised.value.problems] == ["did you mean 'web'?"]
