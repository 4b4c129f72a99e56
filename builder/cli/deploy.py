"""``imgbuild deploy``: what runs together at a site."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from builder.cli import output
from builder.cli.options import Common, common, targets
from dsl.errors import DefinitionError

if TYPE_CHECKING:
    from builder.cluster.api import Cluster
    from builder.pipeline.applying import Change
    from builder.pipeline.applying import Site as Where
    from builder.pipeline.closing import Closed
    from builder.pipeline.edges import Edges
    from builder.pipeline.moving import Moves
    from builder.pipeline.sites import SiteFile
    from builder.pipeline.vault import Vault


_SECRETS = click.option(
    "--secrets",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Names and secrets, as YAML, encrypted where its name ends with .gpg or .age; what it does not hold is made once "
    "and kept there.",
)


@click.group("deploy")
def command() -> None:
    """Images that run together at a site: its file names components, values and addresses."""


@command.command("render")
@click.argument("site", type=click.Path(exists=True, path_type=Path))
@click.option("--format", "form", type=click.Choice(["kubernetes", "compose", "quadlet"]), default="kubernetes",
              show_default=True, help="Objects of Kubernetes; compose.yaml for docker compose; units of podman.")  # fmt: skip
@click.option("--to", "folder", type=click.Path(file_okay=False, path_type=Path),
              help="The folder to write to; for Kubernetes one file an object, and standard output without it.")  # fmt: skip
@_SECRETS
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

    file = sites.read(site)
    edges = Edges(common.store(), common.reporter())
    vault = _vault(file, secrets)
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

    version = target.version(release) if release else target.NEWEST
    edges = Edges(common.store(), common.reporter())
    file = sites.read(site)
    vault = _vault(file, secrets)
    found = manifests.render(common.catalog(), file, version, vault, layouts, edges)
    vault.keep()
    _made(vault, secrets, edges)
    if found.unreleased:
        by_tags = "they go by their tags" if len(found.unreleased) > 1 else "it goes by its tag"
        edges.reporter.warn(f"no release is known of {_first(found.unreleased, 'image')}: {by_tags}")
    for note in found.rendered.notes:
        edges.reporter.note(note)
    for name, wanted in found.rendered.withheld:
        kept = [f"{one} ({vault.kept[one].secret}/{vault.kept[one].key})" for one in wanted if one in vault.kept]
        only = f"since only the cluster knows {', '.join(kept)}, where `deploy apply` reads it"
        why = only if kept else "without --secrets FILE"
        edges.reporter.warn(f"left out {why}: Secret {name}, which wants {', '.join(wanted)}")
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


def _first(names: Sequence[str], what: str, count: int = 3) -> str:
    """How many there are, and the first few: ``18 images (a, b, c …)``."""
    shown = ", ".join(names[:count]) + (" …" if len(names) > count else "")
    return f"{len(names)} {what}{'s' if len(names) > 1 else ''} ({shown})"


def _vault(file: SiteFile, secrets: Path | None, api: Cluster | None = None) -> Vault:
    from builder.pipeline import existing
    from builder.pipeline.vault import Vault

    ask = existing.reader(api, file) if api else None
    return Vault(secrets, recipients=file.site.recipients, kept=file.site.secrets, ask=ask)


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


_SITE = click.argument("site", type=click.Path(exists=True, path_type=Path))
_CONTEXT = click.option("--context", default="", help="Of the kubeconfig; its current one if not given.")
_LAYOUTS = click.option("--layout", "layouts", multiple=True,
                        type=click.Path(exists=True, file_okay=False, path_type=Path),
                        help="A layout in which releases lie, beside those of the record; ./out if not given.")  # fmt: skip
_COMPONENT = click.option("--component", "-c", default="", shell_complete=targets, help="Only what belongs to it.")
_TIMEOUT = click.option(
    "--timeout", default=900, show_default=True, metavar="SECONDS", help="How long each wave may take."
)
_DRY_RUN = click.option("--dry-run", type=click.Choice(["server"]), help="Say what would change, and change nothing.")
_FORCE = click.option("--force", is_flag=True, help="Take over fields that somebody else has set.")


@command.command("apply")
@_SITE
@_SECRETS
@_LAYOUTS
@_CONTEXT
@_COMPONENT
@click.option("--wait", is_flag=True, help="Wait until all of it is there; what others need is always waited for.")
@_TIMEOUT
@_DRY_RUN
@_FORCE
@common
def apply(
    common: Common, site: Path, secrets: Path | None, layouts: tuple[Path, ...], context: str, component: str, wait: bool,
    timeout: int, dry_run: str | None, force: bool,
) -> None:  # fmt: skip
    """Bring a site up on a cluster, or to what its file says now.

    The objects of `deploy render` are applied on the server's side in waves: what a component needs is there before it, its
    steps have ended before its service rolls. A step that fails stops all that comes after it; what ran before still runs.
    What is no longer rendered is removed at the end, but for volumes; only what carries the site's labels is touched.
    Where releases move, it says which advisories that closes, by the feeds as they were read last.

    \b
    Examples:
      imgbuild deploy apply site.yaml --secrets secrets.yaml --wait
      imgbuild deploy apply site.yaml --secrets secrets.yaml --dry-run server
      imgbuild deploy apply site.yaml --secrets secrets.yaml -c keystone
    """
    from builder.pipeline import applying, moving

    reporter = common.reporter()
    with _planned(common, site, secrets, layouts, context, component, force=force) as (api, where, changes):
        closed = _closed(common, moving.of(changes).releases)
        if not common.json:
            for one in changes:
                if one.action != "keep":
                    print(f"{one.action:7} {one.name}{_moved(one)}", flush=True)
            _show_closed(common, closed)
        if not dry_run:
            applying.apply(api, where, changes, reporter, wait=wait, seconds=timeout, force=force)
    if common.json:
        rows = [{"action": one.action, "object": one.name, "releases": one.releases} for one in changes]
        output.print_json({"changes": rows, **_closed_data(closed)})


@command.command("update")
@_SITE
@_SECRETS
@_LAYOUTS
@_CONTEXT
@_COMPONENT
@_TIMEOUT
@_DRY_RUN
@_FORCE
@common
def update(
    common: Common, site: Path, secrets: Path | None, layouts: tuple[Path, ...], context: str, component: str, timeout: int,
    dry_run: str | None, force: bool,
) -> None:  # fmt: skip
    """Bring the releases that the locks name to a cluster where others run: the last leg of a security update.

    First it says which releases move, in which order steps run and workloads roll, and which advisories that closes, by
    the feeds as they were read last. Then it rolls them in that order, each when what it needs is up. A step or a roll
    that fails is the end: what ran before serves on, and the same command goes on once the cause is mended. What else
    differs from the site's file is left to `deploy apply`.

    \b
    Examples:
      imgbuild deploy update site.yaml --secrets secrets.yaml
      imgbuild deploy update site.yaml --secrets secrets.yaml --dry-run server
      imgbuild deploy update site.yaml --secrets secrets.yaml -c keystone
    """
    from builder.pipeline import applying, moving

    with _planned(common, site, secrets, layouts, context, component, force=force) as (api, where, changes):
        found = moving.of(changes)
        closed = _closed(common, found.releases)
        if not common.json:
            _show_moves(found)
            _show_closed(common, closed)
            if found.left:
                names = [f"{one.action} {one.name}" for one in found.left]
                common.reporter().note(f"left to `imgbuild deploy apply`: {_first(names, 'change')}")
            if not found.rows:
                print("nothing to update: what runs is what the locks name")
        if not dry_run:
            way_on = (
                "mend the cause and run `imgbuild deploy update` again, or take it back: `imgbuild deploy rollback`"
            )
            applying.apply(
                api, where, found.changes, common.reporter(), wait=True, seconds=timeout, force=force, way_on=way_on
            )
    if common.json:
        output.print_json({**found.data(), **_closed_data(closed)})


@command.command("rollback")
@_SITE
@_CONTEXT
@_COMPONENT
@_TIMEOUT
@_DRY_RUN
@_FORCE
@common
def rollback(
    common: Common, site: Path, context: str, component: str, timeout: int, dry_run: str | None, force: bool
) -> None:
    """Take the last rollout of a site back: what was rolled together runs again what it ran before.

    What ran before is known from the cluster, which keeps the last three versions of each workload, and their
    configuration. What needs others goes first. Steps are not undone: a component whose older versions cannot run on what
    a newer one has left behind says so in its definition (`back_to`), and is refused. Locks, records and registries stay
    as they are: `imgbuild withdraw` takes a fix back there. Once more, and the rollback is taken back.

    \b
    Examples:
      imgbuild deploy rollback site.yaml --dry-run server
      imgbuild deploy rollback site.yaml
      imgbuild deploy rollback site.yaml -c keystone
    """
    from builder.cluster.api import Cluster
    from builder.pipeline import applying, moving, sites

    where = applying.named(sites.read(site).site, component)
    with Cluster(context) as api:
        found = moving.back(api, where)
        opened = _closed(common, tuple((image, new, old) for image, old, new in found.releases))
        if not common.json:
            _show_moves(found)
            _show_closed(common, opened, "opens again")
        if not dry_run:
            applying.apply(api, where, found.changes, common.reporter(), wait=True, seconds=timeout, force=force)
    if common.json:
        output.print_json({**found.data(), **_closed_data(opened, "opens")})


def _closed(common: Common, moved: tuple[tuple[str, str, str], ...]) -> Closed:
    from builder.pipeline import closing
    from builder.pipeline.edges import Edges

    if not moved:
        return closing.Closed()
    try:
        catalog = common.catalog()
    except DefinitionError:
        # What runs can be taken back without a workspace.
        return closing.Closed(unknown=tuple(f"{image}:{tag}" for image, *tags in moved for tag in tags))
    return closing.between(catalog, moved, Edges(common.store(), common.reporter()))


def _show_closed(common: Common, closed: Closed, verb: str = "closes") -> None:
    for one in closed.findings:
        told = one.advisory
        severity = f" ({told.severity})" if told.severity else ""
        print(f"{verb:7} {told.id}{severity}: {told.source} in {', '.join(one.images)}", flush=True)
    if closed.unknown:
        names = _first(closed.unknown, "release")
        common.reporter().note(f"which advisories this {verb} is not known: the record lacks {names}")


def _closed_data(closed: Closed, key: str = "closes") -> dict[str, Any]:
    return {key: [one.data() for one in closed.findings], "unknown": list(closed.unknown)}


def _show_moves(found: Moves) -> None:
    for one in found.rows:
        told = f"{one.before} → {one.after}" if one.before != one.after else f"{one.after}, begun before"
        print(f"moves   {one.name}: {told}", flush=True)
    for number, wave in enumerate(found.order, 1):
        print(f"{number:6}. {', '.join(wave)}", flush=True)


@command.command("diff")
@_SITE
@_SECRETS
@_LAYOUTS
@_CONTEXT
@_COMPONENT
@_FORCE
@common
def diff(
    common: Common, site: Path, secrets: Path | None, layouts: tuple[Path, ...], context: str, component: str, force: bool
) -> None:  # fmt: skip
    """Show what `deploy apply` would change on a cluster, by the server's own word; what Secrets hold is not shown.

    It ends with 3 if anything would change.

    \b
    Examples:
      imgbuild deploy diff site.yaml --secrets secrets.yaml
    """
    from builder.pipeline import applying

    with _planned(common, site, secrets, layouts, context, component, force=force) as (_, _, changes):
        changed = [one for one in changes if one.action != "keep"]
    if common.json:
        output.print_json([{"action": one.action, "object": one.name, "diff": applying.diff(one)} for one in changed])
    else:
        print("".join(applying.diff(one) for one in changed), end="")
    click.get_current_context().exit(3 if changed else 0)


@command.command("step")
@_SITE
@click.argument("image")
@click.argument("name")
@_SECRETS
@_LAYOUTS
@_CONTEXT
@click.option("--timeout", default=900, show_default=True, metavar="SECONDS", help="How long it may take.")
@common
def step(
    common: Common,
    site: Path,
    image: str,
    name: str,
    secrets: Path | None,
    layouts: tuple[Path, ...],
    context: str,
    timeout: int,
) -> None:
    """Run a step of an image on a cluster, now, and print what it said: those by hand, and others once more.

    It has the configuration of its service, and no volumes.

    \b
    Examples:
      imgbuild deploy step site.yaml nova-api cell1 --secrets secrets.yaml
    """
    from builder.cluster.api import Cluster
    from builder.deploy.kubernetes import target
    from builder.pipeline import applying, manifests, sites
    from builder.pipeline.edges import Edges

    edges = Edges(common.store(), common.reporter())
    file = sites.read(site)
    with Cluster(context) as api:
        vault = _vault(file, secrets, api)
        version = target.nearest(api.version)
        found, by_hand = manifests.step(common.catalog(), file, version, vault, layouts, edges, image, name)
        vault.require()
        vault.keep()
        _made(vault, secrets, edges)
        said = applying.run(
            api, applying.named(file.site), found, edges.reporter, seconds=timeout, keep=not by_hand
        )  # fmt: skip
    if common.json:
        output.print_json({"step": f"{image}/{name}", "output": said})
        return
    print(said, end="")


@command.command("status")
@_SITE
@_CONTEXT
@_COMPONENT
@click.option("--watch", is_flag=True, help="Look again every two seconds, until Ctrl-C.")
@common
def status(common: Common, site: Path, context: str, component: str, watch: bool) -> None:
    """Show what of a site runs on a cluster: releases, how many are ready, steps, and why something does not run.

    It ends with 3 if something is not as it is to be.

    \b
    Examples:
      imgbuild deploy status site.yaml
      imgbuild deploy status site.yaml --watch
    """
    import time

    from builder.cluster.api import Cluster
    from builder.pipeline import applying, sites

    where = applying.named(sites.read(site).site, component)
    with Cluster(context) as api:
        while True:
            rows, troubles = applying.status(api, where)
            if common.json:
                output.print_json({"rows": [row.data() for row in rows], "troubles": troubles})
            else:
                for row in rows:
                    print(f"{row.kind:12} {row.name:40} {row.version:20} {row.state.told}")
                print("".join(f"{line}\n" for line in troubles), end="", flush=True)
            if not watch:
                break
            time.sleep(2)
            print()
    click.get_current_context().exit(0 if rows and all(row.state.done for row in rows) else 3)


@command.command("delete")
@_SITE
@_CONTEXT
@_COMPONENT
@click.option("--volumes", is_flag=True, help="With the claims of volumes, and so what they hold.")
@common
def delete(common: Common, site: Path, context: str, component: str, volumes: bool) -> None:
    """Delete what a site has on a cluster; its volumes stay, and so does the namespace.

    \b
    Examples:
      imgbuild deploy delete site.yaml
      imgbuild deploy delete site.yaml -c horizon
    """
    from builder.cluster.api import Cluster
    from builder.pipeline import applying, sites

    where = applying.named(sites.read(site).site, component)
    with Cluster(context) as api:
        found = applying.delete(api, where, common.reporter(), volumes=volumes)
    if common.json:
        output.print_json(list(found))


def _moved(one: Change) -> str:
    before, after = one.releases
    return f": {before} → {after}" if after else ""


@contextlib.contextmanager
def _planned(
    common: Common, site: Path, secrets: Path | None, layouts: tuple[Path, ...], context: str, component: str, *,
    force: bool,
) -> Iterator[tuple[Cluster, Where, tuple[Change, ...]]]:  # fmt: skip
    from builder.cluster.api import Cluster
    from builder.deploy.kubernetes import target
    from builder.pipeline import applying, manifests, sites
    from builder.pipeline.edges import Edges

    edges = Edges(common.store(), common.reporter())
    file = sites.read(site)
    with Cluster(context) as api:
        vault = _vault(file, secrets, api)
        version = target.nearest(api.version)
        found = manifests.render(common.catalog(), file, version, vault, layouts, edges)
        vault.require()
        manifests.require_released(found)
        vault.keep()
        _made(vault, secrets, edges)
        where = applying.named(file.site, component)
        wanted = applying.chosen(found.rendered, component)
        yield api, where, applying.plan(api, where, wanted, force=force)
