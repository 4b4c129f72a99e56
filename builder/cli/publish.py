"""``imgbuild publish``: releases → a registry."""

from __future__ import annotations

import click

from builder.cli import output
from builder.cli.options import Common, common, targets


@click.command("publish")
@click.argument("targets", nargs=-1, shell_complete=targets)
@click.option("--registry", metavar="HOST[:PORT][/PREFIX]", default="", help="Where to; the workspace may name it.")
@click.option("--from", "layout", metavar="oci:DIR", default="oci:out", show_default=True, help="Where from.")
@click.option("--latest", is_flag=True, help="Move the tag `latest`, too.")
@click.option("--dry-run", is_flag=True, help="Say what would be sent and which tags would move; send nothing.")
@click.option("--plain-http", is_flag=True, help="The registry has no TLS (one on this machine need not have it).")
@click.option(
    "--sign", metavar="KEY|env:NAME", help="Sign by this private key, and attest what lies beside the images."
)
@click.option("-j", "--jobs", type=click.IntRange(1, 64), default=4, show_default=True, help="How much at once.")
@common
def command(
    common: Common, targets: tuple[str, ...], registry: str, layout: str, latest: bool, dry_run: bool, plain_http: bool,
    sign: str | None, jobs: int,
) -> int:  # fmt: skip
    """Send releases from a layout to a registry: those that the locks say are current.

    Without a TARGET it is all of which the layout has a release. What the registry has is not sent again, and a layer that
    many images have is sent once. Tags come last. That of a release (31.0.0-r4) never gets another content: that is an
    error. 31.0.0, 31.0 and 31 move to it, but never back. A -dev build is sent with a warning, and nothing else moves.
    Locks, bills of materials and provenance that lie beside an image go along as what refers to it, and as OpenVEX what the
    workspace has decided of flaws in it.

    With --sign each is signed before a tag names it, in cosign's form; the password of the key is in COSIGN_PASSWORD.

    Logins are those of `docker login` and `podman login`, or in the file that REGISTRY_AUTH_FILE names.

    \b
    Examples:
      imgbuild publish --registry registry.example:5000/openstack
      imgbuild publish nova keystone --dry-run
      imgbuild publish --sign release.key
      imgbuild publish --from oci:release --latest --json
    """
    from builder.pipeline import publishing
    from builder.pipeline.edges import Edges

    signer = None
    if sign is not None:
        from builder.trust import keys

        signer = keys.private(sign)
    edges = Edges(common.store(), common.reporter(), jobs)
    done = publishing.publish(
        common.catalog(), targets, registry, layout, edges, latest=latest, dry_run=dry_run, plain_http=plain_http,
        signer=signer,
    )  # fmt: skip
    if common.json:
        rows_ = [one.data() | (output.error_data(one.error) if one.error else {}) for one in done]
        output.print_json({"dry_run": dry_run, "images": rows_})
    else:
        for one in done:
            if one.error:
                output.error(one.error, json_wanted=False)
        rows = [
            (
                one.image, one.status if not dry_run or one.status != "published" else "would be published",
                f"{one.sent.layers_sent} sent, {one.sent.layers_mounted} mounted, {one.sent.layers_there} there",
                output.size(one.sent.bytes), one.sent.signed or "-", " ".join(one.sent.tags), one.sent.digest[:19],
            )
            if one.sent and not one.error
            else (one.image, one.status, "", "", "", "", "")
            for one in done
        ]  # fmt: skip
        print(output.table(rows, ("IMAGE", "STATUS", "LAYERS", "SENT", "SIGNED", "TAGS", "DIGEST")))
    codes = {one.error.exit_code for one in done if one.error}
    return codes.pop() if len(codes) == 1 else int(bool(codes))
