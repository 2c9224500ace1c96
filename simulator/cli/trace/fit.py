"""`ponder trace fit`: turn a trace into a workload that reproduces it."""

from __future__ import annotations

from pathlib import Path

import click

from simulator.cli.interrupts import catch_interrupts
from simulator.cli.trace import options


@click.command("fit")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the workload (YAML) there instead of printing it.",
)
@click.option("--format", default="auto", help="The trace's format [default: by its content].")
def command(file: Path, out: Path | None, format: str) -> None:
    """Fit a generator to the trace FILE and write it as the workload section of an experiment.

    Arrivals follow the trace's rate over time with gaps as irregular as its own; lengths follow
    the best of several laws, or the trace's own quantiles where no law is close; prompt, thinking
    and answer are as correlated as in its rows. Comments say how good each fit is, and what is not
    reproduced. The same trace gives the same file.
    """
    from simulator.errors import InputError, Problem
    from simulator.report import units
    from workloads.fitting.workload import fit_workload
    from workloads.traces import read_trace

    catch_interrupts()

    if out is not None:
        options.keep_inputs(out, [file])
    rows, reader = read_trace(file, format)
    fitted = fit_workload(rows)
    span_s = float(rows.arrival_s[-1] - rows.arrival_s[0])
    heading = [
        f"Fitted by `ponder trace fit` to {file.name} ({reader.title}):",
        f"{units.count(len(rows))} requests in {units.seconds(span_s)}.",
    ]
    if rows.dropped:
        reasons = ", ".join(f"{units.count(n)} rows ({why})" for why, n in rows.dropped.items())
        heading.append(f"Left out of the trace: {reasons}.")
    text = fitted.to_yaml(heading)
    if out is None:
        click.echo(text, nl=False)
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        message = f"can't be written: {error.strerror}"
        raise InputError(Problem(message, file=str(out))) from None
    click.echo(f"wrote {out}", err=True)
