"""``imgbuild why``: the chain of dependencies."""

from __future__ import annotations

import click

from builder.cli import output
from builder.cli.options import Common, common, targets


@click.command("why")
@click.argument("package")
@click.argument("image", shell_complete=targets)
@common
def command(common: Common, package: str, image: str) -> None:
    """Explain why a package is in an image.

    \b
    Example:
      imgbuild why openssl nova-api
    """
    from builder.pipeline import locking, packages, selection
    from builder.resolve import locking as resolving

    catalog = common.catalog()
    definition = selection.images(catalog, [image])[0]
    locks = locking.read(definition.chain(), packages.architecture(catalog))
    chain = tuple(locks[part.key] for part in definition.chain() if part.key in locks)
    found = resolving.why(chain, package)
    if common.json:
        output.print_json([{"package": p.title, "version": p.version, "definition": d, "why": p.why} for d, p in found])
        return
    for depth, (name, one) in enumerate(found):
        print(f"{'  ' * depth}{one.title} {one.version} ({name})")
    print(f"{'  ' * len(found)}{found[-1][1].why}")
