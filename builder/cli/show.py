"""``imgbuild show``: a definition as it is."""

from __future__ import annotations

from typing import Any

import click

from builder.cli import output
from builder.cli.options import Common, common


@click.command("show")
@click.argument("target")
@click.option("--origin", is_flag=True, help="Say where each value comes from.")
@common
def command(common: Common, target: str, origin: bool) -> None:
    """Print a definition as it is after overlays.

    \b
    Examples:
      imgbuild show nova
      imgbuild show nova --origin     with file, line and column of each value
      imgbuild show openstack --json
    """
    catalog = common.catalog()
    component = next((c for c in catalog.components if c.name == target), None)
    if component:
        value: Any = component.model
    else:
        layer = next((d for d in catalog.layers if d.name == target), None)
        value = layer.model if layer else catalog.find(target)[0].model
    data = value.model_dump(mode="json", by_alias=True, exclude_unset=True)
    if origin:
        places = catalog.origins(target)
        rows = [
            {"path": list(path), "value": leaf, "origin": str(places.get(path, ""))} for path, leaf in _leaves(data)
        ]
        if common.json:
            output.print_json(rows)
        else:
            print(output.table(
                [(".".join(str(p) for p in r["path"]), str(r["value"]).replace("\n", "\\n")[:60], r["origin"]) for r in rows],
                ("KEY", "VALUE", "ORIGIN"),
            ))  # fmt: skip
    elif common.json:
        output.print_json(data)
    else:
        import yaml

        print(yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=100), end="")


def _leaves(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[tuple[Any, ...], Any]]:
    if isinstance(data, dict) and data:
        return [leaf for key, value in data.items() for leaf in _leaves(value, (*path, key))]
    if isinstance(data, list) and data:
        return [leaf for index, value in enumerate(data) for leaf in _leaves(value, (*path, index))]
    return [(path, data)]
