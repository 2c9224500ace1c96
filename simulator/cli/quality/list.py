"""`ponder quality list`: the calibrated presets."""

from __future__ import annotations

import click

HEADINGS = {
    "preset": "preset",
    "accuracy": "accuracy\n%",
    "reference_tokens": "at thinking\ntokens",
    "ceiling": "ceiling\n%",
    "half_tokens": "half-way\ntokens",
    "rho": "rho",
    "dominant_share": "dominant\nshare",
    "identified": "identified",
    "rmse_points": "RMSE\n%-points",
}


@click.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def command(as_json: bool) -> None:
    """List the quality presets that an experiment can name.

    "Accuracy" is that at the length the model chooses itself or, of a model that was made to think
    for so long, at the longest length measured. A curve is "identified" if it follows from measured
    points of that model; the others go through one point and borrow their shape.
    """
    from simulator.cli.catalogue import show
    from simulator.quality.presets import presets

    rows = []
    for preset in presets().values():
        for name, each in preset.benchmarks.items():
            model = each.build()
            longest = each.measured_tokens[1] if each.measured_tokens else 0.0
            at = each.reference_tokens or longest
            rows.append(
                {
                    "preset": f"{preset.name}/{name}",
                    "model": preset.model,
                    "accuracy": round(100 * float(model.accuracy(at)), 1),
                    "reference_tokens": round(at) or None,
                    "ceiling": round(100 * model.curve.ceiling, 1),
                    "half_tokens": None if each.curve is None else round(model.curve.half_tokens),
                    "rho": each.rho,
                    "dominant_share": each.dominant_share,
                    "identified": each.identified,
                    "points": each.points,
                    "rmse_points": each.rmse_points,
                }
            )
    show(rows, HEADINGS, as_json)
