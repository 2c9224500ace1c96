"""`ponder schedulers`: the orders in which a replica can serve its requests."""

from __future__ import annotations

import click


@click.command("schedulers")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def command(as_json: bool) -> None:
    """List the schedulers that a pool's `scheduler:` can name, with their parameters.

    Any other is a class in a file of your own: `kind: ./my_scheduler.py:MyScheduler`.
    """
    from simulator.cli.policies import show_policies
    from simulator.schedulers import SCHEDULERS

    show_policies(SCHEDULERS, as_json)
