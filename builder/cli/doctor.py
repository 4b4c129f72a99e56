"""``imgbuild doctor``: what this machine can do, and what it lacks."""

from __future__ import annotations

from dataclasses import asdict

import click

from builder.cli import output
from builder.cli.options import Common, common

WORDS = {"ok": "ok", "optional": "note", "missing": "MISSING"}


@click.command("doctor")
@click.option("--offline", is_flag=True, help="Ask no mirrors.")
@common
def command(common: Common, offline: bool) -> int:
    """Say what this machine can do, and what to install or set.

    What can be tried is tried: namespaces, an overlay where the store lies, the mirrors of the workspace's sources, the
    engines. Ends with 0 if builds work here, with 1 if something is missing; a note tells of what few need.

    \b
    Examples:
      imgbuild doctor
      imgbuild doctor --offline --json
    """
    from builder.pipeline import diagnosing
    from builder.pipeline.edges import Edges
    from dsl.errors import ImgbuildError

    edges = Edges(common.store(), common.reporter(), offline=offline)
    unread = ""
    try:
        catalog = None if offline else common.catalog()
    except ImgbuildError as error:
        catalog, unread = None, error.message
    found = []
    for one in diagnosing.diagnose(catalog, edges):
        found.append(one)
        if not common.json:
            click.echo(f"{WORDS[one.status]:8}{one.name:11} {one.found}")
            if one.hint:
                click.echo(f"{'':20}→ {one.hint}")
    works = all(one.status != "missing" for one in found)
    if common.json:
        output.print_json({"works": works, "findings": [asdict(one) for one in found], "workspace": unread})
        return 0 if works else 1
    if unread:
        click.echo(f"{'note':8}{'workspace':11} {unread}\n{'':20}→ no mirrors were asked")
    click.echo("builds work here" if works else "builds do not work here until what is MISSING is there")
    return 0 if works else 1
