"""`ponder trace`: look at request traces, fit them, generate and convert them."""

from __future__ import annotations

import click

from simulator.cli.lazy import LazyGroup

COMMANDS = {
    "describe": ("simulator.cli.trace.describe", "Show what is in a trace, and its fitted laws."),
    "fit": ("simulator.cli.trace.fit", "Turn a trace into a workload that reproduces it."),
    "generate": ("simulator.cli.trace.generate", "Write the requests of a workload as a trace."),
    "convert": ("simulator.cli.trace.convert", "Write a trace in another format."),
}


@click.group("trace", cls=LazyGroup, commands=COMMANDS)
def command() -> None:
    """Request traces: describe, fit, generate, convert.

    A format is recognised by its content, whatever the name; gzip and zstd are read as they are.
    """
