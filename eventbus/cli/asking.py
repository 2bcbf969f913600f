"""Asking before something changes."""

import sys

import click

from eventbus.cli.app import BAD_INPUT, NO


def confirm(question: str, *, yes: bool) -> None:
    """Go on if *yes* was given or the user agrees; exit with 1 when the answer is no, with 2 when nobody can be asked."""
    if yes:
        return
    if not sys.stdin.isatty():
        click.echo(f"eventbus: {question} Nobody is there to answer: pass --yes.", err=True)
        raise click.exceptions.Exit(BAD_INPUT)
    if not click.confirm(question):
        click.echo("nothing was changed.")
        raise click.exceptions.Exit(NO)
