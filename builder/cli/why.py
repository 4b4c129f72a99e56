"""``imgbuild why``: the chain of dependencies."""

from __future__ import annotations

import click

from builder.cli import output
from builder.cli.options import Common, common


@click.command("why")
@click.argument("package")
@click.argument("image")
@common
def command(common: Common, package: str, image: str) -> None:
    """Explain why a package is in an image.

    \b
    Example:
      imgbuild why openssl nova-api
    """
    from builder.pipeline import locking, packages
    from builder.resolve import locking as resolving

    catalog = common.catalog()
    wanted = locking.images(catalog, [image])
    locks = locking.read(wanted, packages.architecture(catalog))
    chain = tuple(locks[part.name] for part in wanted[0].chain() if part.name in locks)
    found = resolving.why(chain, package)
    if common.json:
        output.print_json([{"package": p.name, "version": p.version, "definition": d, "why": p.why} for d, p in found])
        return
    for depth, (definition, one) in enumerate(found):
        print(f"{'  ' * depth}{one.name} {one.version} ({definition})")
    print(f"{'  ' * len(found)}{found[-1][1].why}")
