"""``imgbuild report``: a page to look at."""

from __future__ import annotations

from pathlib import Path

import click

from builder.cli import output
from builder.cli.options import Common, common, targets
from builder.cli.security import feeds_option, offline_option


@click.command("report")
@click.argument("targets", nargs=-1, shell_complete=targets)
@click.option("--to", "to", type=click.Path(path_type=Path), default=Path("report.html"), show_default=True,
              help="The file to write.")  # fmt: skip
@feeds_option
@offline_option
@common
def command(common: Common, targets: tuple[str, ...], to: Path, feeds: tuple[str, ...], offline: bool) -> None:
    """Write a page of HTML about images: open advisories, each image's layers with sizes and packages, releases.

    It is one file that needs nothing from elsewhere, for phones, keyboards and the dark, too.

    \b
    Examples:
      imgbuild report
      imgbuild report nova --to nova.html --offline
    """
    from datetime import UTC, datetime

    from builder.overview import page
    from builder.pipeline import securing, surveying
    from builder.pipeline.edges import Edges
    from builder.tools import files

    catalog = common.catalog()
    edges = Edges(common.store(), common.reporter())
    told = securing.read_feeds(catalog, feeds, edges, offline=offline)
    overview = surveying.survey(catalog, targets, told, datetime.now(UTC).date(), edges)
    files.write(to, page.html(overview).encode())
    if common.json:
        output.print_json({"report": str(to), "images": len(overview.images), "open": len(overview.flaws)})
    else:
        print(f"{to}: {len(overview.images)} images, {len(overview.flaws)} open advisories")
