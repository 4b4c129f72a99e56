"""``imgbuild withdraw``: take a bad fix back."""

from __future__ import annotations

from pathlib import Path

import click

from builder.cli import output
from builder.cli.options import Common, common, jobs_option


@click.command("withdraw")
@click.argument("release", metavar="IMAGE:TAG")
@click.option("--because", required=True, metavar="TEXT", help="What is wrong with it.")
@click.option(
    "--until", default="", metavar="DAY", help="The last day of the hold on what it moved; for good if not given."
)
@click.option("--dry-run", is_flag=True, help="Say what would move; write nothing, build nothing.")
@click.option("--to", "destination", default="oci:out", show_default=True, metavar="TARGET", help="Where images go.")
@click.option("--report", type=click.Path(dir_okay=False, path_type=Path), help="Write the report there, as Markdown.")
@jobs_option
@common
def command(
    common: Common,
    release: str,
    because: str,
    until: str,
    dry_run: bool,
    destination: str,
    report: Path | None,
    jobs: int,
) -> int:
    """Take a release with a bad fix back: what it moved returns to the versions of the release before.

    Whichever locks hold these packages, they change, by the history that git has of the locks; every image that stands
    on them gets its next revision: a revision never comes back. The versions are held, so that no update moves to them
    again, and security/withdrawn.yaml says which floating tags have to move when the images are published. A package
    that no mirror has any more is taken from the store, the workspace's stores or its source's snapshot.

    \b
    Examples:
      imgbuild withdraw nova-api:31.0.0-r4 --because "it cannot reach the database" --dry-run
      imgbuild withdraw nova-api:31.0.0-r4 --because "it cannot reach the database" --report report.md
    """
    from builder.pipeline import withdrawing
    from builder.pipeline.edges import Edges

    edges = Edges(common.store(), common.reporter(), jobs)
    found = withdrawing.withdraw(common.catalog(), release, because, destination, edges, until=until, dry_run=dry_run)
    output.change(withdrawing.markdown(found), found.data(), report, json_wanted=common.json)
    return 1 if output.failures(found.built) else 0
