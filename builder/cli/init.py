"""``imgbuild init``: a component repo from a package's name."""

from __future__ import annotations

from pathlib import Path

import click

from builder.cli import output
from builder.cli.options import Common, common

DEFAULT_LAYER = "debian-13 ^1.0"


@click.command("init")
@click.argument("name")
@click.option("--package", metavar="PKG", help="The Debian package that has the service; NAME if not given.")
@click.option("--extends", default=DEFAULT_LAYER, show_default=True, metavar="LAYER", help="What the image stands on.")
@click.option(
    "--in",
    "target",
    metavar="DIR",
    help="The folder that gets NAME/component.yaml; by default repos/ of the workspace, or here.",
)
@click.option("--dry-run", is_flag=True, help="Print the file, write nothing.")
@common
def command(
    common: Common, name: str, package: str | None, extends: str, target: str | None, dry_run: bool
) -> None:  # fmt: skip
    """Propose a component repo from a package's name.

    Reads the package's units, init script, users and folders, and writes NAME/component.yaml, whose comments say
    where each value comes from. It never overwrites.

    \b
    Examples:
      imgbuild init redis --package redis-server
      imgbuild init glance --package glance-api --extends "openstack ^1.0"
      imgbuild init nginx --dry-run
    """
    from builder.pipeline import proposing
    from builder.pipeline.edges import Edges

    folder = (common.directory / Path(target)) if target else None
    edges = Edges(common.store(), common.reporter())
    found = proposing.propose(common.directory, common.repos, name, package or name, extends, folder, edges)
    if not dry_run:
        proposing.write(found)
    if common.json:
        output.print_json(
            {"path": str(found.path), "written": not dry_run, "look": list(found.look), "text": found.text}
        )
    elif dry_run:
        print(found.text, end="")
    else:
        print(f"wrote {found.path}")
        for line in found.look:
            print(f"  look: {line}")
        where = "" if found.in_workspace else f"-C {found.path.parent} "
        print(f"next: imgbuild {where}build {name}")
