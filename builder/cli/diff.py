"""``imgbuild diff``: two images compared."""

from __future__ import annotations

from dataclasses import asdict

import click

from builder.cli import output
from builder.cli.options import Common, common, written


@click.command("diff")
@click.argument("old", shell_complete=written)
@click.argument("new", shell_complete=written)
@common
def command(common: Common, old: str, new: str) -> int:
    """Compare two images: packages, layers, bytes; ends with 3 if they differ.

    \b
    Examples:
      imgbuild diff nova-api:31.0.0-r1 nova-api:31.0.0-r2
      imgbuild diff oci:before:keystone oci:out:keystone
    """
    from builder import contents, transports

    store = common.store()
    first, second = transports.read(old, store), transports.read(new, store)
    found = contents.difference(first, second)
    if common.json:
        output.print_json(asdict(found))
    elif first.digest == second.digest:
        print("the same image")
    else:
        for name, version in found.removed:
            print(f"- {name} {version}")
        for name, version in found.added:
            print(f"+ {name} {version}")
        for name, before, after in found.changed:
            print(f"  {name} {before} → {after}")
        gone, fresh = len(found.layers_gone), len(found.layers_new)
        print(f"{gone} layers gone, {fresh} new: {output.size(found.bytes_new)} to send")
        for layer in found.layers_new:
            print(f"  {layer.digest[7:19]}  {output.size(layer.size):>9}  {layer.comment}")
    return 0 if first.digest == second.digest else 3
