"""``imgbuild security``: advisories, and what they touch."""

from __future__ import annotations

from pathlib import Path

import click

from builder.cli import output
from builder.cli.options import Common, common, jobs_option, targets
from builder.model.advisory import SEVERITIES


@click.group("security")
def command() -> None:
    """Which advisories are open, in which images and layers, and what closes them."""


feeds_option = click.option(
    "--feed", "feeds", multiple=True, metavar="PLACE",
    help="An address, file or folder of Debian's security tracker or of OSV, in place of the workspace's `feeds`.",
)  # fmt: skip
offline_option = click.option("--offline", is_flag=True, help="Ask no address: take what was fetched before.")


@command.command("status")
@click.argument("targets", nargs=-1, shell_complete=targets)
@click.option("--severity", type=click.Choice(SEVERITIES), help="Only of this severity and graver, or of none.")
@click.option("--fixable", is_flag=True, help="Only what a fix is there for.")
@feeds_option
@offline_option
@common
def status(
    common: Common, targets: tuple[str, ...], severity: str | None, fixable: bool, feeds: tuple[str, ...], offline: bool
) -> int:
    """Show the open advisories of images by their locks: package, layer, why it is there, fixed in which version.

    A feed speaks of Debian's own suites, or of PyPI. Packages from elsewhere are counted as unknown, never as fixed.
    It ends with 3 if some are open. A feed that does not answer is told, and what is kept of it is used.

    \b
    Examples:
      imgbuild security status
      imgbuild security status nova --severity high
      imgbuild security status --feed tracker.json --json
    """
    from builder.model.advisory import State
    from builder.pipeline import securing
    from builder.pipeline.edges import Edges

    catalog = common.catalog()
    told = securing.read_feeds(catalog, feeds, Edges(common.store(), common.reporter()), offline=offline)
    found = securing.status(catalog, targets, told)
    shown = securing.at_least(found.open, severity) if severity else found.open
    shown = tuple(one for one in shown if one.state == State.FIXABLE) if fixable else shown
    if common.json:
        output.print_json(
            {
                "feeds": [feed.name for feed in told],
                "open": [one.data() for one in shown],
                "fixed": sum(one.state == State.FIXED for one in found.findings),
                "unknown": [
                    {"definition": x.definition, "origin": x.origin, "packages": x.count} for x in found.unknown
                ],
            }
        )
        return 3 if shown else 0
    rows = [
        (
            one.advisory.id, one.advisory.severity, one.advisory.fixed or f"none yet ({one.advisory.waiting or 'open'})",
            f"{one.advisory.source} {one.version}", f"{one.definition}/{one.layer}", one.why,
            one.images[0] if len(one.images) == 1 else f"{len(one.images)} images",
        )
        for one in shown
    ]  # fmt: skip
    if rows:
        print(output.table(rows, ("ADVISORY", "SEVERITY", "FIXED IN", "PACKAGE", "LAYER", "WHY", "IN")))
    fixable_count = sum(one.state == State.FIXABLE for one in shown)
    print(
        f"{len(shown)} open, {fixable_count} of them with a fix; {sum(x.count for x in found.unknown)} packages of which no feed speaks"
    )
    for one_ in found.unknown:
        common.reporter().note(f"{one_.definition}: {one_.count} packages from {one_.origin}")
    return 3 if shown else 0


@command.command("explain")
@click.argument("what")
@feeds_option
@offline_option
@common
def explain(common: Common, what: str, feeds: tuple[str, ...], offline: bool) -> int:
    """Tell what feeds say of an advisory or a source package, and how every image of the workspace stands to it.

    It ends with 3 if an image is affected.

    \b
    Examples:
      imgbuild security explain CVE-2026-1234
      imgbuild security explain openssl
    """
    from builder.errors import UsageError
    from builder.model.advisory import OPEN
    from builder.pipeline import securing
    from builder.pipeline.edges import Edges

    catalog = common.catalog()
    told = securing.read_feeds(catalog, feeds, Edges(common.store(), common.reporter()), offline=offline)
    said = [a for feed in told for a in feed.advisories if what in (a.id, a.source, *a.aliases)]
    if not said:
        raise UsageError(f"no feed speaks of {what}", f"read were: {', '.join(feed.name for feed in told) or 'none'}")
    found = [one for one in securing.status(catalog, (), told).findings if one.advisory in said]
    if common.json:
        output.print_json({"findings": [one.data() for one in found]})
        return 3 if any(one.state in OPEN for one in found) else 0
    rows = [(a.id, a.source, a.suite, a.fixed or "none yet", a.severity, a.waiting or a.summary[:60]) for a in said]
    print(output.table(rows, ("ADVISORY", "SOURCE", "SUITE", "FIXED IN", "SEVERITY", "")))
    for one in found:
        print(
            f"\n{one.advisory.id}: {one.state}: {one.package} {one.version}, layer {one.definition}/{one.layer} ({one.why})"
        )
        print(f"  in {', '.join(one.images)}")
    if not found:
        print("\nno image here has that package")
    return 3 if any(one.state in OPEN for one in found) else 0


@command.command("update")
@click.argument("targets", nargs=-1, shell_complete=targets)
@click.option("--only", multiple=True, metavar="DSA|CVE|PACKAGE", help="Only what this speaks of.")
@click.option("--dry-run", is_flag=True, help="Say what would move; write no lock, build nothing.")
@click.option("--to", "destination", default="oci:out", show_default=True, metavar="TARGET", help="Where images go.")
@click.option("--report", type=click.Path(dir_okay=False, path_type=Path), help="Write the report there, as Markdown.")
@feeds_option
@offline_option
@jobs_option
@common
def update(
    common: Common, targets: tuple[str, ...], only: tuple[str, ...], dry_run: bool, destination: str,
    report: Path | None, feeds: tuple[str, ...], offline: bool, jobs: int,
) -> int:  # fmt: skip
    """Move exactly the packages that have a fix, in whichever locks hold them, and build what that changes.

    What has a fix is what the feeds say, and whatever is newer in a security suite. All other packages stay at their
    locked versions, even where the mirror has newer ones; only what a fix itself needs comes along. Layers that did not
    change are the same ones as before. Every image that stands on a changed lock gets its next revision. What cannot
    move is told, and keeps nothing else from moving: then it ends with 1.

    \b
    Examples:
      imgbuild security update --dry-run
      imgbuild security update --only openssl --report report.md
      imgbuild security update nova --only CVE-2026-1234
    """
    from builder.pipeline import securing, updating
    from builder.pipeline.edges import Edges

    edges = Edges(common.store(), common.reporter(), jobs)
    catalog = common.catalog()
    told = securing.read_feeds(catalog, feeds, edges, offline=offline)
    moving = updating.sources(catalog, targets, told, only, edges)
    found = updating.update(catalog, targets, moving, told, destination, edges, dry_run=dry_run)
    text = updating.markdown(found)
    if report:
        report.write_text(text)
    if common.json:
        output.print_json(found.data())
    else:
        print(text, end="")
    for one in found.built:
        if one.error:
            output.error(one.error, json_wanted=False)
    return 1 if found.failed or any(one.error for one in found.built) else 0
