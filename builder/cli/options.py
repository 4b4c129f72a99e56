"""Options that many commands share, and the edges made from them."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from builder.pipeline.finding import Chosen
    from builder.report import Reporter
    from builder.tools.store import Store
    from dsl.catalog import Catalog
    from dsl.naming import Names


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

        found = output.reporter(self.verbosity)
        close = getattr(found, "close", None)
        if close:
            # Before an error is told, which stands below what was shown of the work.
            click.get_current_context().call_on_close(close)
        return found

    def store(self) -> Store:
        """The local store."""
        from builder.tools.store import Store, default_root

        store = Store(default_root())
        store.sweep()
        return store

    def names(self) -> Names:
        """What releases are called in registries: as the workspace says, or as usual where there is none."""
        from dsl import loading
        from dsl.catalog import UnknownTarget
        from dsl.naming import Names

        try:
            return Names(loading.find(self.directory).workspace.names)
        except UnknownTarget:
            return Names()

    def catalog(self) -> Catalog:
        """Every definition of the workspace."""
        from builder.pipeline import workspace

        return workspace.load(self.directory, self.repos, self.store(), self.reporter())


def shared(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that stand before a command or after it."""
    for option in (
        click.option("-q", "--quiet", is_flag=True, help="Tell only errors."),
        click.option("-v", "--verbose", is_flag=True, help="Tell more."),
        click.option("--json", "as_json", is_flag=True, help="Print for machines, errors too."),
        click.option("--repos", multiple=True, metavar="DIR", help="A further folder of component repos.",
                     type=click.Path(file_okay=False)),
        click.option("-C", "--directory", metavar="DIR", help="Work in this folder.", type=click.Path(file_okay=False)),
    ):  # fmt: skip
        function = option(function)
    return function


def common(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the shared options, as one ``common`` argument."""

    @shared
    @click.pass_context
    @functools.wraps(function)
    def wrapped(ctx: click.Context, /, *args: Any, **options: Any) -> Any:
        before = ctx.obj or {}
        after = {name: options.pop(name) for name in ("directory", "repos", "as_json", "verbose", "quiet")}
        given = {name: value or before.get(name) for name, value in after.items()}
        folder = Path(given["directory"] or os.curdir)
        if not folder.is_dir():
            raise click.UsageError(f"-C: there is no folder {str(folder)!r}", ctx)
        folders = tuple(Path(repo).absolute() for repo in (*before.get("repos", ()), *after["repos"]))
        for repo in folders:
            if not repo.is_dir():
                raise click.UsageError(f"--repos: there is no folder {str(repo)!r}", ctx)
        verbosity = -1 if given["quiet"] else int(bool(given["verbose"]))
        return function(Common(folder.absolute(), folders, bool(given["as_json"]), verbosity), *args, **options)

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


def running(place: str, names: Names) -> Chosen:
    """The releases that a text names: what ``docker ps`` or ``kubectl get pods`` print.

    Args:
        place: a file, or ``-`` for standard input.
        names: what releases are called in registries.

    Raises:
        click.UsageError: it cannot be read.
    """
    from builder.pipeline import finding

    if place == "-":
        return finding.Chosen.named(sys.stdin.read(), names)
    try:
        return finding.Chosen.named(Path(place).read_text("utf-8", "replace"), names)
    except OSError as error:
        raise click.UsageError(f"{place}: {error.strerror or error}") from None


def reuse_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """``--reuse``: where layers are that this machine lacks."""
    option = click.option(
        "--reuse",
        metavar="HOST[:PORT][/PREFIX]",
        default="",
        help="A registry that has layers of releases, verified by the locks; the workspace may name it.",
    )
    decorated: Callable[..., Any] = option(function)
    return decorated


def architecture_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """``--architecture``: for which of those that the workspace's images are made for."""
    option = click.option(
        "--architecture",
        "architectures",
        multiple=True,
        type=click.Choice(("amd64", "arm64")),
        help="Only for this one; may be given several times. The workspace says for which all are made.",
    )
    decorated: Callable[..., Any] = option(function)
    return decorated


def _given(ctx: click.Context) -> tuple[Path, tuple[Path, ...]]:
    said = [one.params for one in (ctx.parent, ctx) if one is not None]
    folder = next((one["directory"] for one in reversed(said) if one.get("directory")), os.curdir)
    return Path(folder).absolute(), tuple(Path(repo).absolute() for one in said for repo in one.get("repos") or ())


def targets(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Components and images whose names begin so, for shells."""
    from click.shell_completion import CompletionItem

    from dsl import loading
    from dsl.errors import ImgbuildError

    try:
        folder, repos = _given(ctx)
        found = loading.load(loading.find(folder), repos)
    except (ImgbuildError, OSError, ValueError, RecursionError):
        return []
    names: dict[str, str] = {}
    for component in found.components:
        names[component.name] = component.model.summary
        for image in component.images:
            full = f"{component.name}/{image.name}" if "/" in incomplete else image.name
            names.setdefault(full, image.model.summary)
    taken = ctx.params.get(parameter.name or "") or ()
    return [CompletionItem(n, help=s) for n, s in names.items() if n.startswith(incomplete) and n not in taken]


def definitions(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """As ``targets``, with layer definitions, for shells."""
    from click.shell_completion import CompletionItem

    from dsl import loading
    from dsl.errors import ImgbuildError

    try:
        folder, repos = _given(ctx)
        found = loading.load(loading.find(folder), repos)
    except (ImgbuildError, OSError, ValueError, RecursionError):
        return []
    layers = {layer.name: layer.model.summary for layer in found.layers}
    more = [CompletionItem(n, help=s) for n, s in layers.items() if n.startswith(incomplete)]
    return [*targets(ctx, parameter, incomplete), *more]


def written(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Images in ``./out`` whose names begin so, for shells."""
    import json

    from click.shell_completion import CompletionItem

    try:
        entries = json.loads(Path("out/index.json").read_bytes())["manifests"]
        names = [str(one["annotations"]["org.opencontainers.image.ref.name"]) for one in entries]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return [CompletionItem(name) for name in sorted(names) if name.startswith(incomplete)]
