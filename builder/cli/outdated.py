"""``imgbuild outdated``: what has newer versions."""

from __future__ import annotations

import click

from builder.cli import output
from builder.cli.options import Common, common, targets


@click.command("outdated")
@click.argument("targets", nargs=-1, shell_complete=targets)
@common
def command(common: Common, targets: tuple[str, ...]) -> int:
    """Show locked packages that have newer versions; ends with 3 if there are any.

    \b
    Examples:
      imgbuild outdated
      imgbuild outdated nova --json
    """
    from builder.pipeline import locking, selection
    from builder.pipeline.edges import Edges

    catalog = common.catalog()
    wanted = selection.select(catalog, targets).definitions
    rows = locking.outdated(catalog, wanted, Edges(common.store(), common.reporter()))
    if common.json:
        output.print_json(
            [dict(zip(("definition", "package", "locked", "newest", "suite"), row, strict=True)) for row in rows]
        )
    elif rows:
        print(output.table(rows, ("DEFINITION", "PACKAGE", "LOCKED", "NEWEST", "SUITE")))
    else:
        print("everything is at its newest version")
    return 3 if rows else 0
