"""``imgbuild cache``: the store."""

from __future__ import annotations

from dataclasses import asdict

import click

from builder.cli import output
from builder.cli.options import Common, common
from builder.tools.store import Store


@click.command("cache")
@click.argument("action", type=click.Choice(["use", "clean", "verify"]), default="use")
@common
def command(common: Common, action: str) -> int:
    """Show what the store holds (`use`), empty it (`clean`), or read all of it and remove what is damaged (`verify`).

    What is needed again is made or fetched again. Ends with 3 if `verify` has found something.

    \b
    Examples:
      imgbuild cache
      imgbuild cache verify
      imgbuild cache clean
    """
    store = common.store()
    if action == "verify":
        return _verify(common, store)
    usage = store.usage()
    if action == "clean":
        store.clean()
    if common.json:
        output.print_json({"folder": str(store.root), "action": action, "bytes": usage})
        return 0
    print(output.table([(name, output.size(count)) for name, count in usage.items()], ("WHAT", "SIZE")))
    print(f"{'was ' if action == 'clean' else ''}in {store.root}")
    return 0


def _verify(common: Common, store: Store) -> int:
    from builder.pipeline import verifying

    found = verifying.verify(store, common.reporter())
    if common.json:
        output.print_json(
            {"folder": str(store.root), "action": "verify", "removed": [asdict(damage) for damage in found]}
        )
    else:
        for damage in found:
            print(f"removed {damage.path}: {damage.problem}")
        print(f"{len(found) or 'nothing'} damaged in {store.root}")
    return 3 if found else 0
