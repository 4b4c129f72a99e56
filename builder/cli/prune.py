"""``imgbuild prune``: old releases go."""

from __future__ import annotations

import click

from builder.cli import output
from builder.cli.options import Common, common, running


@click.command("prune")
@click.argument("place", default="oci:out")
@click.option(
    "--keep", type=click.IntRange(1, 1000), default=3, show_default=True, help="How many releases of each image stay."
)
@click.option("--in-use", "in_use", metavar="FILE|-", default="",
              help="Releases that run stay: what `docker ps`, `podman ps` or `kubectl get pods -A -o yaml` print; - is"
              " standard input.")  # fmt: skip
@click.option("--yes", is_flag=True, help="Remove them; without it, it is only said what would go.")
@common
def command(common: Common, place: str, keep: int, in_use: str, yes: bool) -> int:
    """Remove old releases from PLACE, a layout (oci:DIR) or a registry (registry:HOST/PREFIX/).

    The newest of each image stay (each stream by itself), those that run, that a lock of the workspace says are current, and
    that a floating tag leads to. A registry frees the space when its own garbage collection runs.

    \b
    Examples:
      imgbuild prune --keep 5                       what would go from ./out
      imgbuild prune --keep 5 --yes
      docker ps --no-trunc | imgbuild prune registry:registry.example/openstack/ --in-use - --yes
    """
    from builder.pipeline import pruning
    from builder.pipeline.edges import Edges
    from builder.pipeline.finding import Chosen

    edges = Edges(common.store(), common.reporter())
    catalog = common.catalog()
    chosen = running(in_use, catalog.names) if in_use else Chosen.named("", catalog.names)
    plan = pruning.plan(catalog, place, keep, chosen, edges)
    if yes:
        pruning.carry_out(catalog, plan, edges)
    if common.json:
        output.print_json({"done": yes, "bytes": plan.bytes, "images": [one.data() for one in plan.verdicts]})
        return 0
    if common.verbosity >= 0:
        rows = [(one.name, "stays" if one.because else "goes", one.because, one.digest[:19]) for one in plan.verdicts]
        print(output.table(rows, ("IMAGE", "", "BECAUSE", "DIGEST")))
    said = "removed" if yes else "would be removed (--yes does it)"
    count = len(plan.gone)
    print(f"{count} {'release' if count == 1 else 'releases'}, {output.size(plan.bytes)} of layers: {said}")
    return 0
