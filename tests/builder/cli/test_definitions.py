"""check, show and list as a user runs them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.dsl.test_broken import GOOD
from tests.kit.project import Run, imgbuild, project

SITE = {
    "imgbuild.yaml": "dsl: 1\nworkspace: w\noverlays: [one, two]\n",
    "repos/web/component.yaml": GOOD,
    "repos/bad/component.yaml": GOOD.replace("web", "bad").replace("[nginx]", "[sh]"),
    "repos/mute/component.yaml": "dsl: [\n",
    "one/overlay.yaml": "dsl: 1\noverlay: one\ncomponents: {web: {images: {web: {run: {env: {A: a, B: b}}}}}}\n",
    "two/overlay.yaml": "dsl: 1\noverlay: two\ncomponents:\n  web: {images: {web: {run: {env: {B: c}}}}}\n",
}


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A workspace with a good component, one that is refused and one that cannot be read."""
    return project(tmp_path / "site", SITE)


def run(site: Path, *words: str) -> Run:
    """imgbuild in the site."""
    return imgbuild("-C", str(site), *words, cache=site.parent / "cache")


def test_check_shows_the_place_and_the_line(site: Path) -> None:
    ended = run(site, "check")
    assert (ended.code, ended.output) == (2, "")
    file = site / "repos/bad/component.yaml"
    assert ended.errors.startswith(
        f"{file}:16:17: error: a shell as command (sh) in an image is refused\n"
        "          command: [sh]\n"
        "                    ^\n"
        "    hint: if it must be, say why: allow: {shell: the reason}\n"
    )
    assert f"{site}/repos/mute/component.yaml:2:1: error: not YAML" in ended.errors


VEX = """\
{"@context": "https://openvex.dev/ns/v0.2.0", "@id": "urn:x", "author": "A", "version": 1,
 "timestamp": "2026-11-01T12:00:00Z",
 "statements": [
  {"vulnerability": {"name": "CVE-1"}, "products": [{"@id": "pkg:oci/web"}], "status": "fixed"},
  {"vulnerability": {"name": "CVE-2"}, "products": [{"@id": "pkg:oci/web"}], "status": "fine"},
  {"vulnerability": {"name": "CVE-3"}, "status": "fixed"}]}
"""


def test_check_reads_what_was_decided(site: Path) -> None:
    project(site, {
        "security/holds.yaml": "holds:\n- {package: openssl, because: it breaks}\n- {package: perl, until: soon}\n",
        "security/withdrawn.yaml": "withdrawn:\n- {image: web, tag: 1-r1, because: it hangs, sucessor: 1-r2}\n",
        "security/vex.openvex.json": VEX,
    })  # fmt: skip
    problems = json.loads(run(site, "check", "--json").output)["problems"]
    mine = [(p["file"], p["line"], p["column"], p["message"]) for p in problems if p["code"] == "decision"]
    assert mine == [
        (f"{site}/security/holds.yaml", 3, 3, "this entry has no `because`"),
        (f"{site}/security/holds.yaml", 3, 26, "`until` is 'soon': this is no day"),
        (f"{site}/security/vex.openvex.json", 5, 3, "statement 2: its status is 'fine'"),
        (f"{site}/security/vex.openvex.json", 6, 3, "statement 3: it names no product"),
        (f"{site}/security/withdrawn.yaml", 2, 46,
         "`sucessor` is not expected here; what is: image, tag, successor, move, because, author, since"),
    ]  # fmt: skip
    ended = run(site, "check")
    assert (
        "    - {package: perl, until: soon}\n                             ^\n    hint: write it as 2026-12-31\n"
        in ended.errors
    )
    assert "    hint: did you mean `successor`?\n" in ended.errors
    # A component is what it is, whatever was decided.
    assert run(site, "check", "web").code == 0


def test_check_of_a_target_is_of_it_alone(site: Path) -> None:
    ended = run(site, "check", "web", "openstack")
    assert (ended.code, ended.output) == (0, "web, openstack: nothing wrong\n")
    found = json.loads(run(site, "check", "bad", "--json").output)["problems"]
    assert [problem["code"] for problem in found] == ["refused-shell"]


def test_check_of_a_target_shows_what_is_wrong_below_and_in_overlays(site: Path) -> None:
    below = "dsl: 1\nlayer: low\nversion: 1.0.0\nsummary: x\nextends: debian-13 ^1.0\nfiles: {/x: {}}\n"
    project(site, {"layers/low/layer.yaml": below, "repos/web/component.yaml": GOOD.replace("debian-13", "low")})
    ended = run(site, "check", "web/web")
    assert ended.code == 2
    assert ended.errors.startswith(f"{site}/layers/low/layer.yaml:6:9: error: exactly one of")
    project(site, {"two/overlay.yaml": "dsl: 1\noverlay: two\ncomponents: {wep: {license: x}}\n"})
    ended = run(site, "check", "web/web")
    assert ended.errors.startswith(f"{site}/two/overlay.yaml:3:14: error: there is nothing of the name 'wep'")


@pytest.mark.parametrize("command", ["build", "lock", "plan", "outdated", "show", "check", "why openssl"])
def test_every_command_tells_what_is_wrong_with_a_file_at_its_place(site: Path, command: str) -> None:
    ended = run(site, *command.split(), "mute")
    assert ended.code == 2
    assert f"{site}/repos/mute/component.yaml:2:1: error: not YAML" in ended.errors


def test_show_tells_where_each_value_of_an_image_is_from(site: Path) -> None:
    rows = json.loads(run(site, "show", "web/web", "--origin", "--json").output)
    told = {".".join(map(str, row["path"])): (row["value"], row["origin"]) for row in rows}
    assert told["run.env.A"] == ("a", f"{site}/one/overlay.yaml:3:50")
    assert told["run.env.B"] == ("c", f"{site}/two/overlay.yaml:4:39")
    assert told["run.user"] == ("web", f"{site}/repos/web/component.yaml:17:13")
    lines = run(site, "show", "web", "--origin").output.splitlines()
    assert lines[0].split() == ["KEY", "VALUE", "ORIGIN"]
    assert lines[-1].split() == ["images.web.run.env.B", "c", f"{site}/two/overlay.yaml:4:39"]


def test_show_takes_a_layer_in_a_version_and_a_shared_definition() -> None:
    cache = Path("/nonexistent")
    version = json.loads(imgbuild("show", "openstack", "--json", cache=cache).output)["version"]
    assert imgbuild("show", f"openstack {version}", cache=cache).output.startswith("dsl: 1\nlayer: openstack\n")
    shared = json.loads(imgbuild("show", "nova/nova-base", "--json", cache=cache).output)
    assert shared["extends"].startswith("openstack")
    assert imgbuild("show", "nova-base", "--json", cache=cache).output == json.dumps(shared, indent=2) + "\n"
    ended = imgbuild("show", "openstack 9.0.0", cache=cache)
    assert (ended.code, ended.errors.splitlines()[0]) == (2, "error: there is no openstack 9.0.0")


def test_list_draws_what_extends_what(site: Path) -> None:
    assert "  web/web\n" in run(site, "list", "--graph", "text").output
    dot = run(site, "list", "--graph", "dot").output
    assert re.search(r'^  "debian-13 1\.\d+\.\d+" -> "web/web";$', dot, re.MULTILINE)
    listed = json.loads(run(site, "list", "--json").output)["definitions"]
    (web,) = (one for one in listed if one["reference"] == "web/web")
    assert (web["extends"].partition(" ")[0], web["site"], web["foreign"]) == ("debian-13", "two", False)
