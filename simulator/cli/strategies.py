"""`ponder strategies`: the ways in which a query can spend test-time compute."""

from __future__ import annotations

import click


@click.command("strategies")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def command(as_json: bool) -> None:
    """List the strategies that an experiment's `strategy:` can name, with their parameters.

    Any other is a class in a file of your own: `kind: ./my_strategy.py:MyStrategy`.
    """
    from simulator.cli.policies import show_policies
    from simulator.strategies import STRATEGIES

    show_policies(STRATEGIES, as_json)
