"""`ponder validate`: how far simulated runs are from measured ones."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from simulator.studies.validation.fit_power import PowerFit
    from simulator.studies.validation.host import HostFit
    from simulator.studies.validation.study import Validation
    from simulator.studies.validation.tables import TextTable

# Without a terminal there is no width to fit, and 80 columns would cut the tables.
WIDTH_WITHOUT_TERMINAL = 120

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command("validate")
@click.argument("measured", metavar="POINTS.csv|BENCH.json", type=_FILE)
@click.option("--histograms", type=_FILE, help="Measured output lengths, JSON, for POINTS.csv.")
@click.option("--experiment", type=_FILE, help="The pool that BENCH.json was measured on, YAML.")
@click.option("--out", type=_FILE, help="Write one line a row: predictions and errors, CSV.")
@click.option("--html", type=_FILE, help="Write the whole report as one HTML page.")
@click.option(
    "--plots", type=click.Path(file_okay=False, path_type=Path), help="Write the plots there, PNG."
)
@click.option(
    "--only",
    metavar="PATTERN",
    help="Only rows whose source/id matches, e.g. 'ml.energy*' or 'gpustack/*-07??'.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    help="Processes [default: one for every hundred rows, up to the number of CPUs].",
)
@click.option(
    "--fit",
    type=click.Choice(["host", "power"]),
    help="Fit the engine's constants, or the GPU's energies, instead; --out is then a GPU profile.",
)
@click.option(
    "--constants",
    metavar="NAMES",
    help="What to fit, e.g. iteration,request,kv_reserve (the default for POINTS.csv).",
)
@click.option("--quiet", is_flag=True, help="No progress bar.")
def command(
    measured: Path,
    histograms: Path | None,
    experiment: Path | None,
    out: Path | None,
    html: Path | None,
    plots: Path | None,
    only: str | None,
    workers: int | None,
    fit: str | None,
    constants: str | None,
    quiet: bool,
) -> None:
    """Simulate what somebody measured, and say how far off the simulation is.

    POINTS.csv holds one measured run of a serving engine a row (docs/validation.md lists the
    columns). Every row is simulated; those that cannot be are listed with the reason.

    BENCH.json is a result of `vllm bench serve --save-result --save-detailed`. Its requests are
    sent again to the pool of --experiment.

    With --fit host, the constants of the engine that no kernel explains (CPU time per iteration,
    memory it keeps) are fitted to the rows, or to the run, and printed as part of a GPU profile.
    With --fit power, the GPU's energies per byte and per operation are, to the rows' avg_power_w.
    """
    for target in (out, html):
        if target is not None and not target.absolute().parent.is_dir():
            raise click.UsageError(f"no such folder: {target.parent}")
    if constants is not None and fit != "host":
        raise click.UsageError("--constants goes with --fit host")
    if measured.suffix == ".json":
        _bench(measured, experiment, (histograms, only, workers), out, html, plots, fit, constants)
        return
    if experiment is not None:
        raise click.UsageError("--experiment goes with the JSON file of a vllm bench run")
    from simulator.studies.validation.lengths import read_histograms
    from simulator.studies.validation.points import read_points
    from simulator.studies.validation.study import select, validate

    points = read_points(measured)
    known = read_histograms(histograms) if histograms else None
    rows = select(points.rows, only) if only else points.rows
    if fit == "host":
        from simulator.studies.validation.fit_host import fit_all

        _show_fits(fit_all(rows, known, one_gpu=out is not None, **_named(constants)), out)
        return
    if fit == "power":
        from simulator.studies.validation.fit_power import fit_power

        _show_fits(fit_power(rows, known, one_gpu=out is not None), out)
        return
    with _progress(shown=not quiet and sys.stderr.isatty()) as progress:
        validation = validate(rows, points.metrics, known, workers=workers, progress=progress)
    _show(validation, measured.name, out, html, plots)


def _bench(
    measured: Path,
    experiment: Path | None,
    for_points: tuple[object, ...],
    out: Path | None,
    html: Path | None,
    plots: Path | None,
    fit: str | None,
    constants: str | None,
) -> None:
    """Compare, or fit to, one run of `vllm bench serve`."""
    from simulator.config.loader import load_experiment
    from simulator.studies.validation.bench import as_point, predict_bench, read_bench
    from simulator.studies.validation.study import Validation

    if experiment is None:
        raise click.UsageError("a vllm bench result needs --experiment, the pool it ran on")
    if any(option is not None for option in for_points):
        raise click.UsageError("--histograms, --only and --workers go with a points file")
    if fit == "power":
        raise click.UsageError("--fit power goes with a points file: a bench run has no power")
    bench, loaded = read_bench(measured), load_experiment(experiment)
    if fit is not None:
        from simulator.studies.validation.fit_host import fit_host_to_bench

        _show_fits([fit_host_to_bench(bench, loaded, **_named(constants))], out)
        return
    metrics = tuple(bench.measured)
    prediction = predict_bench(bench, loaded, metrics)
    _show(
        Validation([as_point(bench, loaded)], [prediction], metrics),
        measured.name,
        out,
        html,
        plots,
    )
    click.echo(prediction.reason)


def _named(constants: str | None) -> dict[str, list[str]]:
    """The `constants` of a fit, if the user named them. Raises UsageError for unknown ones."""
    from simulator.studies.validation.host import CONSTANTS

    if constants is None:
        return {}
    names = [name.strip() for name in constants.split(",") if name.strip()]
    unknown = [name for name in names if name not in CONSTANTS]
    if unknown or not names:
        raise click.UsageError(f"--constants: unknown {unknown}; known: {', '.join(CONSTANTS)}")
    return {"constants": names}


def _show(
    validation: Validation, source: str, out: Path | None, html: Path | None, plots: Path | None
) -> None:
    from simulator.studies.validation.study import write_report
    from simulator.studies.validation.tables import status_line, summary_tables

    if out is not None:
        write_report(validation, out)
    if html is not None or plots is not None:
        _write_pictures(validation, html, plots, source)
    _print(summary_tables(validation))
    click.echo(status_line(validation))


def _show_fits(fits: Sequence[HostFit | PowerFit], out: Path | None) -> None:
    from simulator.studies.validation.fit_power import PowerFit
    from simulator.studies.validation.tables import fit_tables, power_fit_tables

    for fit in fits:
        _print(power_fit_tables(fit) if isinstance(fit, PowerFit) else fit_tables(fit))
        click.echo(fit.snippet())
    if out is not None:
        out.write_text(fits[-1].profile_yaml(), encoding="utf-8")


def _write_pictures(
    validation: Validation, html: Path | None, plots: Path | None, source: str
) -> None:
    from simulator.studies.validation.errors import error_table
    from simulator.studies.validation.html import render_validation_html
    from simulator.studies.validation.scatter import render_scatters

    images = render_scatters(error_table(validation))
    if plots is not None:
        plots.mkdir(parents=True, exist_ok=True)
        for name, image in images.items():
            (plots / f"{name}.png").write_bytes(image)
    if html is not None:
        html.write_text(render_validation_html(validation, images, source), encoding="utf-8")


def _print(tables: list[TextTable]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else WIDTH_WITHOUT_TERMINAL)
    for table in tables:
        console.print(Text(table.title, style="bold"))  # a table's own title wraps at its width
        shown = Table(box=box.SIMPLE_HEAD)
        for place, head in enumerate(table.heads):
            words = place < table.names
            shown.add_column(head, justify="left" if words else "right", overflow="fold")
        for row in table.rows:
            shown.add_row(*row)
        console.print(shown)


@contextmanager
def _progress(shown: bool) -> Iterator[Callable[[int, int], None] | None]:
    """A progress bar on stderr, fed with (rows done, rows in all)."""
    if not shown:
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), auto_refresh=False, transient=True) as bar:
        task = bar.add_task("rows", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total, refresh=True)
