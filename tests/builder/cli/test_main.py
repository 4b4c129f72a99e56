"""The command line: help, exit codes, and that no error is a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from builder import __version__
from builder.cli import main
from tests.kit.project import ROOT, Run, environment, imgbuild, project

COMPONENT = """\
dsl: 1
component: shop
summary: a shop
version: "1.0"
images:
  shop:
    summary: a shop
    extends: debian-13 ^1.0
    run: {command: [x], user: root}
    allow: {root: it must}
"""


def _commands() -> dict[str, click.Command]:
    found = {name: main.cli.get_command(click.Context(main.cli), name) for name in main.COMMANDS}
    return {name: command for name, command in found.items() if command}


def _words() -> dict[str, click.Command]:
    """All that can be called, by its words: ``deploy render``."""
    found: dict[str, click.Command] = {}
    for name, command in _commands().items():
        parts = command.commands if isinstance(command, click.Group) else {"": command}
        found |= {f"{name} {part}".strip(): one for part, one in parts.items()}
    return found


def test_every_command_is_listed() -> None:
    assert _commands().keys() == main.COMMANDS.keys()
    said = ("@click.command(", "@click.group(")
    modules = [path for path in Path(main.__file__).parent.glob("*.py") if any(x in path.read_text() for x in said)]
    assert {path.stem for path in modules} - {"main"} == main.COMMANDS.keys()


@pytest.mark.parametrize("name", _words())
def test_every_command_explains_itself(name: str) -> None:
    command = _words()[name]
    said = command.help or ""
    assert "Example" in said
    assert f"imgbuild {name}" in said.partition("Example")[2]
    options = [one for one in command.params if isinstance(one, click.Option)]
    assert [one.name for one in options if not one.help] == []
    assert {"-q", "-v", "--json", "-C", "--repos"} <= {word for one in options for word in one.opts}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("buidl", "No such command 'buidl'. Did you mean 'build'?"),
        ("build --lockd", "No such option '--lockd'. Did you mean '--locked'?"),
        ("plan shpo", "there is no component or image 'shpo'"),
        ("build", "name a target, or --all"),
        ("-C nowhere list", "-C: there is no folder 'nowhere'"),
        ("list --repos nowhere", "--repos: there is no folder"),
        ("list --graph x", "Invalid value for '--graph'"),
        ("build shop --to nowhere:", "there is no way out 'nowhere:'"),
        ("init x --extends debain-13", "there is no layer definition 'debain-13'"),
        ("init A", "'A' cannot be a component's name"),
        ("init shop --in ..", "is there already"),
    ],
)
def test_wrong_input_ends_with_2(words: str, message: str, tmp_path: Path) -> None:
    folder = project(tmp_path / "shop", {"component.yaml": COMPONENT})
    told = imgbuild(*words.split(), cache=tmp_path / "cache", cwd=folder)
    assert (told.code, told.output) == (2, "")
    assert told.errors.startswith(("error: ", "looking for"))
    assert message in told.errors
    data = imgbuild(*words.split(), "--json", "-q", cache=tmp_path / "cache", cwd=folder)
    assert (data.code, data.errors) == (2, "")
    assert message in json.loads(data.output)["message"]


def test_json_of_a_broken_definition(tmp_path: Path) -> None:
    folder = project(tmp_path / "shop", {"component.yaml": COMPONENT.replace("summary", "sumary")})
    told = imgbuild("--json", "plan", "shop", cache=tmp_path / "cache", cwd=folder)
    assert told.code == 2
    data = json.loads(told.output)
    assert data["error"] == "definition"
    assert 3 in {one["line"] for one in data["problems"]}
    built = json.loads(imgbuild("build", "shop", "shpo", "--json", cache=tmp_path / "cache", cwd=folder).output)[
        "images"
    ]
    assert [(one["status"], one["error"]) for one in built] == [("failed", "definition"), ("failed", "unknown-target")]


def _failing(error: str, *words: str, tmp_path: Path) -> Run:
    """A run of ``list`` in which something goes wrong inside."""
    code = f"""
import errno, sys
from builder.cli import list as module, main
def fail(*_, **__):
    raise {error}
module.command.callback = fail
sys.argv = ["imgbuild", "list", *{list(words)!r}]
main.main()
"""
    result = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(tmp_path), cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return Run(result.returncode, result.stdout, result.stderr)


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        ("OSError(errno.ENOSPC, 'No space left on device', '/a/b')", 1, "error: /a/b: No space left on device\nhint: "),
        ("PermissionError(errno.EACCES, 'Permission denied', '/a')", 1, "error: /a: Permission denied\nhint: "),
        ("TimeoutError('apt took longer than 3 seconds')", 1, "error: apt took longer than 3 seconds\n"),
        ("MemoryError()", 1, "error: there is not enough memory\nhint: "),
        ("KeyboardInterrupt()", 130, "interrupted\n"),
        ("ZeroDivisionError('x')", 1, "error: this is a bug of imgbuild "),
        ("UnicodeDecodeError('utf-8', b'x', 0, 1, 'y')", 1, "error: this is a bug of imgbuild "),
        ("BrokenPipeError()", 1, ""),
    ],
)
def test_what_goes_wrong_inside_is_one_message(error: str, code: int, message: str, tmp_path: Path) -> None:
    told = _failing(error, tmp_path=tmp_path)
    assert told.code == code
    assert told.errors.lstrip("\n").startswith(message)  # click ends the line with ^C
    assert "Traceback" not in told.errors
    assert told.errors.count("\n") <= 2
    if message:
        data = _failing(error, "--json", tmp_path=tmp_path)
        assert (data.code, data.errors.strip(), json.loads(data.output).keys()) == (
            code,
            "",
            {"error", "message", "hint"},
        )


def test_a_bug_shows_its_traceback_to_who_asks(tmp_path: Path) -> None:
    told = _failing("ZeroDivisionError('x')", "-v", tmp_path=tmp_path)
    assert (told.code, "Traceback" in told.errors) == (1, True)


def test_a_reader_that_has_gone_is_no_error(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    result = subprocess.run(
        [sys.executable, "-m", "builder.cli.main", "schema"],
        env=environment(tmp_path), cwd=ROOT, stdout=writing, stderr=subprocess.PIPE, check=False,
    )  # fmt: skip
    os.close(writing)
    assert (result.returncode, result.stderr) == (1, b"")


def test_a_terminal_without_our_letters(tmp_path: Path) -> None:
    env = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
    folder = project(tmp_path / "shop", {"component.yaml": COMPONENT.replace("a shop", "ein Läden")})
    told = imgbuild("show", "shop", cache=tmp_path / "cache", cwd=folder, env=env)
    assert told.code == 0
    assert "L\\xe4den" in told.output


def test_the_version(tmp_path: Path) -> None:
    assert imgbuild("--version", cache=tmp_path).output == f"imgbuild, version {__version__}\n"


def test_what_several_targets_share_is_told_once(tmp_path: Path) -> None:
    project(
        tmp_path, {"imgbuild.yaml": "dsl: 1\nworkspace: x\n", "repos/app/component.yaml": "dsl: 1\ncomponent: app\n"}
    )
    result = imgbuild("build", "app", "app/app", cache=tmp_path / "cache", cwd=tmp_path)
    assert result.code == 2
    assert result.errors.count("the key 'images' is missing") == 1
    assert result.output.count("problems in its definition") == 2
    assert "is missing" not in result.output
