"""``imgbuild verify``: images held against a key."""

from __future__ import annotations

from pathlib import Path

import click

from builder.cli import output, results
from builder.cli.options import Common, common, jobs_option, written


@click.command("verify")
@click.argument("images", shell_complete=written, nargs=-1, required=True)
@click.option("--signed-by", "keys", metavar="KEY|env:NAME", multiple=True, required=True,
              help="The public key of whom you believe; of several, any will do.")  # fmt: skip
@click.option("--no-layers", is_flag=True, help="Leave the layers to whoever pulls the image: a digest names each.")
@results.junit_option
@jobs_option
@common
def command(
    common: Common, images: tuple[str, ...], keys: tuple[str, ...], no_layers: bool, junit: Path | None, jobs: int
) -> int:
    """Say whether images, and what is told of them, are what a key has signed; ends with 3 if not.

    Every byte is read: of the image, of its signatures, and of the lock, the bills of materials, the provenance and the OpenVEX
    beside it, each of which the key must have attested. What others have signed or attached counts for nothing.

    IMAGES lie in a registry or in an OCI layout and are named as for `inspect`; of a place without a name, all are
    verified. The signatures are cosign's: `imgbuild publish --sign` makes them, and `cosign sign --key`.

    \b
    Examples:
      imgbuild verify registry:registry.example:5000/openstack/nova-api:31.0.0-r4 --signed-by release.pub
      imgbuild verify oci:out --signed-by release.pub --signed-by next.pub --json
      imgbuild verify oci:out --signed-by release.pub --junit verify.xml
    """
    from builder.formats.junit import Case
    from builder.pipeline import trusting
    from builder.trust import keys as keys_

    verifiers = [keys_.public(one) for one in keys]
    verdicts = []
    for one in trusting.verify(images, verifiers, common.store(), jobs, common.names(), layers=not no_layers):
        verdicts.append(one)
        if common.json:
            continue
        kinds = f"; attested: {', '.join(note.removeprefix('org.imgbuild.') for note in one.attested)}"
        told = f"{len(one.faults)} faults" if one.faults else f"verified{kinds if one.attested else ''}"
        print(f"{one.name}: {told}", flush=True)
        for fault in one.faults:
            print(f"  {fault.where}: {fault.message}")
    cases = [Case(one.name, tuple(f"{fault.where}: {fault.message}" for fault in one.faults)) for one in verdicts]
    results.write_junit(junit, "verify", cases)
    if common.json:
        output.print_json({"images": [one.data() for one in verdicts]})
    return 3 if any(one.faults for one in verdicts) else 0
