"""``imgbuild find``: which images hold a package."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from builder.cli import output
from builder.cli.options import Common, common, written


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
    for `inspect`; if none are, all of ./out are meant. A FILE, or - for standard input, is what `docker ps`, `podman ps
    --no-trunc` or `kubectl get pods -o yaml` print: what runs somewhere is asked then.

    \b
    Examples:
      imgbuild find openssl
      imgbuild find 'openssl (<< 3.5.9)' --releases all --json
      imgbuild find openssl registry:registry.example:5000/openstack/
      kubectl get pods -A -o yaml | imgbuild find 'libxml2 (<< 2.12.7)' --releases -
    """
    from builder.pipeline import finding

    wish = finding.Wish.parse(package)
    if releases in ("all", "current"):
        chosen = finding.Chosen(releases)
    else:
        text = sys.stdin.read() if releases == "-" else Path(releases).read_text("utf-8", "replace")
        chosen = finding.Chosen.named(text)
    found = tuple(finding.find(wish, images or ("",), common.store(), chosen))
    if common.json:
        output.print_json({"found": [one.data() for one in found]})
        return
    rows = [
        (one.image, one.package.title, one.package.version, one.layer[7:19], one.package.why, one.since, one.superseded)
        for one in found
    ]
    if rows:
        print(output.table(rows, ("IMAGE", "PACKAGE", "VERSION", "LAYER", "WHY", "SINCE", "SUPERSEDED BY")))
    else:
        print(f"no image holds {package}")
