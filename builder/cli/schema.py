"""``imgbuild schema``: the JSON Schema of the language."""

from __future__ import annotations

import click

from builder.cli import output
from builder.cli.options import Common, common


@click.command("schema")
@click.argument("kind", required=False, type=click.Choice(["component", "layer", "workspace", "overlay"]))
@common
def command(common: Common, kind: str | None) -> None:
    """Print the JSON Schema (2020-12) of definitions, for editors.

    \b
    Examples:
      imgbuild schema > imgbuild.schema.json
      imgbuild schema component
    """
    from dsl import schema

    output.print_json(schema.of(kind) if kind else schema.everything())
