"""``imgbuild lock``: resolve packages and write locks."""

from __future__ import annotations

from pathlib import Path

import click

from builder.cli import output, results
from builder.cli.options import Common, architecture_option, common, jobs_option, targets


@click.command("lock")
@click.argument("targets", nargs=-1, shell_complete=targets)
@click.option("--all", "everything", is_flag=True, help="All components.")
@click.option("--update", is_flag=True, help="Move everything to the newest versions.")
@click.option("--check", is_flag=True, help="Only say whether locks fit their definitions; needs no network.")
@click.option("--regroup", is_flag=True, help="Group packages into layers anew.")
@architecture_option
@results.junit_option
@jobs_option
@common
def command(
    common: Common, targets: tuple[str, ...], everything: bool, update: bool, check: bool, regroup: bool,
    architectures: tuple[str, ...], junit: Path | None, jobs: int,
) -> int:  # fmt: skip
    """Resolve packages and write locks: what is locked is kept, what is missing is added.

    A target is a component, an image or a layer definition. What it stands on is left alone; what stands on it comes
    along.

    \b
    Examples:
      imgbuild lock nova                  add what the definition newly names
      imgbuild lock nova --update         move nova's own packages to the newest versions
      imgbuild lock debian-13 --update    move those of the base, below all images
      imgbuild lock --all --check         ends with 3 if a lock does not fit
      imgbuild lock --all --check --junit locks.xml
      imgbuild lock nova --architecture arm64        where packages of arm64 can be configured
    """
    from builder.formats.junit import Case
    from builder.pipeline import locking, selection
    from builder.pipeline.edges import Edges

    if not targets and not everything:
        raise click.UsageError("name a target, or --all")
    if junit and not check:
        raise click.UsageError("--junit is for what --check finds")
    edges = Edges(common.store(), common.reporter(), jobs)
    catalog = common.catalog()
    selected = selection.select(catalog, targets)
    if check:
        reasons = locking.check(catalog, selected, edges, architectures)
        titles = sorted({one.title for one in selected.definitions} | reasons.keys())
        cases = [Case(name, (reasons[name],) if name in reasons else ()) for name in titles]
        results.write_junit(junit, "lock --check", cases)
        if common.json:
            output.print_json({"stale": reasons})
        else:
            for name, reason in reasons.items():
                click.echo(f"{name}: {reason}", err=True)
            click.echo("the locks fit" if not reasons else "run `imgbuild lock`", err=bool(reasons))
        return 3 if reasons else 0
    changes = locking.lock(catalog, selected, edges, update=update, regroup=regroup, architectures=architectures)
    if common.json:
        output.print_json(
            [
                {
                    "definition": c.definition,
                    "path": str(c.path),
                    "added": [f"{p.title} {p.version}" for p in c.difference.added],
                    "removed": [f"{p.title} {p.version}" for p in c.difference.removed],
                    "changed": [[o.title, o.version, n.version] for o, n in c.difference.changed],
                }
                for c in changes
            ]
        )
        return 0
    for change in changes:
        difference = change.difference
        counts = len(difference.added), len(difference.removed), len(difference.changed)
        said = "unchanged" if not any(counts) else "{} added, {} removed, {} changed".format(*counts)
        wheels = f" and {len(change.after.wheels)} wheels" if change.after.environments else ""
        click.echo(f"{change.definition}: {len(change.after.packages)} packages{wheels}, {said}")
        for old, new in difference.changed:
            click.echo(f"  {old.title} {old.version} → {new.version}")
    return 0
