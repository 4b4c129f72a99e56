"""What commands that start containers share."""

from __future__ import annotations

import os
import shlex
import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from builder.pipeline.running import Command
    from builder.report import Reporter
    from builder.transports.engine import Kind

engine_option = click.option(
    "--engine", type=click.Choice(["docker", "podman"]), help="By default the one that answers."
)


def kind_of(engine: str | None) -> Kind | None:
    """The engine that was asked for."""
    return "docker" if engine == "docker" else "podman" if engine == "podman" else None


def interactive() -> list[str]:
    """The options of ``run`` that let a person type, if one sits there."""
    return ["--interactive", "--tty"] if sys.stdin.isatty() and sys.stdout.isatty() else []


def become(command: Command, reporter: Reporter, *, dry_run: bool) -> None:
    """End as an engine's command; or print it."""
    if dry_run:
        print(shlex.join(command.shown()))
        return
    reporter.note(shlex.join(command.shown()))
    sys.stdout.flush()
    os.execv(command.program, [command.program, *command.words])
