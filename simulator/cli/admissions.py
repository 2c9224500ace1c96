"""`ponder admissions`: the rules by which requests are rejected at the door."""

from __future__ import annotations

import click


@click.command("admissions")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def command(as_json: bool) -> None:
    """List the admission controls that `admission:` in an experiment can name.

    Any other is a class in a file of your own: `kind: ./my_admission.py:MyAdmission`.
    """
    from simulator.admission import ADMISSIONS
    from simulator.cli.policies import show_policies

    show_policies(ADMISSIONS, as_json)
