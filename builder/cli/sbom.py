"""``imgbuild sbom``: what is in an image, for other programs."""

from __future__ import annotations

from pathlib import Path

import click

from builder.cli.options import Common, common, written


@click.command("sbom")
@click.argument("image", shell_complete=written)
@click.option("--format", "form", type=click.Choice(["spdx", "cyclonedx"]), default="spdx", show_default=True,
              help="SPDX 2.3 or CycloneDX 1.6, both as JSON.")  # fmt: skip
@click.option("-o", "--output", "target", metavar="FILE", type=click.Path(dir_okay=False), help="Write it to a file.")
@common
def command(common: Common, image: str, form: str, target: str | None) -> None:
    """Print the bill of materials of an image: its packages, their sources, licenses and layers.

    It is read from the image alone, and the same image always gives the same text.

    \b
    Examples:
      imgbuild sbom nova-api > nova-api.spdx.json
      imgbuild sbom oci:out:nova-api --format cyclonedx -o nova-api.cdx.json
    """
    from builder import transports
    from builder.attest import inventory, sbom
    from builder.tools import files

    text = sbom.FORMATS[form](inventory.read(transports.read(image, common.store(), common.names())))
    if target is None:
        click.echo(text, nl=False)
    else:
        files.write(Path(target), text.encode())
