"""``imgbuild migrate``: what others wrote, in our language."""

from __future__ import annotations

from pathlib import Path

import click

from builder.cli import output
from builder.cli.options import Common, common


@click.command("migrate")
@click.argument("form", type=click.Choice(["kolla"]))
@click.argument("file", type=Path)
@common
def command(common: Common, form: str, file: Path) -> None:
    """Print what a definition says in place of a config.json of Kolla's: `run` and `config`.

    Comments on top say what is to be decided. docs/from-kolla.md tells the rest of the way.

    \b
    Example:
      imgbuild migrate kolla /etc/kolla/nova-api/config.json
    """
    from builder.propose import kolla

    found = kolla.read(file)
    if common.json:
        output.print_json({"look": found.look, **found.data})
    else:
        print(found.text, end="")
