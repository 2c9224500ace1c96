"""`ponder run`: simulate one experiment and report on it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from simulator.cli.interrupts import catch_interrupts

Progress = Callable[[float, int, int], None]

# Without a terminal there is no width to fit, and 80 columns would cut the table.
WIDTH_WITHOUT_TERMINAL = 120


@click.command("run")
@click.argument("experiment", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Result directory [default: results/<name>-seed<seed>]. A result there is replaced.",
)
@click.option("--seed", type=click.IntRange(min=0), help="Seed, instead of the experiment's.")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="PATH=VALUE",
    help="Change one value, e.g. --set workload.arrivals.rate_rps=3. May be given many times.",
)
@click.option("--quiet", is_flag=True, help="No progress bar and no notes, only the results.")
def command(
    experiment: Path, out: Path | None, seed: int | None, overrides: tuple[str, ...], quiet: bool
) -> None:
    """Simulate the experiment in the YAML file EXPERIMENT.

    Prints a table of latencies, throughput, goodput and cost, and writes a result directory with
    the same numbers, every request and a timeline.
    """
    from simulator.errors import InputError
    from simulator.report.reporter import Reporter

    if os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"):
        raise InputError("NUMBA_DISABLE_JIT is set: the engine needs Numba's compiler")
    with Reporter() as reporter:  # it starts up while we do
        from simulator.config.loader import load_with_source, located

        # Bad input is said before pandas and numba are imported for a run that will not be.
        loaded, source = load_with_source(experiment, overrides, seed)
        directory = out or Path("results") / f"{loaded.name}-seed{loaded.seed}"

        from simulator.exports.directory import check_output_directory
        from simulator.runner import simulate

        check_output_directory(directory)  # before the work, not after it
        catch_interrupts()
        try:
            with _progress(shown=not quiet and sys.stderr.isatty()) as progress:
                simulation = simulate(loaded, progress=progress)
        except InputError as error:
            raise InputError(located(error.problems, source)) from None
        terminal = sys.stdout.isatty()
        width = shutil.get_terminal_size().columns if terminal else WIDTH_WITHOUT_TERMINAL
        table = reporter.report(simulation, directory.resolve(), width, terminal, not quiet)
    click.echo(table, nl=False)
    click.echo(f"result: {directory}")


@contextmanager
def _progress(shown: bool) -> Iterator[Progress | None]:
    """A progress bar on stderr, fed with (simulated seconds, requests done, requests in all)."""
    if not shown:
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    # No refresh thread: it would take the interpreter from the event loop ten times a second.
    with Bar(
        TextColumn("simulated {task.fields[clock]}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("requests, ETA"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        auto_refresh=False,
        transient=True,
    ) as bar:
        task = bar.add_task("run", total=None, clock="0 s")

        def update(sim_time_s: float, done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, clock=_clock(sim_time_s), refresh=True)

        yield update


def _clock(seconds: float) -> str:
    """Simulated time to read at a glance: `83 s`, `2 h 05 min`."""
    if seconds < 600:
        return f"{seconds:.0f} s"
    minutes = int(seconds // 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"
