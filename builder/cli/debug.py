"""``imgbuild debug``: tools on top of an image, in the place of a container that runs it."""

from __future__ import annotations

import click

from builder.cli import engines, output
from builder.cli.options import Common, common, jobs_option, targets


@click.command("debug")
@click.argument("target", metavar="CONTAINER|IMAGE", shell_complete=targets)
@click.argument("words", metavar="[-- COMMAND...]", nargs=-1)
@engines.engine_option
@click.option(
    "--to", "destination", default="", metavar="TARGET", help="Only write the image there: oci:DIR, docker:, podman:."
)
@click.option("--dry-run", is_flag=True, help="Print the command, run nothing.")
@jobs_option
@common
def command(
    common: Common, target: str, words: tuple[str, ...], engine: str | None, destination: str, dry_run: bool, jobs: int
) -> None:
    """Look into a container that runs, with tools that its image lacks; or into an image.

    The image that the container runs is built once more as IMAGE-debug, with the packages of the layer definition
    `debug` on top of it: the same files and libraries, beside ps, ss, curl, strace, gdb. It is started in the
    processes, network and volumes of the container, whose files lie in /proc/1/root. The container goes on as it
    was. What is installed is locked once for each image, in the store.

    A name is that of a container that runs, else that of an image of the workspace.

    \b
    Examples:
      imgbuild debug nova-api                       a shell
      imgbuild debug nova-api -- ss -tlnp
      imgbuild debug nova/nova-api --to oci:debug   to publish it, for kubectl debug --image
    """
    from builder.pipeline import debugging, running
    from builder.pipeline.edges import Edges

    edges = Edges(common.store(), common.reporter(), jobs)
    catalog = common.catalog()
    found = debugging.container(target, engines.kind_of(engine), edges)
    container = found[1] if found else None
    image = debugging.image_of(catalog, container, edges) if container else debugging.image_named(catalog, target)
    kind = found[0] if found else engines.kind_of(engine)
    if not destination:
        kind = kind or running.answering(edges.store)
    built = debugging.build(catalog, image, destination or f"{kind}:", edges)
    if built.error:
        raise built.error
    reference = f"{built.image}:{built.tag}"
    if destination or kind is None:
        if common.json:
            output.print_json(built.data())
        else:
            print(reference)
        return
    entered = debugging.entering(kind, reference, container, engines.interactive(), words)
    engines.become(entered, common.reporter(), dry_run=dry_run)
