"""``imgbuild cache``: the store."""

from __future__ import annotations

import click

from builder.cli import output
from builder.cli.options import Common, common


@click.command("cache")
@click.argument("action", type=click.Choice(["use", "clean"]), default="use")
@common
def command(common: Common, action: str) -> None:
    """Show what the store holds (`use`), or empty it (`clean`); what is needed again is made again.

    \b
    Examples:
      imgbuild cache
      imgbuild cache clean
    """
    store = common.store()
    usage = store.usage()
    if action == "clean":
        store.clean()
    if common.json:
        output.print_json({"folder": str(store.root), "action": action, "bytes": usage})
        return
    print(output.table([(name, output.size(count)) for name, count in usage.items()], ("WHAT", "SIZE")))
    print(f"{'was ' if action == 'clean' else ''}in {store.root}")
