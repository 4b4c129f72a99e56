"""``imgbuild inspect``: the layers of an image."""

from __future__ import annotations

import click

from builder.cli import output
from builder.cli.options import Common, common, written


@click.command("inspect")
@click.argument("image", shell_complete=written)
@click.option("--packages", is_flag=True, help="Name every package.")
@common
def command(common: Common, image: str, packages: bool) -> None:
    """Show the layers of an image and the packages in them.

    IMAGE is a name in ./out, oci:DIR[:NAME], oci-archive:FILE or docker-archive:FILE.

    \b
    Examples:
      imgbuild inspect nova-api
      imgbuild inspect oci:out:nova-api:31.0.0-r1 --packages
    """
    from builder import contents, transports

    found = transports.read(image, common.store())
    layers = contents.layers(found)
    if common.json:
        rows = [
            {"digest": x.digest, "bytes": x.size, "kind": x.kind, "definition": x.definition, "packages": x.packages}
            for x in layers
        ]
        output.print_json({"digest": found.digest, "labels": found.labels, "layers": rows})
        return
    print(f"{image}  {found.digest}  {output.size(sum(layer.size for layer in layers))}")
    definition = ""
    for layer in layers:
        if layer.definition != definition:
            definition = layer.definition
            print(definition)
        print(f"  {layer.digest[7:19]}  {output.size(layer.size):>9}  {layer.comment}")
        if packages:
            for name, version in layer.packages:
                print(f"      {name} {version}")
