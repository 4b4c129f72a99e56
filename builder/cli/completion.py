"""``imgbuild completion``: names and options in a shell."""

from __future__ import annotations

import click

from builder.cli.options import Common, common


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@common
def command(common: Common, shell: str) -> None:
    """Print a script that completes commands, options, components and images.

    It holds for every `imgbuild` that is called by this name, `./imgbuild` too.

    \b
    Examples:
      source <(imgbuild completion bash)     # in ~/.bashrc
      source <(imgbuild completion zsh)      # in ~/.zshrc
      imgbuild completion fish > ~/.config/fish/completions/imgbuild.fish
    """
    from click.shell_completion import get_completion_class

    from builder.cli.main import cli

    found = get_completion_class(shell)
    assert found is not None, "click knows these three"
    complete = found(cli, {}, "imgbuild", "_IMGBUILD_COMPLETE")
    # Not source(), which starts the shell to ask for its version.
    print(complete.source_template % complete.source_vars())
