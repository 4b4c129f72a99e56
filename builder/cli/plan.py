"""``imgbuild plan``: what a build would do."""

from __future__ import annotations

import functools
from typing import Any

import click

from builder.cli import output
from builder.cli.options import Common, common, targets


@click.command("plan")
@click.argument("targets", nargs=-1, shell_complete=targets)
@click.option("--all", "everything", is_flag=True, help="All components.")
@common
def command(common: Common, targets: tuple[str, ...], everything: bool) -> None:
    """Show which layers a build would make or reuse, with the packages and sizes of each.

    \b
    Examples:
      imgbuild plan nova
      imgbuild plan nova/nova-api --json
      imgbuild plan --all
    """
    from builder.model import plan
    from builder.pipeline import building
    from builder.pipeline.edges import Edges

    if not targets and not everything:
        raise click.UsageError("name a target, or --all")
    store = common.store()
    # Images share most of their layers.
    known = functools.cache(store.made)
    planned = building.plan(common.catalog(), targets, Edges(store, common.reporter()))
    images: list[dict[str, Any]] = []
    for image in planned.images:
        layers: list[dict[str, Any]] = []
        for layer in image.layers:
            made = known(layer.cache_key)
            packages = plan.artifacts(layer)
            layers.append(
                {
                    "kind": plan.kind(layer),
                    "definition": layer.definition,
                    "group": plan.group(layer),
                    "packages": [f"{p.title} {p.version}" for p in packages],
                    "package_bytes": sum(p.size for p in packages),
                    "bytes": made.layer.size if made else None,
                    "action": "reuse" if made else "make",
                    "cache_key": layer.cache_key,
                }
            )
        images.append({"image": image.image, "tag": image.tag, "layers": layers})
    if common.json:
        output.print_json({"images": images})
        return
    for entry in images:
        print(f"{entry['image']}:{entry['tag']}")
        rows = [
            (
                f"  {layer['action']}",
                str(layer["kind"]),
                f"{layer['definition']} {layer['group']}".strip(),
                f"{len(layer['packages'])} packages" if layer["packages"] else "",
                output.size(layer["bytes"]) if layer["bytes"] is not None else "",
            )
            for layer in entry["layers"]
        ]
        print(output.table(rows, ("  ACTION", "KIND", "WHAT", "PACKAGES", "SIZE")))
