"""Print the script that completes commands in a shell."""

from __future__ import annotations

import click

__all__ = ["completion"]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script that completes `mfn` in a shell.

    bash: mfn completion bash >> ~/.bashrc   zsh: mfn completion zsh >> ~/.zshrc
    fish: mfn completion fish > ~/.config/fish/completions/mfn.fish
    """
    from click.shell_completion import get_completion_class

    from mfn_core.cli import main

    found = get_completion_class(shell)
    if found is None:
        raise click.ClickException(f"click knows no completion for {shell}")
    click.echo(found(main, {}, "mfn", "_MFN_COMPLETE").source())
