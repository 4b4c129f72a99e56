"""``imgbuild store``: packages and layers in a registry."""

from __future__ import annotations

import click

from builder.cli import output
from builder.cli.options import Common, common, jobs_option, targets


@click.group("store")
def command() -> None:
    """A store in a registry: packages by their sha256 and layers by their keys, for runners that begin with nothing."""


@command.command("push")
@click.argument("targets", nargs=-1, shell_complete=targets)
@click.option("--to", "place", metavar="registry:HOST[:PORT]/NAME", default="",
              help="The repository; else it is the first registry among the workspace's `stores`.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Only say what would be sent.")
@jobs_option
@common
def push(common: Common, targets: tuple[str, ...], place: str, dry_run: bool, jobs: int) -> int:
    """Send what the store lacks: the packages and wheels of the locks, and the layers that this machine has made of them.

    Without a TARGET it is everything that is locked. Packages that this machine does not have are fetched. Several may push
    at once. A workspace that names the repository under `stores` takes both from there: its locks build when mirrors have
    moved on, and an empty runner makes no layer again.

    It ends with 1 if a locked package is nowhere to be had any more; all else is sent.

    \b
    Examples:
      imgbuild store push --to registry:registry.example:5000/openstack/store
      imgbuild store push nova keystone
      imgbuild store push --dry-run --json
    """
    from builder.pipeline import building, stocking
    from builder.pipeline.edges import Edges

    catalog = common.catalog()
    edges = Edges(common.store(), common.reporter(), jobs)
    done = stocking.push(
        catalog, targets, place, lambda meant, images: building.plans(meant, images, edges).values(), edges,
        dry_run=dry_run,
    )  # fmt: skip
    if common.json:
        output.print_json({"dry_run": dry_run, **done.data()})
    else:
        said = "would be sent" if dry_run else "sent"
        print(
            f"{done.packages} packages and {done.layers} layers {said}, {output.size(done.bytes)}; {done.there} there"
        )
    return 1 if done.gone else 0
