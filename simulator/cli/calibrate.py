"""`ponder calibrate`: fit a GPU profile to measured kernels."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path

import click

from simulator.errors import InputError

HEADINGS = {
    "table": "kernel table",
    "shape_class": "shapes",
    "n": "points",
    "mape": "MAPE %",
    "p95": "p95 %",
    "bias": "bias %",
}


@click.command("calibrate")
@click.argument("gpu", required=False)
@click.option(
    "--from",
    "measurements",
    type=click.Path(dir_okay=False),
    help="Your own measurements: a CSV of `python -m hardware_profiles.measure`.",
)
@click.option(
    "--base",
    metavar="GPU",
    help="With --from: whose data sheet, and kernels where nothing was measured.",
)
@click.option(
    "--check",
    is_flag=True,
    help="With --from: fit nothing, say how far the profile --base is from the measurements.",
)
@click.option("--name", help="With --from: the profile's name (else that of the file).")
@click.option(
    "--tables",
    type=click.Path(),
    help="A wheel of aisimulate or aiconfigurator-core, or a folder it was unpacked to, instead"
    " of the installed package.",
)
@click.option("--op", "ops", multiple=True, help="Only this operation; may be repeated.")
@click.option("--out", type=click.Path(dir_okay=False), help="Write the profile (YAML) there.")
@click.option("--plot", type=click.Path(dir_okay=False), help="Write a plot of the residuals.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def command(
    gpu: str | None,
    measurements: str | None,
    base: str | None,
    check: bool,
    name: str | None,
    tables: str | None,
    ops: tuple[str, ...],
    out: str | None,
    plot: str | None,
    as_json: bool,
) -> None:
    """Fit the kernel tables of a profile and print how far they are from the measurements.

    GPU is one that `ponder gpus` lists; its public tables come with pip install
    'ponder[calibrate]' or as --tables. For a GPU of your own, measure it and give --from and
    --base.
    """
    # The fits solve many small systems, where threads are in each other's way: ten times slower.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from hardware_profiles import calibrate
    from hardware_profiles.calibration.residuals import plot_all, residuals_of
    from hardware_profiles.calibration.tables import find_tables
    from hardware_profiles.profile import load_gpu
    from simulator.cli.catalogue import show

    if (gpu is None) == (measurements is None):
        raise InputError("give either a GPU, or --from CSV with --base GPU")
    if measurements is not None:
        if base is None:
            raise InputError("--from needs --base: the GPU whose data sheet to use")
        if tables is not None:
            raise InputError("--tables goes with a GPU, not with --from")
        if check and (out or name):
            raise InputError("--check fits nothing: --out and --name do not go with it")
        if check:
            entries = calibrate.check_csv(measurements, base, ops)
            result = calibrate.Calibration(entries, "", [])
        else:
            result = calibrate.calibrate_csv(measurements, base, name or "", ops)
    else:
        if base is not None or name is not None or check:
            raise InputError("--base, --name and --check go with --from")
        known = load_gpu(str(gpu)).name
        if known in calibrate.BORROWED:
            lenders = " and ".join(calibrate.BORROWED[known])
            click.echo(
                f"{known} has no public tables: its kernels are those of {lenders}", err=True
            )
            result = calibrate.borrow_kernels(known)
        else:
            result = calibrate.calibrate_gpu(known, find_tables(known, tables), ops)
    rows = [
        asdict(residual)
        | {key: round(100 * getattr(residual, key), 2) for key in ("mape", "p95", "bias")}
        for residual in residuals_of(result.entries)
    ]
    show(rows, HEADINGS, as_json)
    if result.kept:
        click.echo(f"not fitted, kept as they are: {', '.join(result.kept)}", err=True)
    if plot and result.entries:
        plot_all(result.entries, plot)
    if out:
        Path(out).write_text(result.text, encoding="utf-8")
        click.echo(f"wrote {out}", err=True)
