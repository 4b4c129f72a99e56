"""``imgbuild list``: what there is."""

from __future__ import annotations

import click

from builder.cli import output
from builder.cli.options import Common, common


@click.command("list")
@click.option("--graph", type=click.Choice(["text", "json", "dot"]), help="Show what extends what.")
@common
def command(common: Common, graph: str | None) -> None:
    """List components, layer definitions and images.

    \b
    Examples:
      imgbuild list
      imgbuild list --graph dot | dot -Tsvg > images.svg
    """
    catalog = common.catalog()
    definitions = tuple(catalog.definitions())
    edges = [(d.extends.reference, d.reference) for d in definitions if d.extends]
    if graph == "dot":
        print("digraph imgbuild {\n  rankdir=LR; node [shape=box];")
        for definition in definitions:
            style = "" if definition.kind == "image" else ", style=rounded"
            print(f'  "{definition.reference}" [label="{definition.name}"{style}];')
        print("".join(f'  "{below}" -> "{above}";\n' for below, above in edges) + "}")
    elif graph == "text":
        for definition in (d for d in definitions if d.extends is None):
            _tree(definition.reference, edges, 0)
    elif common.json or graph == "json":
        output.print_json(
            {
                "definitions": [
                    {
                        "name": d.name,
                        "reference": d.reference,
                        "kind": d.kind,
                        "component": d.component,
                        "summary": d.model.summary,
                        "extends": d.extends.reference if d.extends else None,
                        "site": d.site.name if d.site else None,
                        "foreign": d.foreign,
                    }
                    for d in definitions
                ]
            }
        )
    else:
        rows = [(d.component or "", d.name, d.kind, d.version, d.model.summary) for d in definitions]
        print(output.table(rows, ("COMPONENT", "NAME", "KIND", "VERSION", "SUMMARY")))
    if catalog.problems:
        common.reporter().warn(f"{len(catalog.problems)} problems in definitions: see `imgbuild check`")


def _tree(reference: str, edges: list[tuple[str, str]], depth: int) -> None:
    print("  " * depth + reference)
    for below, above in edges:
        if below == reference:
            _tree(above, edges, depth + 1)
