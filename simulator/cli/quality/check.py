"""`ponder quality check`: what presets say, beside what was measured."""

from __future__ import annotations

import click

VOTES = {
    "preset": "preset",
    "k": "votes",
    "pass_at_1": "pass@1\n%",
    "measured": "measured\n%",
    "ours": "ours\n%",
    "error": "error\n%-points",
    "independent": "independent\n%",
    "independent_error": "error\n%-points",
}
POINTS = {
    "model": "model",
    "benchmark": "benchmark",
    "control": "control",
    "points": "points",
    "preset": "preset",
    "rmse_points": "RMSE\n%-points",
}


@click.command("check")
@click.option(
    "--points",
    type=click.Path(dir_okay=False),
    help="Also compare with a CSV of measured points: model, benchmark, control,"
    " mean_thinking_tokens, accuracy_pct.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def command(points: str | None, as_json: bool) -> None:
    """Compare the presets with the votes measured of their models, and with measured points.

    "Independent" is the vote that articles compute: a strict majority of binomial attempts.
    """
    import json

    from simulator.cli.catalogue import show
    from simulator.quality.reproduction import check_points, check_votes, vote_errors

    votes = check_votes()
    series = check_points(points) if points else []
    errors = vote_errors(votes)
    if as_json:
        click.echo(json.dumps({"votes": votes, "errors": errors, "points": series}, indent=2))
        return
    show(votes, VOTES, False)
    for name, error in errors.items():
        click.echo(
            f"{name}: mean |error| {error['mean']:.1f}, largest {error['largest']:.1f} points;"
            f" independent {error['independent_mean']:.1f} and {error['independent_largest']:.1f}"
        )
    if series:
        show(series, POINTS, False)
