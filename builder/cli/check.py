"""``imgbuild check``: everything that is wrong with definitions."""

from __future__ import annotations

from pathlib import Path

import click

from builder.cli import output, results
from builder.cli.options import Common, common, targets


@click.command("check")
@click.argument("targets", nargs=-1, shell_complete=targets)
@click.option("--all", "everything", is_flag=True, help="The whole workspace, as without a target.")
@results.sarif_option
@results.junit_option
@common
def command(common: Common, targets: tuple[str, ...], everything: bool, sarif: Path | None, junit: Path | None) -> int:
    """Read definitions and say everything that is wrong with them, and what their locks bring that should be known.

    \b
    Examples:
      imgbuild check              the whole workspace
      imgbuild check nova         one component, and what it stands on
      imgbuild check openstack    a layer definition, and what it stands on
      imgbuild check --sarif check.sarif --junit check.xml
    """
    from builder.pipeline import checking

    if targets and everything:
        raise click.UsageError("name targets, or --all")
    with results.told_at_their_places(sarif, junit, "check", common.directory):
        catalog = common.catalog()
        checked = checking.check(catalog, targets)
    found = checked.problems
    told = (*results.of_problems(found, "error"), *results.of_problems(checked.notices, "note")) if sarif else ()
    results.write_sarif(sarif, told, catalog.root)
    # What ships with imgbuild is not what somebody looks after here.
    own = (one.document.file for one in catalog.definitions() if one.document.file.is_relative_to(catalog.root))
    read = frozenset(own) if junit and not targets else ()
    results.write_junit(junit, "check", results.cases_of(read, found, catalog.root) if junit else ())
    if common.json:
        output.print_json(
            {
                "problems": [output.problem_data(problem) for problem in found],
                "notices": [output.problem_data(notice) for notice in checked.notices],
            }
        )
        return 2 if found else 0
    if checked.notices:
        click.echo(output.problems_text(checked.notices, "notice"), err=True)
    if found:
        click.echo(output.problems_text(found), err=True)
    elif targets:
        click.echo(f"{', '.join(targets)}: nothing wrong")
    else:
        images = sum(len(component.images) for component in catalog.components)
        click.echo(f"{len(catalog.components)} components with {images} images: nothing wrong")
    return 2 if found else 0
