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
    definitions = list(catalog.layers)
    for component in catalog.components:
        definitions += [*component.shared, *component.images]
    edges = [(d.extends.name, d.name) for d in definitions if d.extends]
    if graph == "dot":
        print("digraph imgbuild {\n  rankdir=LR; node [shape=box];")
        for definition in definitions:
            style = "" if definition.kind == "image" else ", style=rounded"
            print(f'  "{definition.name}" [label="{definition.name}"{style}];')
        print("".join(f'  "{below}" -> "{above}";\n' for below, above in edges) + "}")
    elif graph == "text":
        for definition in (d for d in definitions if d.extends is None):
            _tree(definition.name, edges, 0)
    elif common.json or graph == "json":
        output.print_json(
            {
                "definitions": [
                    {
                        "name": d.name,
                        "kind": d.kind,
                        "component": d.component,
                        "summary": d.model.summary,
                        "extends": d.extends.name if d.extends else None,
                    }
                    for d in definitions
                ]
            }
        )
    else:
        rows = [(d.component or "", d.name, d.kind, d.model.summary) for d in definitions]
        print(output.table(rows, ("COMPONENT", "NAME", "KIND", "SUMMARY")))
    if catalog.problems:
        common.reporter().warn(f"{len(catalog.problems)} problems in definitions: see `imgbuild check`")


def _tree(name: str, edges: list[tuple[str, str]], depth: int) -> None:
    print("  " * depth + name)
    for below, above in edges:
        if below == name:
            _tree(above, edges, depth + 1)
