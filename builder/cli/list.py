"""``imgbuild list``: what there is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from builder.cli import output
from builder.cli.options import Common, common

if TYPE_CHECKING:
    from builder.pipeline.weighing import Weights
    from dsl.catalog import Definition


@click.command("list")
@click.option("--graph", type=click.Choice(["text", "json", "dot"]), help="Show what extends what.")
@click.option("--bytes", "weighed", is_flag=True, help="Show what each brings, compressed, and what images share.")
@common
def command(common: Common, graph: str | None, weighed: bool) -> None:
    """List components, layer definitions and images.

    \b
    Examples:
      imgbuild list
      imgbuild list --bytes
      imgbuild list --bytes --graph dot | dot -Tsvg > images.svg
    """
    catalog = common.catalog()
    definitions = tuple(catalog.definitions())
    weights = None
    if weighed:
        from builder.pipeline import weighing

        weights = weighing.weigh(catalog)
    edges = [(d.extends.reference, d.reference) for d in definitions if d.extends]
    if graph == "dot":
        print("digraph imgbuild {\n  rankdir=LR; node [shape=box];")
        for definition in definitions:
            style = "" if definition.kind == "image" else ", style=rounded"
            own = f"\\n{_own(definition, weights)}" if weights else ""
            print(f'  "{definition.reference}" [label="{definition.name}{own}"{style}];')
        print("".join(f'  "{below}" -> "{above}";\n' for below, above in edges) + "}")
    elif graph == "text":
        for definition in (d for d in definitions if d.extends is None):
            _tree(definition.reference, edges, 0)
    elif common.json or graph == "json":
        found = {"definitions": [_data(definition, weights) for definition in definitions]}
        output.print_json(found | ({"bytes": weights.together, "bytes_once": weights.once} if weights else {}))
    elif weights:
        rows = [
            (
                d.component or "",
                d.name,
                d.kind,
                _own(d, weights),
                output.size(weights.images[d.key]) if d.key in weights.images else "",
            )
            for d in definitions
        ]
        print(output.table(rows, ("COMPONENT", "NAME", "KIND", "OWN", "IMAGE")))
        count = len(weights.images)
        print(
            f"{count} images: {output.size(weights.together)} one by one, {output.size(weights.once)} as layers are shared"
        )
    else:
        rows_ = [(d.component or "", d.name, d.kind, d.version, d.model.summary) for d in definitions]
        print(output.table(rows_, ("COMPONENT", "NAME", "KIND", "VERSION", "SUMMARY")))
    if catalog.problems:
        common.reporter().warn(f"{len(catalog.problems)} problems in definitions: see `imgbuild check`")


def _own(definition: Definition, weights: Weights) -> str:
    return output.size(weights.own[definition.key]) if definition.key in weights.own else "not built"


def _data(definition: Definition, weights: Weights | None) -> dict[str, object]:
    said: dict[str, object] = {
        "name": definition.name,
        "reference": definition.reference,
        "kind": definition.kind,
        "component": definition.component,
        "summary": definition.model.summary,
        "extends": definition.extends.reference if definition.extends else None,
        "site": definition.site.name if definition.site else None,
        "foreign": definition.foreign,
    }
    if weights:
        said |= {"bytes_own": weights.own.get(definition.key), "bytes": weights.images.get(definition.key)}
    return said


def _tree(reference: str, edges: list[tuple[str, str]], depth: int) -> None:
    print("  " * depth + reference)
    for below, above in edges:
        if below == reference:
            _tree(above, edges, depth + 1)
