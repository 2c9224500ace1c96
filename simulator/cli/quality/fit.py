"""`ponder quality fit`: a preset from an evaluation of one's own."""

from __future__ import annotations

from pathlib import Path

import click

from simulator.errors import InputError

POOR_RMSE = 2.0  # percentage points; the published series with three points and more are within it


@click.command("fit")
@click.argument("data", type=click.Path(dir_okay=False))
@click.option("--name", default="mine", show_default=True, help="Name of the preset.")
@click.option("--benchmark", default="mine", show_default=True, help="Name of the problem set.")
@click.option(
    "--where",
    "conditions",
    multiple=True,
    metavar="COLUMN=VALUE",
    help="Only rows with this value; may be repeated.",
)
@click.option(
    "--floor",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="Accuracy without thinking, such as 0.25 for four choices.",
)
@click.option(
    "--like",
    default="s1-32b/aime24",
    show_default=True,
    help="Whose shape one single point borrows, and whose rho and dominant share where DATA does"
    " not tell them.",
)
@click.option("--out", type=click.Path(dir_okay=False), help="Write the preset (YAML) there.")
def command(
    data: str,
    name: str,
    benchmark: str,
    conditions: tuple[str, ...],
    floor: float,
    like: str,
    out: str | None,
) -> None:
    """Fit an accuracy curve, and how much problems differ, to DATA, and print the preset.

    DATA is a CSV with a column thinking_tokens, and accuracy (0 to 1; or accuracy_pct), optionally
    with n, the attempts behind it; or correct and total, optionally with problem: rows of one
    length are then the problems of one point, and give rho too. A column control says natural or
    forced.

    An experiment uses the preset by its file: `quality: ./mine.yaml`.
    """
    from simulator.core_yaml import dump_yaml
    from simulator.quality.own_preset import fit_preset

    where = {}
    for condition in conditions:
        column, equals, value = condition.partition("=")
        if not equals:
            raise InputError(f"--where must be COLUMN=VALUE, not {condition!r}")
        where[column.strip()] = value.strip()
    preset = fit_preset(data, name, benchmark, where, floor, like)
    text = dump_yaml(preset)
    fitted = preset["benchmarks"][benchmark]
    error = fitted.get("rmse_points")
    if error is not None and error > POOR_RMSE:
        click.echo(f"the curve misses the points by {error:g} percentage points (RMSE)", err=True)
    if not fitted["identified"]:
        click.echo("the points do not identify the curve: identified is false", err=True)
    if out:
        Path(out).write_text(text, encoding="utf-8")
        click.echo(f"wrote {out}", err=True)
    else:
        click.echo(text, nl=False)
