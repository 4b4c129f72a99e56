"""``imgbuild security``: advisories, and what they touch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from builder.cli import output, results
from builder.cli.options import Common, common, jobs_option, reuse_option, running, targets
from builder.model.advisory import SEVERITIES, Advisory
from builder.model.decision import JUSTIFICATIONS

if TYPE_CHECKING:
    from builder.pipeline.securing import Finding
    from builder.security.exploits import Exploits
    from dsl.catalog import Catalog


@click.group("security")
def command() -> None:
    """Which advisories are open, in which images and layers, and what closes them."""


feeds_option = click.option(
    "--feed", "feeds", multiple=True, metavar="PLACE",
    help="An address, file or folder of Debian's security tracker or of OSV, in place of the workspace's `feeds`.",
)  # fmt: skip
offline_option = click.option("--offline", is_flag=True, help="Ask no address: take what was fetched before.")


def _since(advisory: Advisory) -> str:
    """``2026-11-02 (24 days)``; empty if nobody knows."""
    day = advisory.since[:10]
    try:
        return f"{day} ({(datetime.now(UTC).date() - date.fromisoformat(day)).days} days)"
    except ValueError:
        return day


@command.command("status")
@click.argument("targets", nargs=-1, shell_complete=targets)
@click.option("--severity", type=click.Choice(SEVERITIES), help="Only of this severity and graver, or of none.")
@click.option("--fixable", is_flag=True, help="Only what a fix is there for.")
@click.option(
    "--releases", metavar="FILE|-", help="In place of the locks, the releases whose digests or names it holds."
)
@click.option("--epss", metavar="PLACE", help="Show how likely each is used, by FIRST's CSV.")
@click.option("--kev", metavar="PLACE", help="Show since when each is known to be used, by CISA's catalogue.")
@feeds_option
@offline_option
@results.sarif_option
@common
def status(
    common: Common, targets: tuple[str, ...], severity: str | None, fixable: bool, releases: str | None,
    epss: str | None, kev: str | None, feeds: tuple[str, ...], offline: bool, sarif: Path | None,
) -> int:  # fmt: skip
    """Show the open advisories of images by their locks: package, layer, why it is there, fixed in which version.

    A feed speaks of Debian's own suites, or of PyPI. Packages from elsewhere are counted as unknown, never as fixed.
    What is fixed here and still is in the newest release that is published is told apart, as far as the record knows
    of publications. It ends with 3 if some are open. A feed that does not answer is told, and what is kept of it is used.

    With --releases it is what runs somewhere, by what `docker ps`, `podman ps --no-trunc` or `kubectl get pods -o yaml`
    print, as for `find`: what the record says that these releases hold.

    \b
    Examples:
      imgbuild security status
      imgbuild security status nova --severity high
      imgbuild security status --feed tracker.json --json
      imgbuild security status --sarif flaws.sarif
      kubectl get pods -A -o yaml | imgbuild security status --releases -
    """
    from builder.model.advisory import State
    from builder.pipeline import outstanding, securing
    from builder.pipeline.edges import Edges

    chosen = running(releases, common.names()) if releases else None
    catalog = common.catalog()
    edges = Edges(common.store(), common.reporter())
    told = securing.read_feeds(catalog, feeds, edges, offline=offline)
    known = securing.read_exploits(catalog, epss, kev, edges, offline=offline)
    if chosen:
        from builder.pipeline import in_use

        found = in_use.status(catalog, targets, told, chosen, edges)
    else:
        found = securing.status(catalog, targets, told, outstanding.published(catalog, targets, edges))
    for broken in catalog.broken if not targets else ():
        common.reporter().warn(f"{broken.file} is broken: nothing is said of it; `imgbuild check` says more")
    _tell_over(common, catalog)
    shown = securing.at_least(found.open, severity) if severity else found.open
    shown = tuple(one for one in shown if one.state == State.FIXABLE) if fixable else shown
    if sarif:
        results.write_sarif(sarif, results.of_findings(catalog, (*shown, *found.decided)), catalog.root)
    if common.json:
        output.print_json(
            {
                "feeds": [feed.name for feed in told],
                "open": [{**one.data(), **_use(known, one)} for one in shown],
                "decided": [one.data() for one in found.decided],
                "unpublished": [one.data() for one in found.unpublished],
                **({"releases": list(found.releases)} if chosen else {}),
                "fixed": sum(one.state == State.FIXED for one in found.findings),
                "unknown": [
                    {"definition": x.definition, "origin": x.origin, "packages": x.count} for x in found.unknown
                ],
            }
        )
        return 3 if shown else 0
    rows = [
        (
            one.advisory.id, one.advisory.severity, *(str(x or "") for x in _use(known, one).values()), one.advisory.fixed or f"none yet ({one.advisory.waiting or 'open'})",
            f"{one.advisory.source} {one.version}", one.where, one.why,
            one.images[0] if len(one.images) == 1 else f"{len(one.images)} images", _since(one.advisory),
        )
        for one in shown
    ]  # fmt: skip
    if rows:
        use = [name.upper() for name in _use(known, shown[0])]
        print(output.table(rows, ("ADVISORY", "SEVERITY", *use, "FIXED IN", "PACKAGE", "LAYER", "WHY", "IN", "SINCE")))
    fixable_count = sum(one.state == State.FIXABLE for one in shown)
    for line in dict.fromkeys(line for one in shown for line in (one.hold, _noted(one)) if line):
        print(f"- {line}")
    for line in _unpublished(found.unpublished):
        print(f"- {line}")
    unpublished = f"{len(found.unpublished)} fixed, not yet published; " if found.unpublished else ""
    print(
        f"{len(shown)} open, {fixable_count} of them with a fix; {unpublished}{len(found.decided)} not affected by "
        f"decision; {sum(x.count for x in found.unknown)} packages of which no feed speaks"
    )
    if found.releases:
        common.reporter().note(f"of what runs, the record knows {', '.join(found.releases)}")
    for line in dict.fromkeys(map(_noted, found.decided)):
        common.reporter().detail(line)
    for one_ in found.unknown:
        common.reporter().note(f"{one_.definition}: {one_.count} packages from {one_.origin}")
    return 3 if shown else 0


def _use(known: Exploits, one: Finding) -> dict[str, float | str | None]:
    """What is known of a flaw's use, if such files were read."""
    names = (one.advisory.id, *one.advisory.aliases)
    return {
        **({"epss": known.likely(names)} if known.epss else {}),
        **({"kev": known.used_since(names)} if known.kev else {}),
    }


def _unpublished(found: tuple[Finding, ...]) -> Iterator[str]:
    """What is fixed and not yet published, a line for each package."""
    together: dict[tuple[str, ...], list[str]] = {}
    for one in found:
        together.setdefault((one.advisory.source, one.version, *one.images), []).append(one.advisory.id)
    for (source, version, *images), names in together.items():
        where = ", ".join(images) if len(images) <= 3 else f"{len(images)} images"
        yield f"fixed, not yet published, by {source} {version} in {where}: {', '.join(dict.fromkeys(names))}"


def _noted(one: Finding) -> str:
    return f"{one.advisory.id} in {one.advisory.source}: {one.state}: {one.decision}" if one.decision else ""


def _tell_over(common: Common, catalog: Catalog) -> None:
    """Say which holds have ended."""
    from builder.pipeline import decisions

    day = decisions.today()
    for hold in decisions.all_holds(catalog):
        if hold.over(day):
            common.reporter().warn(f"this is over and counts no more: {hold.told}")


@command.command("explain")
@click.argument("what")
@feeds_option
@offline_option
@common
def explain(common: Common, what: str, feeds: tuple[str, ...], offline: bool) -> int:
    """Tell what feeds say of an advisory or a source package, how every image of the workspace stands to it, and what
    was decided about it.

    It ends with 3 if an image is affected.

    \b
    Examples:
      imgbuild security explain CVE-2026-1234
      imgbuild security explain openssl
    """
    from builder.errors import UsageError
    from builder.model.advisory import OPEN
    from builder.pipeline import decisions, outstanding, securing
    from builder.pipeline.edges import Edges

    catalog = common.catalog()
    edges = Edges(common.store(), common.reporter())
    told = securing.read_feeds(catalog, feeds, edges, offline=offline)
    said = [a for feed in told for a in feed.advisories if what in (a.id, a.source, *a.aliases)]
    held = [one for one in decisions.all_holds(catalog) if one.package in {what, *(a.source for a in said)}]
    day = decisions.today()
    if not said and not held:
        raise UsageError(f"no feed speaks of {what}", f"read were: {', '.join(feed.name for feed in told) or 'none'}")
    every = securing.status(catalog, (), told, outstanding.published(catalog, (), edges)).findings
    found = [one for one in every if one.advisory in said]
    if common.json:
        holds = [{**asdict(one), "over": one.over(day)} for one in held]
        output.print_json({"findings": [one.data() for one in found], "holds": holds})
        return 3 if any(one.state in OPEN for one in found) else 0
    rows = [(a.id, a.source, a.suite, a.fixed or "none yet", a.severity, a.waiting or a.summary[:60]) for a in said]
    if rows:
        print(output.table(rows, ("ADVISORY", "SOURCE", "SUITE", "FIXED IN", "SEVERITY", "")))
    for hold in held:
        print(f"{'over: ' if hold.over(day) else ''}{hold.told}")
    for one in found:
        print(f"\n{one.advisory.id}: {one.state}: {one.package} {one.version}, layer {one.where} ({one.why})")
        print(f"  in {', '.join(one.images)}")
        if one.decision:
            print(f"  {one.decision}")
    if not found and said:
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
@reuse_option
@jobs_option
@common
def update(
    common: Common, targets: tuple[str, ...], only: tuple[str, ...], dry_run: bool, destination: str,
    report: Path | None, feeds: tuple[str, ...], offline: bool, reuse: str, jobs: int,
) -> int:  # fmt: skip
    """Move exactly the packages that have a fix, in whichever locks hold them, and build what that changes.

    What has a fix is what the feeds say, and whatever is newer in a security suite. All other packages stay at their
    locked versions, even where the mirror has newer ones, and so does what is held; only what a fix itself needs comes along. Layers that did not
    change are the same ones as before. Every image that stands on a changed lock gets its next revision. What cannot
    move is told, and keeps nothing else from moving: then it ends with 1.

    Locks are written when all that building by them takes is there. A run that was ended after that is finished by the
    next one, and told by it.

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
    _tell_over(common, catalog)
    moving = updating.sources(catalog, targets, told, only, edges)
    found = updating.update(catalog, targets, moving, told, destination, edges, dry_run=dry_run, reuse=reuse)
    output.change(updating.markdown(found), found.data(), report, json_wanted=common.json)
    return 1 if output.failures(found.built) or found.failed else 0


@command.command("ignore")
@click.argument("what", metavar="CVE|DSA")
@click.argument("targets", nargs=-1, shell_complete=targets)
@click.option("--package", "packages", multiple=True, metavar="NAME", help="Only in this package.")
@click.option("--because", default="", metavar="TEXT", help="Why it does not matter.")
@click.option("--until", default="", metavar="DAY", help="The last day on which that holds: 2026-12-31.")
@click.option("--justification", type=click.Choice(JUSTIFICATIONS), help="The same for machines, in OpenVEX's words.")
@click.option("--undo", is_flag=True, help="Take the decision back.")
@feeds_option
@offline_option
@common
def ignore(
    common: Common, what: str, targets: tuple[str, ...], packages: tuple[str, ...], because: str, until: str,
    justification: str | None, undo: bool, feeds: tuple[str, ...], offline: bool,
) -> int:  # fmt: skip
    """Decide that a flaw does not matter here, for a reason and for a time: in the named images, or in all.

    It is kept as OpenVEX in security/vex.openvex.json, which is reviewed and committed as any other change, and which
    scanners read as well. The flaw counts as open again when the time is over.

    \b
    Examples:
      imgbuild security ignore CVE-2026-1234 --because "no user can reach it" --until 2026-12-31
      imgbuild security ignore CVE-2026-1234 nova-api --package perl --because "never called" \\
        --justification vulnerable_code_not_in_execute_path --until 2026-12-31
      imgbuild security ignore CVE-2026-1234 --undo
    """
    from builder.model.advisory import OPEN, State
    from builder.pipeline import deciding, securing
    from builder.pipeline.edges import Edges

    catalog = common.catalog()
    if undo:
        count = deciding.unignore(catalog, what, targets, packages)
        if common.json:
            output.print_json({"undone": count})
        else:
            print(f"{what}: {count} {'decision' if count == 1 else 'decisions'} taken back")
        return 0
    if not because or not until:
        raise click.UsageError("say --because TEXT and --until DAY, or --undo")
    told = securing.read_feeds(catalog, feeds, Edges(common.store(), common.reporter()), offline=offline)
    found = deciding.ignore(
        catalog, what, targets, packages, told, because=because, until=until, justification=justification or ""
    )
    if common.json:
        output.print_json({"findings": [one.data() for one in found]})
        return 0
    for one in found:
        if one.state == State.DECIDED or one.state in OPEN:
            print(f"{one.advisory.id}: {one.state} in {one.advisory.source} of {', '.join(one.images)}")
    return 0


@command.command("hold")
@click.argument("package", required=False, metavar="PACKAGE[=VERSION]")
@click.option("--because", default="", metavar="TEXT", help="Why it is not to move.")
@click.option("--until", default="", metavar="DAY", help="The last day on which that holds: 2026-12-31.")
@click.option("--undo", is_flag=True, help="Let it move again.")
@common
def hold(common: Common, package: str | None, because: str, until: str, undo: bool) -> int:
    """Hold a package, for a reason and for a time; without one, list what is held.

    All packages of its source stay at their locked versions in `security update` and `lock --update`; with =VERSION (of
    the source) they may move, but never to that one. It is kept in security/holds.yaml, which is reviewed and committed
    as any other change.

    \b
    Examples:
      imgbuild security hold openssl --because "3.5.6 breaks our HSM" --until 2026-12-31
      imgbuild security hold openssl=3.5.6-1~deb13u1 --because "it breaks our HSM" --until 2026-12-31
      imgbuild security hold openssl --undo
      imgbuild security hold
    """
    from builder.pipeline import deciding, decisions

    catalog = common.catalog()
    if package and undo:
        shown = [deciding.release(catalog, package)]
    elif package:
        if not because or not until:
            raise click.UsageError("say --because TEXT and --until DAY, or --undo")
        shown = [deciding.hold(catalog, package, because, until)]
    elif because or until or undo:
        raise click.UsageError("say which package")
    else:
        shown = list(decisions.all_holds(catalog))
    day = decisions.today()
    if common.json:
        output.print_json({"holds": [{**asdict(one), "over": one.over(day)} for one in shown]})
        return 0
    for one in shown:
        before = "not any more: " if undo else "over: " if one.over(day) else ""
        print(f"{before}{one.told}")
    if not shown:
        print("nothing is held")
    return 0


_STATES = {
    "none": "nothing to do", "made": "made", "rewritten": "rewritten", "unchanged": "it says the same already",
    "merged": "it was merged, and is removed", "left": "left as it is", "failed": "failed",
}  # fmt: skip


@command.command("watch")
@click.option("--commit", is_flag=True, help="Put the new locks on a branch, and leave the working copy alone.")
@click.option("--branch", metavar="NAME", help="The branch, with --commit.  [default: imgbuild/security-updates]")
@click.option("--base", metavar="COMMIT", help="What it stands on.  [default: what is checked out]")
@click.option("--author", metavar="'NAME <MAIL>'", help="Who commits.  [default: as git is configured]")
@click.option("--to", "destination", default="oci:out", show_default=True, metavar="TARGET", help="Where images go.")
@click.option("--report", type=click.Path(dir_okay=False, path_type=Path), help="Write the report there, as Markdown.")
@feeds_option
@offline_option
@reuse_option
@jobs_option
@common
def watch(
    common: Common, commit: bool, branch: str | None, base: str | None, author: str | None, destination: str,
    report: Path | None, feeds: tuple[str, ...], offline: bool, reuse: str, jobs: int,
) -> int:  # fmt: skip
    """The job of each night: ask feeds and indexes, update what has a fix, build it, validate the images.

    Without --commit the new locks are left in the working copy, as `security update` does. With --commit the working
    copy is neither read nor written: the night begins with what is committed at the base, and the branch is set to one
    commit on top of it, so that a branch which stays open for many nights uses up no revision. It is there only if all
    that it changes was built and is valid; one that says the same already is left as it is; one that was merged is
    removed; one with commits of others is not touched. Component repos that are git checkouts of their own get a
    branch each. What is used from elsewhere at a commit is only reported.

    It may be killed at any point, and run again. If another one is at work on the same workspace, it says so and ends.

    Ends with 0 if all is done or nothing was to do, 1 if something failed or a fix is not possible.

    \b
    Examples:
      imgbuild security watch
      imgbuild security watch --commit --report report.md
      imgbuild security watch --commit --base origin/main --author "Images <images@acme.example>"
    """
    from builder.errors import UsageError
    from builder.pipeline import watching
    from builder.pipeline.edges import Edges

    if not commit and (branch or base or author):
        raise UsageError("--branch, --base and --author are of the branch that --commit makes", "say --commit, too")
    edges = Edges(common.store(), common.reporter(), jobs)
    with watching.alone(common.directory, edges) as alone:
        if not alone:
            told = f"another `security watch` is at work on {common.directory}: nothing was done"
            if common.json:
                output.print_json({"busy": told})
            else:
                print(told)
            return 0
        if commit:
            wanted = watching.Wanted(branch or watching.BRANCH, base or "", author or "")
            night = watching.on_branch(
                common.directory, common.repos, wanted, feeds, destination, edges, offline=offline, reuse=reuse
            )
        else:
            night = watching.here(common.catalog(), feeds, destination, edges, offline=offline, reuse=reuse)
    output.change(watching.report(night), night.data(), report, json_wanted=common.json)
    if not common.json:
        for one in night.branches:
            told = _STATES[one.state] + (f": {one.told}" if one.told else "")
            print(f"{one.top}: {one.name} on {one.base}: {told}{f' ({one.commit[:12]})' if one.commit else ''}")
    output.failures(night.update.built)
    return 1 if night.failed else 0
