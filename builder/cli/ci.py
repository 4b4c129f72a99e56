"""``imgbuild ci``: what pipelines ask."""

from __future__ import annotations

import click

from builder.cli import output
from builder.cli.options import Common, common


@click.group("ci")
def command() -> None:
    """What pipelines ask."""


@command.command("changed")
@click.option("--since", "reference", metavar="REF", required=True, help="A branch, tag or commit: origin/main.")
@common
def changed(common: Common, reference: str) -> int:
    """Name the components that a change touches: definitions, overlays, locks, what lies beside them, and layer definitions below.

    What counts is everything since this branch left REF, whether or not it is committed. What imgbuild.yaml says concerns all
    components. It prints their names, one a line, for `imgbuild build`; nothing if there are none.

    \b
    Examples:
      imgbuild ci changed --since origin/main
      changed=$(imgbuild ci changed --since origin/main); test -z "$changed" || imgbuild build --locked $changed
      imgbuild ci changed --since v1.2 --json       and because of which files
    """
    from builder.pipeline import touched

    found = touched.since(common.catalog(), reference)
    if common.json:
        output.print_json({"components": [one.data() for one in found]})
        return 0
    for one in found:
        print(one.component)
        if common.verbosity > 0:
            for path in one.because:
                click.echo(f"  {path}", err=True)
    return 0
