"""``imgbuild rebuild``: an image made again from its lock."""

from __future__ import annotations

import click

from builder.cli import output
from builder.cli.options import Common, common, jobs_option, written


@click.command("rebuild")
@click.argument("images", shell_complete=written, nargs=-1, required=True)
@click.option("--to", "keep", metavar="oci:DIR", help="Keep what comes out, in a layout.")
@jobs_option
@common
def command(common: Common, images: tuple[str, ...], keep: str | None, jobs: int) -> int:
    """Make images again from their locks, in an empty store, and say whether they are the same bytes; ends with 3 if not.

    IMAGE is one of an OCI layout that `build` wrote, named as for `inspect`: its lock lies there. Its definition is the
    workspace's, as it is now. Packages are taken from the store if their checksums are right. Of a release for several
    architectures each image is made again.

    \b
    Examples:
      imgbuild rebuild nova-api
      imgbuild rebuild oci:release:keystone --to oci:again
    """
    from builder import transports
    from builder.cli import differences
    from builder.errors import UsageError
    from builder.pipeline import rebuilding
    from builder.pipeline.edges import Edges

    target = transports.parse_target(keep) if keep else None
    if target and target.kind != "oci":
        raise UsageError(f"{target}: what is made again is kept in a layout", "say --to oci:DIR")
    store = common.store()
    stored = [found for asked in images for found in transports.read_every(asked, store, common.names())]
    edges = Edges(store, common.reporter(), jobs)
    done = []
    for one in rebuilding.rebuild(common.catalog(), stored, edges, keep=target):
        done.append(one)
        if common.json:
            continue
        if one.same:
            print(f"{one.name}: the same, {one.new.digest}")
            continue
        print(f"{one.name}: not the same: {one.old.digest} was, {one.new.digest} is")
        differences.show(one.layers, one.old, one.new, everything=common.verbosity > 0)
        if one.kept:
            print(f"more is shown by: imgbuild diff {one.place} {one.kept} --files")
        else:
            print("keep it with --to oci:DIR to look further")
    if common.json:
        output.print_json({"images": [one.data() for one in done]})
    return 0 if all(one.same for one in done) else 3
