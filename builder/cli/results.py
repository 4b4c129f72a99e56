"""What a command found, as files that continuous integration shows: ``--junit FILE``, ``--sarif FILE``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from builder import __version__
from dsl.errors import DefinitionError, Place, Problem

if TYPE_CHECKING:
    from builder.formats.junit import Case
    from builder.formats.sarif import Level, Result
    from builder.pipeline.securing import Finding
    from dsl.catalog import Catalog, Definition

F = TypeVar("F", bound=Callable[..., Any])
_FILE = click.Path(dir_okay=False, path_type=Path)
_GRAVITY = {"critical": 9.5, "high": 8.0, "medium": 5.0, "low": 2.0}
"""Words of feeds as numbers of CVSS, in the middle of what each word means; what has no word counts as medium."""
_TRACKER = "https://security-tracker.debian.org/tracker/"


def junit_option(function: F) -> F:
    """``--junit``: a report in JUnit's form."""
    told = "Write what was looked at, and what was found, to this file as JUnit's reports are: for CI to show."
    return click.option("--junit", metavar="FILE", type=_FILE, callback=_can_be, help=told)(function)


def sarif_option(function: F) -> F:
    """``--sarif``: a log in SARIF's form."""
    told = "Write what was found to this file as SARIF 2.1.0: for code hosts to show at its lines."
    return click.option("--sarif", metavar="FILE", type=_FILE, callback=_can_be, help=told)(function)


def _can_be(ctx: click.Context, parameter: click.Parameter, file: Path | None) -> Path | None:
    """Refuse a file that cannot be written before any work is done."""
    if file and not file.parent.is_dir():
        raise click.UsageError(f"{parameter.opts[0]}: there is no folder {str(file.parent)!r}", ctx)
    return file


def write_junit(file: Path | None, suite: str, cases: Sequence[Case]) -> None:
    """Write a report, if one is wanted.

    Raises:
        ImgbuildError: it cannot be written.
    """
    if file:
        from builder.formats import junit

        _write(file, junit.report(f"imgbuild {suite}", cases))


def write_sarif(file: Path | None, results: Iterable[Result], folder: Path) -> None:
    """Write a log, if one is wanted.

    Args:
        folder: of the workspace: files are named from the top of the repository that it lies in.

    Raises:
        ImgbuildError: it cannot be written.
    """
    if file:
        from builder.formats import sarif

        here = folder.absolute()
        root = next((one for one in (here, *here.parents) if (one / ".git").exists()), here)
        _write(file, sarif.log(results, __version__, root))


@contextmanager
def told_at_their_places(sarif: Path | None, junit: Path | None, suite: str, folder: Path) -> Iterator[None]:
    """See that what keeps definitions from being read at all is in the files, too."""
    try:
        yield
    except DefinitionError as error:
        write_sarif(sarif, of_problems(error.problems, "error"), folder)
        write_junit(junit, suite, cases_of((), error.problems, folder))
        raise


def of_problems(problems: Iterable[Problem], level: Level) -> Iterator[Result]:
    """Problems of definitions as results."""
    from builder.formats.sarif import Result, Rule

    for one in problems:
        message = f"{one.message}; {one.hint}" if one.hint else one.message
        yield Result(Rule(one.code), level, message, one.place, one.message)


def cases_of(files: Iterable[Path], problems: Iterable[Problem], folder: Path) -> tuple[Case, ...]:
    """Files that were read, each with its problems, as cases."""
    from builder.formats.junit import Case

    found: dict[Path, list[str]] = {file: [] for file in sorted(files)}
    for one in problems:
        hint = f"; {one.hint}" if one.hint else ""
        found.setdefault(one.place.file, []).append(f"{one.place}: {one.message}{hint}")
    return tuple(Case(_shown(file, folder), tuple(faults)) for file, faults in found.items())


def of_findings(catalog: Catalog, findings: Iterable[Finding]) -> Iterator[Result]:
    """Advisories as results, each at the line of the lock that holds the package."""
    from builder.formats.sarif import Result, Rule

    lines = _Lines(catalog)
    for one in findings:
        told, gravity = one.advisory, _GRAVITY.get(one.advisory.severity, 5.0)
        level: Level = "error" if gravity >= 7 else "warning" if gravity >= 4 else "note"
        closed = f"fixed in {told.fixed}" if told.fixed else f"no fix yet ({told.waiting or 'open'})"
        images = ", ".join(one.images)
        message = f"{told.id}: {told.source} {one.version} in {images}: {closed}; it is there because of: {one.why}"
        known = told.suite != "PyPI" and told.id.startswith(("CVE-", "DSA-", "DLA-"))
        rule = Rule(told.id, told.summary.partition("\n")[0], f"{_TRACKER}{told.id}" if known else "", gravity)
        subject = f"{one.definition} {told.source}"
        yield Result(rule, level, message, lines.of(one.definition, one.package), subject, one.decision)


class _Lines:
    """Where locks say which packages there are."""

    def __init__(self, catalog: Catalog) -> None:
        self._root = catalog.root
        self._definitions: dict[str, Definition] = {one.name: one for one in catalog.definitions()}
        self._known: dict[str, Mapping[str, int]] = {}

    def of(self, definition: str, package: str) -> Place:
        found = self._definitions.get(definition)
        if found is None:
            return Place(self._root / "imgbuild.yaml")
        file = next(filter(Path.exists, filter(None, (found.lock_path, found.upstream_lock_path))), found.lock_path)
        if definition not in self._known:
            found_: dict[str, int] = {}
            for name, number in _packages(file, definition) if file.exists() else ():
                found_.setdefault(name, number)
            self._known[definition] = found_
        return Place(file, self._known[definition].get(package, 1))


def _packages(file: Path, definition: str) -> Iterator[tuple[str, int]]:
    """Names of packages in a definition's part of a lock, with their lines."""
    within = False
    for number, line in enumerate(file.read_text("utf-8", "replace").splitlines(), 1):
        if line.startswith("- name: "):
            within = line == f'- name: "{definition}"'
        elif within and line.startswith('  - ["'):
            # A wheel's line begins with its environment.
            yield from ((name, number) for name in line.split('"')[1:4:2])


def _shown(file: Path, folder: Path) -> str:
    here = folder.absolute()
    return str(file.relative_to(here)) if file.is_relative_to(here) else str(file)


def _write(file: Path, data: bytes) -> None:
    from builder.errors import of_system
    from builder.tools import files

    try:
        with files.replacing(file) as written:
            written.write(data)
    except OSError as error:
        raise of_system(error, f"{file} cannot be written", str(file)) from None
