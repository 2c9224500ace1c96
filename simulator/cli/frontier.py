"""`ponder frontier`: which ways to spend test-time compute are worth it."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from simulator.cli.interrupts import catch_interrupts


@click.command("frontier")
@click.argument("experiment", type=click.Path(path_type=Path))
@click.option(
    "--vary",
    multiple=True,
    required=True,
    metavar="PATH=[VALUE,...]",
    help="What to try, e.g. --vary 'strategy=[single, {kind: majority_vote, samples: 8}]' or --vary"
    " strategy.samples=[1,2,4,8]. Given twice, all combinations are tried.",
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="PATH=VALUE",
    help="Change one value for all of them. May be given many times.",
)
@click.option("--seed", type=click.IntRange(min=0), help="Seed, instead of the experiment's.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Write frontier.csv and frontier.png there.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def command(
    experiment: Path,
    vary: tuple[str, ...],
    overrides: tuple[str, ...],
    seed: int | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Run EXPERIMENT in several ways, and say which of them are worth it.

    All ways see the same queries, with the same luck, on the same cluster: a vote of eight also
    slows everybody else down. A choice is dominated if another one is at least as good in accuracy,
    cost and p99 time to answer, and better in one of them.
    """
    from simulator.studies.frontier import frontier, table

    catch_interrupts()
    choices = frontier(
        experiment, vary, overrides=overrides, seed=seed, progress=_say if _shown() else None
    )
    rows = table(choices)
    if out is not None:
        import pandas as pd

        from simulator.report.plots.frontier import frontier_png

        out.mkdir(parents=True, exist_ok=True)
        plain = [{**row, "overrides": " ".join(row["overrides"])} for row in rows]
        pd.DataFrame(plain).to_csv(out / "frontier.csv", index=False)
        (out / "frontier.png").write_bytes(frontier_png(choices))
    if as_json:
        import json

        click.echo(json.dumps(rows, indent=2))
        return
    from simulator.cli.catalogue import show
    from simulator.report import units

    shown = [
        {
            "choice": row["label"],
            "accuracy": f"{100 * row['accuracy']:.1f} %",
            "interval": f"{100 * row['accuracy_low']:.1f}-{100 * row['accuracy_high']:.1f}",
            "tokens": f"{row['tokens_per_query']:,.0f}",
            "usd": _per_thousand(row["cost_usd_per_query_at_capacity"]),
            "tta": units.seconds(row["mean_tta_s"]) if row["mean_tta_s"] else "-",
            "p99": units.seconds(row["p99_tta_s"]) if row["p99_tta_s"] else "-",
            "verdict": row["verdict"],
            "dominated": row["dominated_by"] or "",
        }
        for row in rows
    ]
    headings = {
        "choice": "choice",
        "accuracy": "right",
        "interval": "95 %",
        "tokens": "tokens/query",
        "usd": "$/1,000, busy",
        "tta": "mean tta",
        "p99": "p99 tta",
        "verdict": "load",
        "dominated": "dominated by",
    }
    show(shown, headings, as_json=False)
    if out is not None:
        click.echo(f"result: {out}")


def _per_thousand(usd: float | None) -> str:
    return "-" if usd is None else f"${1e3 * usd:,.3g}"


def _shown() -> bool:
    return sys.stderr.isatty()


def _say(done: int, total: int, label: str) -> None:
    click.echo(f"{done + 1} of {total}: {label}", err=True)
