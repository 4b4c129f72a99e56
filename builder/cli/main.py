"""``imgbuild``: errors become messages and exit codes here, and nowhere else."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
from typing import Any, NoReturn

import click

from builder import __version__
from builder.cli.options import shared

COMMANDS = {
    "build": "Make images from definitions and their locks.",
    "cache": "Show what the store holds, look for damage in it, or clean it.",
    "check": "Read definitions and say everything that is wrong with them.",
    "ci": "Name the components that a change touches, for pipelines.",
    "compare": "Say whether an image is what its packages are when installed the ordinary way.",
    "completion": "Print a script that completes commands, options and names in a shell.",
    "copy": "Copy images between layouts, registries, archives and engines.",
    "debug": "Go into a container, or an image, with tools on top of it.",
    "deploy": "Run images together: on Kubernetes, by docker compose or by systemd.",
    "diff": "Compare two images: packages, layers, bytes.",
    "doctor": "Say what this machine can do, and what to install or set.",
    "find": "Find the images that hold a package, in which layer and why.",
    "init": "Propose a component repo from a package's name.",
    "inspect": "Show the layers of an image and the packages in them.",
    "list": "List components, layer definitions and images.",
    "lock": "Resolve packages and write locks.",
    "migrate": "Print what a definition says in place of a config.json of Kolla.",
    "mirror": "Carry releases to a site without internet: what it lacks, in an archive.",
    "outdated": "Show locked packages that have newer versions.",
    "plan": "Show which layers a build would make or reuse.",
    "provenance": "Print from what, how and when an image was built.",
    "prune": "Remove old releases from a layout or a registry.",
    "publish": "Send releases to a registry, and move its tags.",
    "pull": "Fetch the releases that the locks say are current from a registry.",
    "record": "Show where releases are remembered, or make the record anew.",
    "rebuild": "Make an image again from its lock and say whether it is the same.",
    "report": "Write a page about images, their layers and open advisories.",
    "run": "Run an image, or a step of it, under docker or podman with what it declares.",
    "sbom": "Print the bill of materials of an image.",
    "schema": "Print the JSON Schema of the language.",
    "security": "Show which advisories are open, in which images and layers.",
    "show": "Print a definition as it is after overlays.",
    "store": "Fill a store in a registry: packages and layers that every runner finds.",
    "validate": "Recompute every digest and size of an image.",
    "verify": "Say whether images are what a key has signed.",
    "why": "Explain why a package is in an image.",
    "withdraw": "Take a release with a bad fix back.",
}
"""Every command and its line of help; its module is loaded when it runs, so that ``--help`` is quick."""


class Commands(click.Group):
    """The commands, each in a module of its own."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Their names, in order."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a name, loaded now."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"builder.cli.{cmd_name}").command
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Find the command, or name the nearest one."""
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, 1)
            hint = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(sorted(COMMANDS))}."
            raise click.UsageError(f"No such command {args[0]!r}. {hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, without loading them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name]) for name in self.list_commands(ctx)])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """The names of commands, without loading them, and the options."""
        from click.shell_completion import CompletionItem

        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        return [CompletionItem(name, help=COMMANDS[name]) for name in sorted(COMMANDS) if name.startswith(incomplete)]


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@shared
@click.version_option(version=__version__, prog_name="imgbuild")
@click.pass_context
def cli(ctx: click.Context, /, **given: Any) -> None:
    """Compile descriptions of software components into layered, versioned OCI images.

    \b
    Examples:
      imgbuild build nova            six images into the OCI layout ./out
      imgbuild plan keystone         what a build would make or reuse
      imgbuild why openssl nova-api  why a package is in an image

    Ends with 0 done, 1 failed, 2 wrong input, 3 a comparison found something, 130 interrupted. Errors are told on
    standard error; with --json as an object with `error`, `message` and `hint` on standard output.
    """
    ctx.obj = given


class Terminated(BaseException):
    """Somebody asked us by SIGTERM to end: in as good order as with Ctrl-C."""


def _terminate(_signal: int, _frame: object) -> None:
    raise Terminated


def main() -> NoReturn:
    """Run the command line and end with 0 done, 1 failed, 2 wrong input, 3 found something, 130 or 143 interrupted."""
    signal.signal(signal.SIGTERM, _terminate)
    # What nobody describes gets the mode that any machine gives it.
    os.umask(0o022)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError):
            # Names that the terminal's encoding does not have are told by their numbers.
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        code = _run()
        sys.stdout.flush()
    except BrokenPipeError:
        # Who read the output has gone, as `head` does: nobody is left to be told.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = 1
    sys.exit(code)


def _run() -> int:
    from dsl.errors import ImgbuildError

    try:
        code = cli.main(prog_name="imgbuild", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except Terminated:
        return _interrupted("terminated", 128 + signal.SIGTERM)
    except (KeyboardInterrupt, click.exceptions.Abort):
        return _interrupted("interrupted", 128 + signal.SIGINT)
    except click.UsageError as error:
        context = error.ctx.command_path if error.ctx else "imgbuild"
        return _fail(ImgbuildError(error.format_message(), f"see `{context} --help`"), "usage", 2)
    except click.ClickException as error:
        return _fail(ImgbuildError(error.format_message()), "usage", 2)
    except BrokenPipeError:
        raise
    except ImgbuildError as error:
        return _fail(error, error.code, error.exit_code)
    except MemoryError:
        return _fail(ImgbuildError("there is not enough memory", "try a lower -j"), "memory", 1)
    except OSError as error:
        from builder import errors

        return _fail(errors.of_system(error), "system", 1)
    except Exception as error:
        return _bug(error)


def _interrupted(message: str, code: int) -> int:
    import threading

    from dsl.errors import ImgbuildError

    _fail(ImgbuildError(message), message, code)
    if threading.active_count() > 1:
        # Downloads that wait for a mirror would be waited for.
        sys.stdout.flush()
        os._exit(code)
    return code


def _bug(error: Exception) -> int:
    """What should never happen: one line that asks for a report, and the traceback for who asks with -v."""
    from builder.tools.process import ProgramFailed
    from dsl.errors import ImgbuildError

    if isinstance(error, ProgramFailed):
        return _fail(ImgbuildError(str(error)), "program", 1)
    if {"-v", "--verbose"} & set(_words()):
        import traceback

        traceback.print_exception(error)
    frame = error.__traceback__
    while frame and frame.tb_next:
        frame = frame.tb_next
    where = f" at {os.path.basename(frame.tb_frame.f_code.co_filename)}:{frame.tb_lineno}" if frame else ""
    said = f"this is a bug of imgbuild {__version__}: {type(error).__name__}: {error}{where}"
    return _fail(ImgbuildError(said, "please report it, with what the same command says with -v"), "bug", 1)


def _words() -> list[str]:
    """The command line up to ``--``."""
    return sys.argv[1 : sys.argv.index("--")] if "--" in sys.argv else sys.argv[1:]


def _fail(error: Any, code: str, exit_code: int) -> int:
    from builder.cli import output

    output.error(error, code=code, json_wanted="--json" in _words())
    return exit_code


if __name__ == "__main__":
    main()
