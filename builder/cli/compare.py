"""``imgbuild compare``: images held against the ordinary way of installing their packages."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from builder.cli import output, results
from builder.cli.options import Common, common, jobs_option, written

if TYPE_CHECKING:
    from builder.pipeline.comparing import Compared

_SHOWN = 20


@click.command("compare")
@click.argument("images", shell_complete=written, nargs=-1, required=True)
@click.option(
    "--keep",
    metavar="DIR",
    help="Keep both sides of files that differ without a reason.",
    type=click.Path(file_okay=False, path_type=Path),
)
@results.junit_option
@jobs_option
@common
def command(common: Common, images: tuple[str, ...], keep: Path | None, junit: Path | None, jobs: int) -> int:
    """Say whether images are the same system as their packages installed the ordinary way; ends with 3 if not.

    The ordinary way is mmdebstrap with exactly the locked packages, served from the store, and dpkg's path-exclude for
    what the definition leaves out. Compared are all paths (type, owner, mode, size, content, extended attributes, targets)
    and what dpkg, debconf and the lists of users say. Differences that may be are a list with reasons: docs/faithful.md.

    IMAGE is one of an OCI layout that `build` wrote, named as for `inspect`, or a component: all its images there.

    \b
    Examples:
      imgbuild compare nova-api
      imgbuild compare nova --json
      imgbuild compare oci:release:keystone --keep differences
      imgbuild compare nova --junit compare.xml
    """
    from builder.cli import differences
    from builder.formats.junit import Case
    from builder.pipeline import comparing
    from builder.pipeline.edges import Edges

    store = common.store()
    catalog = common.catalog()
    stored = comparing.stored(catalog, images, store)
    done, cases, began = [], [], time.monotonic()
    for one in comparing.compare(catalog, stored, Edges(store, common.reporter(), jobs), keep=keep):
        done.append(one)
        faults = tuple(differences.line(row, whole=True) for row in one.unexplained)
        cases.append(Case(one.name, faults, time.monotonic() - began))
        began = time.monotonic()
        if not common.json:
            _show(one, everything=common.verbosity > 0)
    results.write_junit(junit, "compare", cases)
    if common.json:
        output.print_json({"images": [one.data() for one in done]})
    return 0 if all(one.same for one in done) else 3


def _show(one: Compared, *, everything: bool) -> None:
    from builder.cli import differences

    verdict = "the same system" if one.same else f"{len(one.unexplained)} differences without a reason"
    print(f"{one.name}: {verdict} ({one.packages} packages, {one.paths} paths, {one.records} records)")
    for what, count in one.definition.items():
        print(f"  {count:>6}  the definition's own: {what}")
    for name, rows in one.explained.items():
        print(f"  {len(rows):>6}  {name}")
        for row in rows if everything else ():
            print(f"          {differences.line(row, whole=True)}")
    for row in one.unexplained:
        print(f"  {differences.line(row, whole=everything)}")
        text = one.texts.get(row.path, "").splitlines()[2:]
        for line in text if everything else text[:_SHOWN]:
            print(f"      {line}")
        if not everything and len(text) > _SHOWN:
            print(f"      … and {len(text) - _SHOWN} more lines; -v shows all")
    if one.kept:
        program = "diffoscope" if shutil.which("diffoscope") else "diff -r"
        print(f"more is shown by: {program} {one.kept}/ordinary {one.kept}/image")
    elif one.texts or any("content" in row.old for row in one.unexplained):
        print("keep both sides with --keep DIR to look further")
