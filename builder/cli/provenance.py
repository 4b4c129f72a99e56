"""``imgbuild provenance``: how an image came to be."""

from __future__ import annotations

from pathlib import Path

import click

from builder.cli.options import Common, common, written


@click.command("provenance")
@click.argument("image", shell_complete=written)
@click.option("-o", "--output", "target", metavar="FILE", type=click.Path(dir_okay=False), help="Write it to a file.")
@common
def command(common: Common, image: str, target: str | None) -> None:
    """Print from which definitions, commit, lock, packages and sources an image was built, by which version and when.

    It is SLSA provenance v1, an in-toto statement, as `build --attest` keeps it beside the image in a layout.

    \b
    Examples:
      imgbuild build nova --attest && imgbuild provenance nova-api
      imgbuild provenance oci:release:keystone -o keystone.intoto.json
    """
    from builder import transports
    from builder.errors import ImageError
    from builder.tools import files
    from builder.transports import oci_layout

    stored = transports.read_stored(image, common.store(), common.names())
    data = stored.beside(oci_layout.PROVENANCE)
    if data is None:
        hint = "build it with --attest into a layout: when and from which commit can be told only then"
        raise ImageError(f"{stored.name} has no provenance beside it", hint)
    if target is None:
        click.echo(data.decode(), nl=False)
    else:
        files.write(Path(target), data)
