"""``imgbuild copy``: images from where they lie to somewhere else."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from builder.cli import output
from builder.cli.options import Common, common, jobs_option, written

if TYPE_CHECKING:
    from builder.pipeline.copying import Copied


@click.command("copy")
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True, shell_complete=written)
@click.argument("target")
@jobs_option
@common
def command(common: Common, sources: tuple[str, ...], target: str, jobs: int) -> int:
    """Copy images to TARGET: the newest that fits each SOURCE.

    A SOURCE is an image as `imgbuild inspect` names it, or a place (oci:DIR, registry:HOST/PREFIX/) for the newest release
    of each image there. TARGET is what `imgbuild build --to` takes, or registry:HOST[:PORT][/PREFIX].

    Digests stay as they are (engines and docker archives keep no manifest: these get a new one), and locks, bills of materials
    and provenance go along where the target keeps them. In a registry the tag of a release never gets another content, and
    no other tag moves: that is `imgbuild publish`.

    \b
    Examples:
      imgbuild copy registry:registry.example/openstack/nova-api:31 docker:
      imgbuild copy registry:staging.example/openstack/ registry:registry.example/openstack
      imgbuild copy nova-api keystone oci-archive:'{image}.tar'
      imgbuild copy oci:out:web rootfs:/var/lib/machines/web
    """
    from builder.pipeline import copying
    from builder.pipeline.edges import Edges

    edges = Edges(common.store(), common.reporter(), jobs)
    catalog = common.catalog()
    copied = copying.copy(catalog, sources, target, edges)
    print_copied(common, copied)
    return 0


def print_copied(common: Common, copied: Iterable[Copied]) -> None:
    """Tell what is where now."""
    if common.json:
        output.print_json({"images": [one.data() for one in copied]})
    elif common.verbosity < 0:
        for one in copied:
            print(one.target)
    else:
        rows = [(one.source, one.target, one.digest[:19]) for one in copied]
        print(output.table(rows, ("SOURCE", "TARGET", "DIGEST")))
