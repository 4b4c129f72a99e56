"""The arrows between modules run one way, and what only the edges may do stays at the edges."""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

ROWS = (
    ("cli",),
    ("pipeline",),
    ("compare",),
    (
        "resolve",
        "plan",
        "make",
        "propose",
        "attest",
        "deploy",
        "overview",
        "security",
        "record",
        "config_differences",
        "file_differences",
        "validate",
    ),
    ("contents",),
    ("transports", "cluster"),
    ("registry", "trust"),
    ("formats", "tools"),
    ("declared",),
    ("errors", "report"),
    ("model",),
    ("dsl",),
)
"""The parts of the program; each may import what stands in a row below its own, never a neighbour."""
NETWORK = {
    "socket", "ssl", "http", "urllib", "httpx", "requests", "docker", "podman", "kubernetes", "asyncio", "ftplib", "smtplib",
}  # fmt: skip
PROCESSES = {"subprocess", "multiprocessing", "pty"}
PRINTS = {"builder/tools/sandbox_init.py"}
"""Beside the commands: the program that speaks from within the sandbox, over its own standard output."""


@cache
def modules() -> dict[str, ast.Module]:
    """Every module of the program, by name."""
    found = {}
    for top in ("dsl", "builder"):
        for file in sorted((ROOT / top).rglob("*.py")):
            parts = file.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = ast.parse(file.read_text(), str(file))
    return found


@cache
def imports(module: str) -> frozenset[str]:
    """What a module imports, anywhere in it: modules of ours, or the names of others."""
    found: set[str] = set()
    for node in ast.walk(modules()[module]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports by a relative name"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in modules() else str(node.module))
    return frozenset(found)


def part(module: str) -> str:
    """The part of the program that a module belongs to."""
    top, _, inner = module.partition(".")
    return "dsl" if top == "dsl" else inner.partition(".")[0]


def arrows() -> Iterator[tuple[str, str]]:
    """Which module imports which other one of ours."""
    for module in modules():
        for other in imports(module):
            if other in modules():
                yield module, other


def row(name: str) -> int:
    """How far down a part stands."""
    found = [number for number, parts in enumerate(ROWS) if name in parts]
    assert found, f"{name} is new: say in which row it stands"
    return found[0]


def test_arrows_run_one_way() -> None:
    wrong = [
        f"{module} → {other}"
        for module, other in arrows()
        if part(other) and part(module) != part(other) and row(part(module)) >= row(part(other))
    ]
    assert wrong == []


def test_every_part_has_its_row() -> None:
    there = {part(module) for module in modules()} - {""}
    assert there == {name for parts in ROWS for name in parts}


def test_no_module_is_in_a_circle() -> None:
    graphlib.TopologicalSorter({module: imports(module) & modules().keys() for module in modules()}).prepare()


@pytest.mark.parametrize("module", [name for name in modules() if part(name) == "dsl"])
def test_the_language_touches_neither_network_nor_processes(module: str) -> None:
    tops = {name.partition(".")[0] for name in imports(module)}
    assert tops & (NETWORK | PROCESSES | {"builder"}) == set()


@pytest.mark.parametrize("module", modules())
def test_only_commands_print_and_exit(module: str) -> None:
    if part(module) == "cli" or module.replace(".", "/") + ".py" in PRINTS:
        return
    calls = [node.func for node in ast.walk(modules()[module]) if isinstance(node, ast.Call)]
    printing = [call.id for call in calls if isinstance(call, ast.Name) and call.id in ("print", "exit", "quit")]
    exiting = [ast.unparse(call) for call in calls if isinstance(call, ast.Attribute)]
    assert printing == []
    assert {"sys.exit", "sys.stdout.write", "sys.stderr.write"} & set(exiting) == set()


def test_models_are_values() -> None:
    inner = {name.partition(".")[0] for module in modules() if part(module) == "model" for name in imports(module)}
    assert inner & (NETWORK | PROCESSES | {"os", "shutil", "tempfile"}) == set()
