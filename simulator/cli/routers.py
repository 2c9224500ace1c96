"""`ponder routers`: the ways to choose a replica for a request."""

from __future__ import annotations

import click


@click.command("routers")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def command(as_json: bool) -> None:
    """List the routers that `router:` in an experiment can name, with their parameters.

    Any other is a class in a file of your own: `kind: ./my_router.py:MyRouter`.
    """
    from simulator.cli.policies import show_policies
    from simulator.routers import ROUTERS

    show_policies(ROUTERS, as_json)
