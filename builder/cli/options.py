"""Options that many commands share, and the edges made from them."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from builder.report import Reporter
    from builder.tools.store import Store
    from dsl.catalog import Catalog


@dataclass(frozen=True, slots=True)
class Common:
    """What every command is told.

    Attributes:
        directory: where to work (``-C``).
        repos: further folders of component repos.
        json: print for machines.
        verbosity: -1 quiet, 0, 1 verbose.
    """

    directory: Path
    repos: tuple[Path, ...]
    json: bool
    verbosity: int

    def reporter(self) -> Reporter:
        """Who is told of the work: standard error."""
        from builder.cli import output

        return output.reporter(self.verbosity)

    def store(self) -> Store:
        """The local store."""
        from builder.tools.store import Store, default_root

        store = Store(default_root())
        store.sweep()
        return store

    def catalog(self) -> Catalog:
        """Every definition of the workspace."""
        from builder.pipeline import workspace

        return workspace.load(self.directory, self.repos, self.store(), self.reporter())


def common(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the shared options, as one ``common`` argument."""

    @click.option("-C", "--directory", help="Work in this folder.", metavar="DIR")
    @click.option("--repos", multiple=True, help="A further folder of component repos.", metavar="DIR")
    @click.option("--json", "as_json", is_flag=True, help="Print for machines.")
    @click.option("-v", "--verbose", is_flag=True, help="Tell more.")
    @click.option("-q", "--quiet", is_flag=True, help="Tell only errors.")
    @click.pass_context
    @functools.wraps(function)
    def wrapped(
        ctx: click.Context,
        /,
        *args: Any,
        directory: str | None,
        repos: tuple[str, ...],
        as_json: bool,
        verbose: bool,
        quiet: bool,
        **options: Any,
    ) -> Any:
        given = ctx.obj or {}
        folder = Path(directory or given.get("directory") or os.curdir)
        if not folder.is_dir():
            raise click.UsageError(f"-C: there is no folder {str(folder)!r}", ctx)
        folders = tuple(Path(repo).absolute() for repo in (*given.get("repos", ()), *repos))
        for repo in folders:
            if not repo.is_dir():
                raise click.UsageError(f"--repos: there is no folder {str(repo)!r}", ctx)
        verbosity = -1 if quiet else int(verbose)
        return function(Common(folder.absolute(), folders, as_json, verbosity), *args, **options)

    return wrapped


def jobs_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """``-j``: how much is done at once."""
    default = len(os.sched_getaffinity(0))
    option = click.option(
        "-j",
        "--jobs",
        type=click.IntRange(1, 256),
        default=default,
        help="How much at once.",
        show_default="processors",
    )
    decorated: Callable[..., Any] = option(function)
    return decorated
