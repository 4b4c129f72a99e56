"""``imgbuild validate``: every digest and size recomputed."""

from __future__ import annotations

import click

from builder.cli import output
from builder.cli.options import Common, common, written


@click.command("validate")
@click.argument("images", shell_complete=written, nargs=-1, required=True)
@common
def command(common: Common, images: tuple[str, ...]) -> int:
    """Recompute every digest and size of images and say all that is wrong; ends with 3 if something is.

    \b
    Examples:
      imgbuild validate nova-api
      imgbuild validate oci:out:keystone oci-archive:keystone.tar
    """
    from builder import transports, validate

    faults = {name: validate.image(transports.read(name, common.store())) for name in images}
    if common.json:
        output.print_json(
            {name: [{"where": f.where, "message": f.message} for f in found] for name, found in faults.items()}
        )
    else:
        for name, found in faults.items():
            print(f"{name}: {'valid' if not found else f'{len(found)} faults'}")
            for fault in found:
                print(f"  {fault.where}: {fault.message}")
    return 3 if any(faults.values()) else 0
