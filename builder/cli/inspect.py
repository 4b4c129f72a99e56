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

    IMAGE is a name in ./out (NAME, NAME:VERSION or NAME:TAG: the newest that fits), or lies elsewhere: oci:DIR[:NAME],
    docker:NAME, podman:NAME, oci-archive:FILE[:NAME], docker-archive:FILE[:NAME], dir:DIR or registry:HOST/NAME[:TAG].

    \b
    Examples:
      imgbuild inspect nova-api
      imgbuild inspect docker:nova-api:31.0.0-r1 --packages
      imgbuild inspect registry:registry.example:5000/openstack/nova-api
    """
    from builder import contents, transports

    stored = transports.read_stored(image, common.store(), common.names())
    found = transports.parsed(stored)
    layers = contents.layers(found)
    digest = found.digest if stored.kept else None
    if common.json:
        rows = [
            {
                "digest": x.digest,
                "diff_id": x.diff_id,
                "bytes": x.size,
                "kind": x.kind,
                "definition": x.definition,
                "comment": x.comment,
                "packages": x.packages,
            }
            for x in layers
        ]
        output.print_json(
            {"name": stored.name, "digest": digest, "id": found.config_digest, "labels": found.labels, "layers": rows}
        )
        return
    print(f"{stored.name}  {digest or found.config_digest}  {output.size(sum(layer.size for layer in layers))}")
    if not stored.kept:
        print("(the digest is the image ID, layers are not compressed: no manifest is kept there)")
    definition = ""
    for layer in layers:
        if layer.definition != definition:
            definition = layer.definition
            print(definition)
        print(f"  {layer.digest[7:19]}  {output.size(layer.size):>9}  {layer.comment}")
        if packages:
            for name, version in layer.packages:
                print(f"      {name} {version}")
