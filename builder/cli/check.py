"""``imgbuild check``: everything that is wrong with definitions."""

from __future__ import annotations

import click

from builder.cli import output
from builder.cli.options import Common, common, targets


@click.command("check")
@click.argument("targets", nargs=-1, shell_complete=targets)
@click.option("--all", "everything", is_flag=True, help="The whole workspace, as without a target.")
@common
def command(common: Common, targets: tuple[str, ...], everything: bool) -> int:
    """Read definitions and say everything that is wrong with them, and what their locks bring that should be known.

    \b
    Examples:
      imgbuild check              the whole workspace
      imgbuild check nova         one component, and what it stands on
      imgbuild check openstack    a layer definition, and what it stands on
    """
    from builder.pipeline import checking

    if targets and everything:
        raise click.UsageError("name targets, or --all")
    catalog = common.catalog()
    checked = checking.check(catalog, targets)
    found = checked.problems
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
