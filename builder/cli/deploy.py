"""``imgbuild deploy``: what runs together at a site."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from builder.cli import output
from builder.cli.options import Common, common, targets

if TYPE_CHECKING:
    from builder.pipeline.edges import Edges
    from builder.pipeline.vault import Vault


@click.group("deploy")
def command() -> None:
    """Images that run together at a site: its file names components, values and addresses."""


@command.command("render")
@click.argument("site", type=click.Path(exists=True, path_type=Path))
@click.option("--format", "form", type=click.Choice(["kubernetes", "compose", "quadlet"]), default="kubernetes",
              show_default=True, help="Objects of Kubernetes; compose.yaml for docker compose; units of podman.")  # fmt: skip
@click.option("--to", "folder", type=click.Path(file_okay=False, path_type=Path),
              help="The folder to write to; for Kubernetes one file an object, and standard output without it.")  # fmt: skip
@click.option("--secrets", type=click.Path(dir_okay=False, path_type=Path),
              help="Names and secrets, as YAML; what it does not hold is made once and kept there.")  # fmt: skip
@click.option("--kubernetes", "release", metavar="VERSION", default="",
              help="The release of Kubernetes to render for, such as 1.31; the newest that is known if not given.")  # fmt: skip
@click.option("--layout", "layouts", multiple=True, type=click.Path(exists=True, file_okay=False, path_type=Path),
              help="A layout in which releases lie, beside those of the record; ./out if not given.")  # fmt: skip
@common
def render(
    common: Common,
    site: Path,
    form: str,
    folder: Path | None,
    secrets: Path | None,
    release: str,
    layouts: tuple[Path, ...],
) -> None:
    """Write what runs a site: objects of Kubernetes, or what docker compose or podman's Quadlet needs.

    SITE is a file, or a folder with a site.yaml. The same input gives the same bytes, and no cluster is asked. Every
    container has what its image declares and nothing more; configuration is rendered from the templates of the components
    and mounted where it is expected. Without --secrets the Secrets of Kubernetes are left out, and named on standard
    error. Steps are Jobs, services of the profile `steps`, or units that run once when they are started.

    \b
    Examples:
      imgbuild deploy render site.yaml --secrets secrets.yaml | kubectl apply -f -
      imgbuild deploy render site.yaml --to rendered --kubernetes 1.31
      imgbuild deploy render site.yaml --format compose --secrets secrets.yaml
      docker compose -f rendered/compose.yaml run --rm mariadb-init
      docker compose -f rendered/compose.yaml up --detach
      imgbuild deploy render site.yaml --format quadlet --to /etc/containers/systemd/shop
    """
    if form == "kubernetes":
        _objects(common, site, folder, secrets, release, layouts)
        return
    from builder.pipeline import deploying, sites
    from builder.pipeline.edges import Edges
    from builder.pipeline.vault import Vault

    file = sites.read(site)
    edges = Edges(common.store(), common.reporter())
    vault = Vault(secrets)
    found = deploying.deployment(common.catalog(), file, vault, edges)
    vault.require()
    vault.keep()
    (chosen,) = (one for one in deploying.FORMATS if one == form)
    written, undone = deploying.write(found, chosen, folder or Path("rendered"))
    _made(vault, secrets, edges)
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


def _objects(
    common: Common, site: Path, folder: Path | None, secrets: Path | None, release: str, layouts: tuple[Path, ...]
) -> None:
    from builder.deploy.kubernetes import target, text
    from builder.pipeline import manifests, sites
    from builder.pipeline.edges import Edges
    from builder.pipeline.vault import Vault

    version = target.version(release) if release else target.NEWEST
    edges = Edges(common.store(), common.reporter())
    vault = Vault(secrets)
    file = sites.read(site)
    found = manifests.render(
        common.catalog(), file, version, vault, layouts, edges, withheld=secrets is None
    )  # fmt: skip
    vault.keep()
    _made(vault, secrets, edges)
    for name in found.unreleased:
        edges.reporter.warn(f"no release of {name} is known: it goes by its tag")
    for note in found.rendered.notes:
        edges.reporter.note(note)
    for name, wanted in found.rendered.withheld:
        edges.reporter.warn(f"left out without --secrets FILE: Secret {name}, which wants {', '.join(wanted)}")
    written = manifests.write(found.rendered, folder) if folder else ()
    if common.json:
        left = {name: list(wanted) for name, wanted in found.rendered.withheld}
        output.print_json(
            {
                "site": file.site.site,
                "images": found.images,
                "objects": list(found.rendered.objects),
                "withheld": left,
                "unreleased": list(found.unreleased),
                "files": [str(path) for path in written],
            }
        )
    elif folder:
        for path in written:
            print(path)
    else:
        print(text.stream(found.rendered.objects), end="")


def _made(vault: Vault, secrets: Path | None, edges: Edges) -> None:
    for name in vault.made:
        edges.reporter.note(f"made the secret {name}, kept in {secrets}")


@command.command("config")
@click.argument("site", type=click.Path(exists=True, path_type=Path))
@click.argument("names", nargs=-1, shell_complete=targets)
@click.option("--rendered", is_flag=True, help="Print the files of configuration, too.")
@common
def config(common: Common, site: Path, names: tuple[str, ...], rendered: bool) -> None:
    """Show what images are configured from at a site, and where each value was said; secrets are masked.

    SITE is a file, or a folder with a site.yaml; NAMES are components or images, all of the site if there are none. A
    value of a group of hosts goes before the site's, and that before the component's own.

    \b
    Examples:
      imgbuild deploy config examples/hosts keystone
      imgbuild deploy config site.yaml nova/nova-compute --rendered
    """
    from builder.pipeline import configuration, sites
    from builder.pipeline.edges import Edges

    found = configuration.of(common.catalog(), sites.read(site), names, Edges(common.store(), common.reporter()))
    if common.json:
        output.print_json([one.data(texts=rendered) for one in found])
        return
    print("\n".join(one.text(texts=rendered) for one in found), end="")
