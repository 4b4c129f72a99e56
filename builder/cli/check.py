"""``imgbuild check``: everything that is wrong with definitions."""

from __future__ import annotations

import click

from builder.cli import output
from builder.cli.options import Common, common, targets


@click.command("check")
@click.argument("targets", nargs=-1, shell_complete=targets)
@common
def command(common: Common, targets: tuple[str, ...]) -> int:
    """Read definitions and say everything that is wrong with them.

    \b
    Examples:
      imgbuild check              the whole workspace
      imgbuild check nova         one component, and what it stands on
      imgbuild check openstack    a layer definition, and what it stands on
    """
    from dsl import checks
    from dsl.errors import DefinitionError

    catalog = common.catalog()
    problems = set() if targets else set(checks.check(catalog))
    for target in targets:
        try:
            component = catalog.component(target)
            definitions = (*component.shared, *component.images) if component else (catalog.definition(target),)
            problems.update(checks.of(catalog, definitions, templates=True))
        except DefinitionError as error:
            problems.update(error.problems)
    found = tuple(sorted(problems))
    if common.json:
        output.print_json({"problems": [output.problem_data(problem) for problem in found]})
    elif found:
        click.echo(output.problems_text(found), err=True)
    elif targets:
        click.echo(f"{', '.join(targets)}: nothing wrong")
    else:
        images = sum(len(component.images) for component in catalog.components)
        click.echo(f"{len(catalog.components)} components with {images} images: nothing wrong")
    return 2 if found else 0
