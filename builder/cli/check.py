"""``imgbuild check``: everything that is wrong with definitions."""

from __future__ import annotations

import click

from builder.cli import output
from builder.cli.options import Common, common


@click.command("check")
@click.argument("targets", nargs=-1)
@common
def command(common: Common, targets: tuple[str, ...]) -> int:
    """Read definitions and say everything that is wrong with them.

    \b
    Examples:
      imgbuild check           the whole workspace
      imgbuild check nova      one component
    """
    from dsl import checks

    catalog = common.catalog()
    problems = checks.check(catalog)
    if targets:
        definitions = [d for target in targets for d in catalog.find(target)]
        folders = {part.folder for d in definitions for part in d.chain()}
        problems = tuple(p for p in problems if any(p.place.file.is_relative_to(folder) for folder in folders))
    if common.json:
        output.print_json({"problems": [output.problem_data(problem) for problem in problems]})
    elif problems:
        click.echo(output.problems_text(problems), err=True)
    else:
        count = sum(len(component.images) for component in catalog.components)
        click.echo(f"{len(catalog.components)} components with {count} images: nothing wrong")
    return 2 if problems else 0
