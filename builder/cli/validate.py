"""``imgbuild validate``: every digest and size recomputed."""

from __future__ import annotations

import time
from pathlib import Path

import click

from builder.cli import output, results
from builder.cli.options import Common, common, jobs_option, written


@click.command("validate")
@click.argument("images", shell_complete=written, nargs=-1, required=True)
@results.junit_option
@jobs_option
@common
def command(common: Common, images: tuple[str, ...], junit: Path | None, jobs: int) -> int:
    """Recompute every digest and size of images and say all that is wrong; ends with 3 if something is.

    Images are named as for `inspect`; of a place without a name, all are validated.

    \b
    Examples:
      imgbuild validate nova-api
      imgbuild validate oci:out docker:keystone oci-archive:keystone.tar
      imgbuild validate oci:out --junit validate.xml
    """
    from builder import transports, validate
    from builder.formats.junit import Case

    store, known = common.store(), validate.Known()
    faults: dict[str, tuple[validate.Fault, ...]] = {}
    cases: list[Case] = []
    for asked in images:
        for stored in transports.read_every(asked, store, common.names(), anew=True):
            began = time.monotonic()
            faults[stored.name] = found = validate.image(stored, jobs, known)
            told = tuple(f"{fault.where}: {fault.message}" for fault in found)
            cases.append(Case(stored.name, told, time.monotonic() - began))
            if common.json:
                continue
            what = "" if stored.kept else " (no manifest is kept there: config and layers)"
            print(f"{stored.name}: {'valid' if not found else f'{len(found)} faults'}{what}", flush=True)
            for fault in found:
                print(f"  {fault.where}: {fault.message}")
    results.write_junit(junit, "validate", cases)
    if common.json:
        output.print_json(
            {name: [{"where": f.where, "message": f.message} for f in found] for name, found in faults.items()}
        )
    return 3 if any(faults.values()) else 0
