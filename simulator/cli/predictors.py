"""`ponder predictors`: the guesses at output lengths that policies can go by."""

from __future__ import annotations

import click


@click.command("predictors")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def command(as_json: bool) -> None:
    """List the length predictors that `predictor:` in an experiment can name.

    Any other is a class in a file of your own: `kind: ./my_predictor.py:MyPredictor`.
    """
    from simulator.cli.policies import show_policies
    from simulator.predictors import PREDICTORS

    show_policies(PREDICTORS, as_json)
