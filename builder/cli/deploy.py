"""``imgbuild deploy``: what runs together at a site."""

from __future__ import annotations

from pathlib import Path

import click

from builder.cli import output
from builder.cli.options import Common, common


@click.group("deploy")
def command() -> None:
    """Images that run together at a site: its file names components, values and addresses."""


@command.command("render")
@click.argument("site", type=click.Path(exists=True, path_type=Path))
@click.option("--format", "form", type=click.Choice(["compose", "quadlet"]), required=True,
              help="compose.yaml for docker compose; units of podman for systemd.")  # fmt: skip
@click.option("--to", "folder", type=click.Path(file_okay=False, path_type=Path), default=Path("rendered"),
              show_default=True, help="The folder to write to.")  # fmt: skip
@click.option("--secrets", type=click.Path(dir_okay=False, path_type=Path),
              help="Names and secrets, as YAML; what it does not hold is made once and kept there.")  # fmt: skip
@common
def render(common: Common, site: Path, form: str, folder: Path, secrets: Path | None) -> None:
    """Write what docker compose or podman's Quadlet needs to run a site: the same input, the same bytes.

    SITE is a file, or a folder with a site.yaml. Every container has what its image declares and nothing more;
    configuration is rendered from the templates of the components and mounted where it is expected. Steps are
    services of the profile `steps`, or units that run once when they are started.

    \b
    Examples:
      imgbuild deploy render site.yaml --format compose --secrets secrets.yaml
      docker compose -f rendered/compose.yaml run --rm mariadb-init
      docker compose -f rendered/compose.yaml up --detach
      imgbuild deploy render site.yaml --format quadlet --to /etc/containers/systemd/shop
    """
    from builder.pipeline import deploying
    from builder.pipeline.edges import Edges

    file = deploying.read(site)
    edges = Edges(common.store(), common.reporter())
    vault = deploying.Vault(secrets)
    found = deploying.deployment(common.catalog(), file, vault, edges)
    deploying.require_secrets(vault)
    vault.keep()
    (chosen,) = (one for one in deploying.FORMATS if one == form)
    written, undone = deploying.write(found, chosen, folder)
    for name in vault.made:
        edges.reporter.note(f"made the secret {name}, kept in {secrets}")
    for line in undone:
        edges.reporter.warn(f"not the owner that its container needs; as root: {line}")
    if common.json:
        images = {one.name: one.declared.reference for one in found.workloads}
        output.print_json(
            {"site": found.site, "images": images, "files": [str(path) for path in written], "todo": undone}
        )
        return
    for path in written:
        print(path)
