"""`worldbus completion`: let the shell know the verbs."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from worldbus.cli.app import app
from worldbus.cli.output import say

SHELLS = ("bash", "zsh", "fish")


@app.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print the completion script of a shell.

    \b
    bash:  eval "$(worldbus completion bash)"     in ~/.bashrc
    zsh:   eval "$(worldbus completion zsh)"      in ~/.zshrc
    fish:  worldbus completion fish > ~/.config/fish/completions/worldbus.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None
    say(kind(app, {}, "worldbus", "_WORLDBUS_COMPLETE").source())
