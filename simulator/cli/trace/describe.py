"""`ponder trace describe`: what is in a trace."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from simulator.cli.interrupts import catch_interrupts


@click.command("describe")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--format", default="auto", help="The trace's format [default: by its content].")
@click.option(
    "--plots",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Write plots (PNG) of the rate, the gaps and the lengths to DIR.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def command(file: Path, format: str, plots: Path | None, as_json: bool) -> None:
    """Describe the trace FILE: arrivals, lengths, tails, laws, prefix reuse, sessions, clients.

    Laws are fitted to each column of lengths by maximum likelihood, a cap being censored, and
    ranked by AIC; KS is the largest distance between the distribution functions. The one in bold
    has the lowest BIC: `ponder trace fit` takes it, or measured quantiles if even it is not close.
    """
    from workloads.description import describe
    from workloads.traces import read_trace

    catch_interrupts()

    rows, reader = read_trace(file, format)
    found = describe(rows, reader.title, file.name)
    if plots is not None:
        from simulator.report.plots.trace import write_trace_plots

        write_trace_plots(rows, found, plots)
    if as_json:
        click.echo(json.dumps(found.to_dict(), indent=2))
        return
    from rich.console import Console

    from simulator.report.trace_tables import TraceTables

    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(TraceTables(found))
    if plots is not None:
        click.echo(f"plots in {plots}", err=True)
