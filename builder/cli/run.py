"""``imgbuild run``: an image as a container."""

from __future__ import annotations

from pathlib import Path

import click

from builder.cli import engines
from builder.cli.options import Common, common, written


@click.command("run")
@click.argument("image", shell_complete=written)
@click.argument("step", default="")
@engines.engine_option
@click.option("--name", default="", help="Of the container and its volumes; the image's own name if not given.")
@click.option("--config", "configs", metavar="PATH=FILE", multiple=True, help="A file of the site's configuration.")
@click.option("--env", "-e", "envs", metavar="NAME=VALUE", multiple=True, help="A variable of the site's.")
@click.option(
    "--publish", "-p", "ports", metavar="PORT[=NUMBER]", multiple=True,
    help="Publish only these ports, by name; NUMBER is this machine's.",
)  # fmt: skip
@click.option("--network", default="", help="A network of the engine, where others find it by its name.")
@click.option("--detach", "-d", is_flag=True, help="Do not wait for its end.")
@click.option("--dry-run", is_flag=True, help="Print the command, run nothing.")
@common
def command(
    common: Common, image: str, step: str, engine: str | None, name: str, configs: tuple[str, ...],
    envs: tuple[str, ...], ports: tuple[str, ...], network: str, detach: bool, dry_run: bool,
) -> None:  # fmt: skip
    """Run an image, or a STEP of it, under docker or podman with what it declares, and nothing more.

    IMAGE is named as for `inspect`; the engine is sent the layers that it lacks. The root is read-only, no capability
    is left but the declared ones; volumes are called NAME-VOLUME and outlive the container. Ports are published on
    127.0.0.1, under their own numbers. It ends with the exit code of the container.

    \b
    Examples:
      imgbuild run mariadb init
      imgbuild run mariadb -d
      imgbuild run web --publish http=8080
      imgbuild run keystone db-sync --config /etc/keystone/keystone.conf=keystone.conf
    """
    from builder.deploy.engine_words import Place
    from builder.errors import UsageError
    from builder.pipeline import running

    files = {path: Path(file) for path, file in (_pair(one, "--config", "PATH=FILE") for one in configs)}
    for file in files.values():
        if not file.is_file():
            raise UsageError(f"there is no file {file}")
    kind, declared = running.offered(image, engines.kind_of(engine), common.store(), common.reporter(), common.names())
    published = (
        dict(_port(one) for one in ports) if ports else {port: number for port, (number, _) in declared.ports.items()}
    )
    place = Place(
        name or declared.title,
        network,
        published,
        dict(_pair(one, "--env", "NAME=VALUE") for one in envs),
        files,
    )
    options = ["--detach"] if detach and not step else ["--rm"]
    options += [] if detach else engines.interactive()
    found = running.command(kind, declared, place, step, options)
    engines.become(found, common.reporter(), dry_run=dry_run)


def _pair(text: str, option: str, form: str) -> tuple[str, str]:
    from builder.errors import UsageError

    name, equals, value = text.partition("=")
    if not name or not equals:
        raise UsageError(f"{option} {text}: expected {form}")
    return name, value


def _port(text: str) -> tuple[str, int]:
    from builder.errors import UsageError

    name, equals, number = text.partition("=")
    if equals and not (number.isdigit() and int(number) < 65536):
        raise UsageError(
            f"--publish {text}: {number!r} is no port", "say PORT=NUMBER, with PORT a name that the image declares"
        )
    return name, int(number or 0)
