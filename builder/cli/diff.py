"""``imgbuild diff``: two images compared."""

from __future__ import annotations

from dataclasses import asdict

import click

from builder.cli import output
from builder.cli.options import Common, common, written


@click.command("diff")
@click.argument("old", shell_complete=written)
@click.argument("new", required=False, shell_complete=written)
@click.option("--files", is_flag=True, help="Read the layers that differ and say which files do.")
@click.option("--config", is_flag=True, help="Say which conffiles, settings and defaults differ, and how they run.")
@common
def command(common: Common, old: str, new: str | None, files: bool, config: bool) -> int:
    """Compare two images: packages, layers, bytes; ends with 3 if they differ.

    Images are named as for `inspect`. With one name, its two newest releases (of one stream) are compared. Between
    streams configuration is compared, too.

    \b
    Examples:
      imgbuild diff nova-api
      imgbuild diff nova-api:31.0.0-r1 nova-api:31.0.0-r2
      imgbuild diff keystone:bookworm keystone      from one stream to another
      imgbuild diff docker:keystone oci:out:keystone --files
    """
    from builder import config_differences, contents, file_differences, transports
    from builder.cli import differences
    from builder.errors import UsageError
    from builder.transports import naming

    store, names = common.store(), common.names()
    if new is None:
        releases = transports.releases(old, store, names)
        stream = naming.stream(names.read(naming.tagged(releases[-1])))
        releases = tuple(one for one in releases if naming.stream(names.read(naming.tagged(one))) == stream)
        if len(releases) < 2:
            raise UsageError(f"there is one release of {old}: {releases[-1]}", "name the image to compare it with")
        old, new = releases[-2:]
    first, second = (transports.read_stored(one, store, names) for one in (old, new))
    # Who goes from one stream to another must know.
    config = config or len({naming.stream(names.read(naming.tagged(one.name))) for one in (first, second)}) > 1
    before, after = transports.parsed(first), transports.parsed(second)
    found = contents.difference(before, after)
    # Where no manifest is kept, the config names the image: it names the layers by what they hold.
    kept = first.kept and second.kept
    same = before.digest == after.digest if kept else before.config_digest == after.config_digest
    if common.json:
        told = {"old": first.name, "new": second.name, "same": same, **asdict(found)}
        if files:
            told["files"] = [one.data() for one in file_differences.of(before, after)]
        if config:
            told["config"] = [asdict(one) for one in config_differences.files(before, after)]
            told["run"] = [asdict(one) for one in config_differences.run(before, after)]
        output.print_json(told)
    elif same:
        print(f"{first.name} and {second.name} are the same image")
    else:
        print(f"{first.name} → {second.name}")
        for name, version in found.removed:
            print(f"- {name} {version}")
        for name, version in found.added:
            print(f"+ {name} {version}")
        for name, was, now in found.changed:
            print(f"  {name} {was} → {now}")
        gone, fresh = len(found.layers_gone), len(found.layers_new)
        print(f"{gone} layers gone, {fresh} new: {output.size(found.bytes_new)} to send")
        for layer in found.layers_new:
            print(f"  {layer.digest[7:19]}  {output.size(layer.size):>9}  {layer.comment}")
        if config:
            differences.show_config(
                config_differences.files(before, after), config_differences.run(before, after), common.verbosity > 0
            )
        if files:
            differences.show(file_differences.of(before, after), before, after, everything=common.verbosity > 0)
    return 0 if same else 3
