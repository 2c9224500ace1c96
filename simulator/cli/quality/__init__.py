"""`ponder quality`: how often models are right, and fitting that to an evaluation of one's own."""

from __future__ import annotations

import click

from simulator.cli.lazy import LazyGroup

COMMANDS = {
    "list": ("simulator.cli.quality.list", "List the calibrated presets."),
    "show": ("simulator.cli.quality.show", "Show a preset: its figures and where they are from."),
    "fit": ("simulator.cli.quality.fit", "Fit a preset to an evaluation of your own."),
    "check": ("simulator.cli.quality.check", "Compare the presets with measurements."),
}


@click.group("quality", cls=LazyGroup, commands=COMMANDS)
def command() -> None:
    """Accuracy as a function of thinking: presets, fits and checks."""
