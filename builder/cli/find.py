"""``imgbuild find``: which images hold a package."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from builder.cli import output
from builder.cli.options import Common, common, running, written

if TYPE_CHECKING:
    from builder.pipeline.finding import Chosen, Found, Wish


@click.command("find")
@click.argument("package")
@click.argument("images", nargs=-1, shell_complete=written)
@click.option(
    "--releases",
    metavar="all|current|FILE|-",
    default="current",
    show_default=True,
    help="Every release, the newest of each image, or those whose digests or names a text holds.",
)
@common
def command(common: Common, package: str, images: tuple[str, ...], releases: str) -> None:
    """Find the images that hold a package: in which layer, which version, and why.

    PACKAGE is a binary or a source package, with a version if need be, as a Depends field writes it. IMAGES are named as
    for `inspect`; if none are, the record of the workspace is asked, or ./out where that has nothing. A FILE, or - for
    standard input, is what `docker ps`, `podman ps --no-trunc` or `kubectl get pods -o yaml` print: what runs somewhere
    is asked then.

    \b
    Examples:
      imgbuild find openssl
      imgbuild find 'openssl (<< 3.5.9)' --releases all --json
      imgbuild find openssl registry:registry.example:5000/openstack/
      kubectl get pods -A -o yaml | imgbuild find 'libxml2 (<< 2.12.7)' --releases -
    """
    from builder.model.release import moment
    from builder.pipeline import finding

    wish = finding.Wish.parse(package)
    chosen = finding.Chosen(releases) if releases in ("all", "current") else running(releases, common.names())
    found = _recorded(common, wish, chosen) if not images else None
    if found is None:
        found = tuple(finding.find(wish, images or ("",), common.store(), chosen, common.names()))
    if common.json:
        output.print_json({"found": [one.data() for one in found]})
        return
    rows = [
        (
            one.image,
            one.package.title,
            one.package.version,
            one.layer[7:19],
            one.package.why,
            f"{one.since} {moment(one.since_time)[:10]}".strip(),
            one.superseded,
        )
        for one in found
    ]
    if rows:
        print(output.table(rows, ("IMAGE", "PACKAGE", "VERSION", "LAYER", "WHY", "SINCE", "SUPERSEDED BY")))
    else:
        print(f"no image holds {package}")


def _recorded(common: Common, wish: Wish, chosen: Chosen) -> tuple[Found, ...] | None:
    """What the workspace's record says; None if this is no workspace, or nothing is in the record."""
    from builder.pipeline import finding, recording
    from dsl.catalog import UnknownTarget

    try:
        catalog = common.catalog()
    except UnknownTarget:
        return None
    record = recording.opened(catalog, common.store())
    recording.follow(catalog, record, common.reporter())
    if not recording.summary(catalog, record).releases:
        return None
    return tuple(finding.recorded(wish, catalog, record, chosen))
