"""``imgbuild``: errors become messages and exit codes here, and nowhere else."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from typing import Any, NoReturn

import click

COMMANDS = {
    "build": "Make images from definitions and their locks.",
    "cache": "Show what the store holds, or clean it.",
    "check": "Read definitions and say everything that is wrong with them.",
    "diff": "Compare two images: packages, layers, bytes.",
    "init": "Propose a component repo from a package's name.",
    "inspect": "Show the layers of an image and the packages in them.",
    "list": "List components, layer definitions and images.",
    "lock": "Resolve packages and write locks.",
    "outdated": "Show locked packages that have newer versions.",
    "plan": "Show which layers a build would make or reuse.",
    "schema": "Print the JSON Schema of the language.",
    "show": "Print a definition as it is after overlays.",
    "validate": "Recompute every digest and size of an image.",
    "why": "Explain why a package is in an image.",
}
"""Every command and its line of help; its module is loaded when it runs, so that ``--help`` is quick."""


class Commands(click.Group):
    """The commands, each in a module of its own."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Their names, in order."""
        return [name for name in sorted(COMMANDS) if _exists(name)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a name, loaded now."""
        if cmd_name not in COMMANDS or not _exists(cmd_name):
            return None
        command: click.Command = importlib.import_module(f"builder.cli.{cmd_name}").command
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Find the command, or name the nearest one."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            import difflib

            near = difflib.get_close_matches(args[0], self.list_commands(ctx), 1)
            if near:
                raise click.UsageError(f"{error.message} Did you mean {near[0]!r}?", ctx) from None
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, without loading them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name]) for name in self.list_commands(ctx)])


def _exists(name: str) -> bool:
    from importlib.util import find_spec

    return find_spec(f"builder.cli.{name}") is not None


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("-C", "--directory", help="Work in this folder.", metavar="DIR")
@click.option("--repos", multiple=True, help="A further folder of component repos.", metavar="DIR")
@click.version_option(package_name=None, version="0.1.0", prog_name="imgbuild")
@click.pass_context
def cli(ctx: click.Context, directory: str | None, repos: tuple[str, ...]) -> None:
    """Compile descriptions of software components into layered, versioned OCI images.

    \b
    Examples:
      imgbuild build nova            six images into the OCI layout ./out
      imgbuild plan keystone         what a build would make or reuse
      imgbuild why openssl nova-api  why a package is in an image
    """
    ctx.obj = {"directory": directory, "repos": repos}


class Terminated(BaseException):
    """Somebody asked us by SIGTERM to end: in as good order as with Ctrl-C."""


def _terminate(_signal: int, _frame: object) -> None:
    raise Terminated


def main() -> None:
    """Run the command line and end with 0 done, 1 failed, 2 wrong input, 3 found something, 130 or 143 interrupted."""
    from dsl.errors import ImgbuildError

    signal.signal(signal.SIGTERM, _terminate)
    try:
        code = cli.main(standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.exceptions.Exit as ended:
        sys.exit(ended.exit_code)
    except Terminated:
        _interrupted("terminated", 128 + signal.SIGTERM)
    except (KeyboardInterrupt, click.exceptions.Abort):
        _interrupted("interrupted", 128 + signal.SIGINT)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except BrokenPipeError:
        sys.exit(1)
    except ImgbuildError as error:
        from builder.cli import output

        output.error(error, json_wanted="--json" in sys.argv)
        sys.exit(error.exit_code)
    except OSError as error:
        print(f"error: {error.filename or ''}: {error.strerror or error}", file=sys.stderr)
        sys.exit(1)


def _interrupted(message: str, code: int) -> NoReturn:
    import threading

    print(message, file=sys.stderr, flush=True)
    if threading.active_count() > 1:
        # Downloads that wait for a mirror would be waited for.
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    main()
