"""``imgbuild mirror``: releases for sites without internet."""

from __future__ import annotations

from pathlib import Path

import click

from builder.cli import output
from builder.cli.copy import print_copied
from builder.cli.options import Common, common, jobs_option, written


@click.group("mirror")
def command() -> None:
    """Carry releases to a site without internet: an archive with what it lacks, and what takes that in there."""


@command.command("save")
@click.argument("archive", type=click.Path(dir_okay=False, path_type=Path))
@click.argument("sources", metavar="[SOURCE]...", nargs=-1, shell_complete=written)
@click.option("--since", multiple=True, metavar="FILE|PLACE|IMAGE",
              help="What the site has: an archive before, what `mirror list` or `kubectl get pods` printed there, a layout,"
              " a registry, or releases.")  # fmt: skip
@click.option("--for-building", is_flag=True,
              help="Bring what building and patching these images takes, too: packages, indexes, feeds, git.")  # fmt: skip
@click.option("--sign", metavar="KEY|env:NAME", help="Sign all of the archive by this private key.")
@jobs_option
@common
def save(
    common: Common, archive: Path, sources: tuple[str, ...], since: tuple[str, ...], for_building: bool,
    sign: str | None, jobs: int,
) -> int:  # fmt: skip
    """Write ARCHIVE: the newest release of each image of each SOURCE, without the layers that the site has.

    A SOURCE is an image as `imgbuild inspect` names it, or a place (oci:DIR, registry:HOST/PREFIX/); ./out if none is named.
    Signatures, attestations, locks, bills of materials and floating tags go along. A layer is left out if --since, which
    may be given several times, says that the site has it; what is small comes always.

    With --for-building the site can build and patch the images that this workspace defines: it brings the packages and
    wheels of their locks and those that are newest now, the signed indexes and keyrings, the documents of the feeds,
    and the workspace's git repository with those that it uses, as bundles.

    ARCHIVE is an OCI layout in a tar, which skopeo and oras read, too. The same releases give the same bytes, but for the
    signature of --sign; the password of the key is in COSIGN_PASSWORD.

    \b
    Examples:
      imgbuild mirror save first.tar registry:registry.example/openstack/
      imgbuild mirror save second.tar registry:registry.example/openstack/ --since first.tar
      imgbuild mirror save update.tar oci:out --since site.txt
      imgbuild mirror save nova.tar nova-api:31.0.0-r4 --since nova-api:31.0.0-r3
      imgbuild mirror save site.tar --for-building --sign release.key
    """
    from builder.pipeline import mirroring
    from builder.pipeline.edges import Edges

    edges = Edges(common.store(), common.reporter(), jobs)
    catalog = common.catalog() if for_building else None
    signer = None
    if sign is not None:
        from builder.trust import keys

        signer = keys.private(sign)
    done = mirroring.save(sources, archive, since, common.names(), edges, catalog, signer)
    if common.json:
        output.print_json(done.data())
        return 0
    if common.verbosity >= 0:
        print(output.table([(name, digest[:19]) for name, digest in done.images], ("IMAGE", "DIGEST")))
    more = f"; {done.files} files to build from" if for_building else ""
    print(f"{archive}: {done.blobs} blobs, {output.size(done.bytes)}; {done.without} layers left out{more}")
    return 0


@command.command("load")
@click.argument("archive", type=click.Path(dir_okay=False, path_type=Path))
@click.argument("target")
@click.option("--signed-by", "keys", metavar="KEY|env:NAME", multiple=True,
              help="The public key of whom you believe; of several, any will do. The archive, or each image, must be signed by it.")  # fmt: skip
@click.option("--building", metavar="DIR", type=click.Path(file_okay=False, path_type=Path),
              help="A folder for what `save --for-building` has brought; IMGBUILD_MIRROR=DIR builds from it.")  # fmt: skip
@jobs_option
@common
def load(common: Common, archive: Path, target: str, keys: tuple[str, ...], building: Path | None, jobs: int) -> int:
    """Take in what ARCHIVE has, into TARGET: oci:DIR, or registry:HOST[:PORT][/PREFIX].

    All of it is read first: of an archive that was cut off or changed nothing is taken. Layers come first, tags last, floating
    ones only forwards; a run that was killed is finished by the next. No workspace is needed; of the images of one, it is
    recorded where they are.

    \b
    Examples:
      imgbuild mirror load update.tar registry:registry.site:5000/openstack --signed-by release.pub
      imgbuild mirror load update.tar oci:/srv/images
      imgbuild mirror load site.tar oci:/srv/images --building /srv/building
    """
    from builder.pipeline import mirroring
    from builder.pipeline.edges import Edges
    from builder.trust import keys as keys_
    from dsl.catalog import UnknownTarget

    verifiers = [keys_.public(one) for one in keys]
    edges = Edges(common.store(), common.reporter(), jobs)
    try:
        catalog = common.catalog()
    except UnknownTarget:
        catalog = None
    print_copied(common, mirroring.load(catalog, archive, target, edges, verifiers, building))
    return 0


@command.command("list")
@click.argument("place", shell_complete=written)
@common
def list_(common: Common, place: str) -> int:
    """Print the layers that the images of PLACE have, each with the name of an image: what `mirror save --since` takes.

    PLACE is a layout (oci:DIR), a registry (registry:HOST/PREFIX/), or an image there; or a folder that `mirror load
    --building` has filled, for the files in it.

    \b
    Examples:
      imgbuild mirror list registry:registry.site:5000/openstack/ > site.txt
      imgbuild mirror list oci:/srv/images --json
    """
    from builder.pipeline import mirroring

    found = mirroring.listed(place, common.names(), common.store())
    if common.json:
        output.print_json({"layers": [{"digest": digest, "image": name} for digest, name in sorted(found.items())]})
    else:
        print("\n".join(f"{digest} {name}" for digest, name in sorted(found.items())))
    return 0
