"""``imgbuild record``: what is remembered of releases."""

from __future__ import annotations

import click

from builder.cli import output
from builder.cli.options import Common, common


@click.command("record")
@click.argument("action", type=click.Choice(["show", "rebuild"]), default="show")
@click.argument("images", nargs=-1)
@common
def command(common: Common, action: str, images: tuple[str, ...]) -> None:
    """Show what the record has of the workspace (`show`), or make it anew (`rebuild`).

    The record is an index: of the lock files in git, and of IMAGES, named as for `inspect`; those of a registry are
    published there. If none are named it is those of ./out, and those in the workspace's `registry`, as far as these
    are there. It is a file in the store, or what `record` of imgbuild.yaml or IMGBUILD_RECORD names: another file,
    or a database of PostgreSQL, for which a password comes from the workspace's `netrc`, PGPASSWORD or ~/.pgpass.

    \b
    Examples:
      imgbuild record
      imgbuild record rebuild
      imgbuild record rebuild oci:out registry:registry.example:5000/openstack/
      IMGBUILD_RECORD=postgresql://imgbuild@db.example/imgbuild imgbuild record --json
    """
    from builder.errors import UsageError
    from builder.model.release import moment
    from builder.pipeline import recording
    from builder.pipeline.edges import Edges
    from builder.record import schema

    if images and action == "show":
        raise UsageError("`record show` looks at no images", "say `imgbuild record rebuild` to read some into it")
    edges = Edges(common.store(), common.reporter())
    catalog = common.catalog()
    record = recording.opened(catalog, edges.store)
    if action == "rebuild":
        found = recording.rebuild(catalog, record, images or recording.own_places(catalog, edges), edges)
        for broken in found.broken:
            edges.reporter.warn(f"{broken}: left out")
        if found.partly:
            edges.reporter.warn(f"{found.partly} releases stand on locks that are in no commit here: known in part")
    else:
        recording.follow(catalog, record, edges.reporter)
    has = recording.summary(catalog, record)
    since = moment(has.since)
    if common.json:
        output.print_json(
            {
                "place": record.where, "schema": schema.VERSION, "workspace": recording.workspace(catalog),
                "images": has.images, "releases": has.releases, "built": has.built, "published": has.published,
                "since": since or None,
            }
        )  # fmt: skip
        return
    print(f"{record.where} (schema {schema.VERSION})")
    told = f", since {since[:10]}" if since else ""
    print(
        f"{has.releases} releases of {has.images} images{told}; {has.built} of them with their digests, {has.published} published"
    )
