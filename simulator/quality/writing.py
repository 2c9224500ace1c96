"""Fitted curves as the plain data of a preset, rounded to what the figures are worth."""

from __future__ import annotations

import math
from typing import Any

from simulator.quality.curve import AccuracyCurve
from simulator.quality.evaluation import Evaluation
from simulator.quality.fit import fit_curve, rmse_points

DIGITS = 4


def rounded(value: float, digits: int = DIGITS) -> float:
    """`value` to so many significant digits."""
    return float(f"{value:.{digits}g}")


def curve_data(curve: AccuracyCurve) -> dict[str, float]:
    """The parameters of a curve that are not left to their defaults, rounded."""
    data = {
        "floor": rounded(curve.floor),
        "ceiling": rounded(curve.ceiling),
        "half_tokens": rounded(curve.half_tokens),
        "steepness": rounded(curve.steepness),
    }
    if curve.onset_tokens > 0.0:
        data["onset_tokens"] = rounded(curve.onset_tokens)
    if curve.decline_tokens < math.inf:
        data["decline_tokens"] = rounded(curve.decline_tokens)
        data["decline_steepness"] = rounded(curve.decline_steepness)
    return data


def as_benchmark(points: Evaluation, floor: float, source: str) -> dict[str, Any]:
    """A `BenchmarkPreset` as plain data, but for rho and dominant_share, fitted to `points`.

    The error given is that of the rounded parameters. Raises InputError as `fit_curve` does.
    """
    fit = fit_curve(points.tokens, points.accuracy, points.forced, points.attempts, floor=floor)
    data = curve_data(fit.curve)
    curve = AccuracyCurve(**data)
    error = rmse_points(curve, points.tokens, points.accuracy, points.forced)
    known = {
        name: None if spread is None else rounded(spread, 2)
        for name, spread in fit.standard_errors.items()
    }
    return {
        "curve": data,
        "identified": fit.identified,
        "control": "forced" if points.forced.all() else "natural",
        "points": fit.points,
        "measured_tokens": [float(points.tokens.min()), float(points.tokens.max())],
        "rmse_points": rounded(error, 2),
        "standard_errors": known,
        "sources": {"curve": source},
    }
