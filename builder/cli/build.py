"""``imgbuild build``: definitions and locks → images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import click

from builder.cli import output
from builder.cli.options import Common, architecture_option, common, jobs_option, reuse_option, targets
from dsl.errors import DefinitionError, ImgbuildError

if TYPE_CHECKING:
    from builder.pipeline.building import Built


@click.command("build")
@click.argument("targets", nargs=-1, shell_complete=targets)
@click.option("--all", "everything", is_flag=True, help="All components.")
@click.option("--locked", is_flag=True, help="Refuse a lock that cannot be used as it is (for pipelines).")
@click.option("--to", "destinations", multiple=True, default=("oci:out",), show_default=True, metavar="TARGET",
              help="oci:DIR, docker:, podman:, oci-archive:FILE, docker-archive:FILE, dir:DIR, rootfs:DIR, aci:DIR; {image}"
              " is its name.")  # fmt: skip
@click.option("--attest/--no-attest", default=None,
              help="Keep beside each image, in the layout, its bills of materials and how it was built; the workspace says"
              " whether to do so by default.")  # fmt: skip
@architecture_option
@reuse_option
@jobs_option
@common
def command(
    common: Common,
    targets: tuple[str, ...],
    everything: bool,
    locked: bool,
    destinations: tuple[str, ...],
    attest: bool | None,
    architectures: tuple[str, ...],
    reuse: str,
    jobs: int,
) -> int:
    """Make images from definitions and their locks.

    \b
    Examples:
      imgbuild build nova                     six images into ./out
      imgbuild build nova/nova-api --to docker:
      imgbuild build --all --locked           in a pipeline
      docker run $(imgbuild build memcached -q --to docker:)
      imgbuild build nova --to aci:out/       for rkt; the workspace says by which name they are found
      imgbuild build nova --architecture arm64   of all that the workspace's images are made for
      imgbuild build web --to rootfs:web      a root for systemd-nspawn

    With -q it prints the names of images that were built, and nothing else.
    """
    from builder.pipeline import building
    from builder.pipeline.edges import Edges

    if not targets and not everything:
        raise click.UsageError("name a target, or --all")
    edges = Edges(common.store(), common.reporter(), jobs)
    built = building.build(
        common.catalog(), targets, destinations, edges, locked=locked, attest=attest, reuse=reuse,
        architectures=architectures,
    )  # fmt: skip
    several = len({image.architecture for image in built}) > 1
    if common.json:
        found = [image.data() | (output.error_data(image.error) if image.error else {}) for image in built]
        output.print_json({"images": found})
    else:
        for error in _each_once(image.error for image in built if image.error):
            output.error(error, json_wanted=False)
        for image in built:
            if image.error and image.log:
                click.echo(f"{image.image}: {image.status}, see {image.log}", err=True)
        if common.verbosity < 0:
            for name in dict.fromkeys(f"{image.image}:{image.tag}" for image in built if image.digest):
                print(name)
            return _code(built)
        rows = [
            (
                f"{image.image}:{image.tag}".rstrip(":") + (f" {image.architecture}" if several else ""),
                image.status,
                f"{image.made} made, {image.reused} reused" if image.digest else _because(image),
                output.size(image.size) if image.digest else "",
                f"{image.seconds:.1f} s" if image.digest else "",
                (image.digest or "")[:19],
            )
            for image in built
        ]
        print(output.table(rows, ("IMAGE", "STATUS", "LAYERS", "SIZE", "TIME", "DIGEST")))
    return _code(built)


def _each_once(errors: Iterable[ImgbuildError]) -> Iterator[ImgbuildError]:
    # Images of one file, and of one layer definition, share what is wrong with it.
    told: set[object] = set()
    for error in errors:
        if isinstance(error, DefinitionError):
            problems = tuple(problem for problem in error.problems if problem not in told)
            told.update(problems)
            if problems:
                yield DefinitionError(problems)
        elif id(error) not in told:
            told.add(id(error))
            yield error


def _because(image: Built) -> str:
    if isinstance(image.error, DefinitionError):
        count = len(image.error.problems)
        return f"{count} problem{'s' if count > 1 else ''} in its definition"
    return image.because.splitlines()[0]


def _code(built: tuple[Built, ...]) -> int:
    codes = {image.error.exit_code for image in built if image.error}
    return codes.pop() if len(codes) == 1 else int(bool(codes))
