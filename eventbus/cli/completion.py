"""Completion of commands and options in shells."""

import click
from click.shell_completion import get_completion_class

_SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(_SHELLS))
def completion(shell: str) -> None:
    """Print a script that lets SHELL complete the commands and options of eventbus.

    \b
    Examples:
      eval "$(eventbus completion bash)"          # in ~/.bashrc
      eval "$(eventbus completion zsh)"           # in ~/.zshrc
      eventbus completion fish > ~/.config/fish/completions/eventbus.fish
    """
    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(click.Command("eventbus"), {}, "eventbus", "_EVENTBUS_COMPLETE").source())
