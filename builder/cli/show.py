"""``imgbuild show``: a definition as it is."""

from __future__ import annotations

from typing import Any

import click

from builder.cli import output
from builder.cli.options import Common, common, definitions


@click.command("show")
@click.argument("target", shell_complete=definitions)
@click.option("--origin", is_flag=True, help="Say where each value comes from.")
@common
def command(common: Common, target: str, origin: bool) -> None:
    """Print a definition as it is after overlays.

    \b
    Examples:
      imgbuild show nova                a component
      imgbuild show nova/nova-api       one of its images, or a definition that they share
      imgbuild show openstack           a layer definition, in its highest version
      imgbuild show "openstack 1.1.0"   in this version
      imgbuild show nova --origin       with file, line and column of each value
    """
    catalog = common.catalog()
    shown = catalog.component(target) or catalog.definition(target)
    at = getattr(shown, "at", ())
    data = _lists(shown.document.value(at))
    if origin:
        rows = [
            {"path": list(path), "value": leaf, "origin": str(shown.document.place((*at, *path)))}
            for path, leaf in _leaves(data)
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


def _lists(data: Any) -> Any:
    match data:
        case dict():
            return {key: _lists(value) for key, value in data.items()}
        case tuple():
            return [_lists(value) for value in data]
    return data


def _leaves(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[tuple[Any, ...], Any]]:
    if isinstance(data, dict) and data:
        return [leaf for key, value in data.items() for leaf in _leaves(value, (*path, key))]
    if isinstance(data, list) and data:
        return [leaf for index, value in enumerate(data) for leaf in _leaves(value, (*path, index))]
    return [(path, data)]
