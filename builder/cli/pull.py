"""``imgbuild pull``: the releases that the locks say are current → a layout, or an engine."""

from __future__ import annotations

import click

from builder.cli.copy import print_copied
from builder.cli.options import Common, common, jobs_option, targets


@click.command("pull")
@click.argument("targets", nargs=-1, shell_complete=targets)
@click.option("--registry", metavar="HOST[:PORT][/PREFIX]", default="", help="Where from; the workspace may name it.")
@click.option("--to", "destination", metavar="TARGET", default="oci:out", show_default=True,
              help="What `imgbuild build --to` takes.")  # fmt: skip
@jobs_option
@common
def command(common: Common, targets: tuple[str, ...], registry: str, destination: str, jobs: int) -> int:
    """Fetch what the locks say is current from a registry: the counterpart of `imgbuild publish`.

    Without a TARGET it is everything. Layers that this machine has are not fetched again.

    \b
    Examples:
      imgbuild pull nova
      imgbuild pull nova/nova-api --to podman:
      imgbuild pull --registry registry.example:5000/openstack
    """
    from builder.pipeline import copying
    from builder.pipeline.edges import Edges

    catalog = common.catalog()
    edges = Edges(common.store(), common.reporter(), jobs)
    sources = copying.released(catalog, targets, registry)
    print_copied(common, copying.copy(catalog, sources, destination, edges))
    return 0
