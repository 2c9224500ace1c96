"""Fits the accuracy curve to measured points, with standard errors, and says what is identified."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import least_squares
from scipy.special import betainc

from simulator.errors import InputError
from simulator.quality.curve import AccuracyCurve

Floats = NDArray[np.float64]

_LOGS = ("half_tokens", "steepness", "decline_tokens")  # fitted by their logarithm
_LEVEL = 0.05  # of the F test that lets a further parameter in


@dataclass(frozen=True)
class FittedCurve:
    """A curve and how well it is known.

    standard_errors: of each fitted parameter; None where the points do not tell it (as many
    parameters as points, or a value at its bound, which `at_bounds` lists). identified: there are
    more points than parameters, and they tell all but perhaps the onset. rmse_points: of the fit,
    in percentage points.
    """

    curve: AccuracyCurve
    standard_errors: dict[str, float | None]
    rmse_points: float
    points: int
    identified: bool
    at_bounds: tuple[str, ...] = field(default=())


def rmse_points(
    curve: AccuracyCurve, tokens: ArrayLike, accuracy: ArrayLike, forced: ArrayLike
) -> float:
    """Root mean square error of `curve` at measured points, in percentage points."""
    miss = curve.accuracy(tokens, forced) - np.asarray(accuracy)
    return 100.0 * float(np.sqrt(np.mean(miss**2)))


def fit_curve(
    tokens: ArrayLike,
    accuracy: ArrayLike,
    forced: ArrayLike,
    attempts: ArrayLike | None = None,
    *,
    floor: float = 0.0,
) -> FittedCurve:
    """The curve of least squares through points float64[n]: thinking tokens, accuracy in [0, 1].

    forced: bool[n], where the model was made to think on. attempts: how many are behind each point;
    points then count by their binomial variance. The floor is given, not fitted.

    Ceiling and half_tokens are fitted to two points, the steepness too from four on. Onset and
    decline (of forced points only) are let in where an F test finds them at the 5 % level; three
    points that fall in the end determine the decline with steepness 1, without a residual.
    Raises InputError with fewer than two lengths.
    """
    t = np.asarray(tokens, dtype=np.float64)
    y = np.asarray(accuracy, dtype=np.float64)
    made = np.broadcast_to(np.asarray(forced, dtype=bool), t.shape)
    if len(np.unique(t)) < 2:
        raise InputError("a curve needs points at two lengths or more; one can only borrow a shape")
    weight = np.ones_like(y) if attempts is None else _weights(y, np.asarray(attempts))
    names = ["ceiling", "half_tokens"] + (["steepness"] if len(t) >= 4 else [])
    problem = _Problem(t, y, made, weight, floor)
    best = problem.solve(names)
    falls = bool(made.any()) and y[np.argmax(t)] < y.max()
    further = (["decline_tokens"] if falls else []) + ["onset_tokens"]
    for name in further:
        wider = problem.solve([*names, name])
        exact = len(t) == 3 and name == "decline_tokens" and len(names) == 2
        if exact or _worth_it(best.cost, wider.cost, len(t) - len(names) - 1):
            best, names = wider, [*names, name]
    curve = problem.curve(names, best.x)
    errors, at_bounds = problem.errors(names, best)
    identified = all(errors[name] is not None for name in names if name != "onset_tokens")
    return FittedCurve(curve, errors, rmse_points(curve, t, y, made), len(t), identified, at_bounds)


def borrow_shape(shape: AccuracyCurve, tokens: float, accuracy: float, at: float) -> AccuracyCurve:
    """A curve through one point (tokens, accuracy), otherwise like `shape`, which stands at `at`.

    The ceiling lies as far above the point, in log odds over the floor, as the ceiling of `shape`
    lies above its value after `at` tokens (its longest measured length); steepness and onset are
    those of `shape`, and half_tokens brings the curve through the point. A single point tells
    neither; that is an assumption, and presets made so say `identified: false`.
    """
    top = 1.0 - shape.floor
    reached = (accuracy - shape.floor) / top
    lent = (float(shape.accuracy(at)) - shape.floor) / top
    lent_ceiling = (shape.ceiling - shape.floor) / top
    if not (0.0 < reached < 1.0 and tokens > shape.onset_tokens):
        raise InputError("one point must lie above the floor, below 1 and beyond the onset")
    odds = _odds(reached) * _odds(min(lent_ceiling, 0.999)) / _odds(lent)
    ceiling = odds / (1.0 + odds)
    rest = ceiling / reached - 1.0  # (t0 / t)^k at the point
    half = (tokens - shape.onset_tokens) * rest ** (1.0 / shape.steepness)
    return AccuracyCurve(
        shape.floor, shape.floor + top * ceiling, half, shape.steepness, shape.onset_tokens
    )


def _odds(part: float) -> float:
    return part / (1.0 - part)


def _weights(accuracy: Floats, attempts: NDArray[np.float64]) -> Floats:
    """One over the standard deviation of each point, scaled to a mean square of one."""
    n = np.asarray(attempts, dtype=np.float64)
    inside = (accuracy * n + 0.5) / (n + 1.0)  # so that 0 of 30 is not certain
    weight = np.sqrt(n / (inside * (1.0 - inside)))
    return np.asarray(weight / np.sqrt(np.mean(weight**2)))


def _worth_it(cost: float, wider_cost: float, freedom: int) -> bool:
    if freedom < 2 or wider_cost <= 0.0:
        return False
    ratio = max(0.0, cost - wider_cost) / (wider_cost / freedom)
    tail = betainc(0.5 * freedom, 0.5, freedom / (freedom + ratio))  # of the F law (1, freedom)
    return float(tail) < _LEVEL


class _Problem:
    """Least squares over the named parameters, in logarithms where that suits them."""

    def __init__(
        self,
        tokens: Floats,
        accuracy: Floats,
        forced: NDArray[np.bool_],
        weight: Floats,
        floor: float,
    ) -> None:
        self.tokens, self.accuracy, self.forced, self.weight = tokens, accuracy, forced, weight
        self.floor = floor
        longest = float(tokens.max())
        useless = tokens[accuracy <= floor]
        onset = float(useless.max()) if len(useless) else 0.999 * float(tokens.min())
        self.bounds = {
            "ceiling": (floor, 1.0),
            "half_tokens": (math.log(1e-3), math.log(1e3 * longest)),
            "steepness": (math.log(0.1), math.log(10.0)),
            "onset_tokens": (0.0, min(onset, 0.999 * longest)),
            "decline_tokens": (math.log(longest / 100), math.log(1e4 * longest)),
        }
        low, high = float(tokens.min()), longest
        self.starts = {
            "ceiling": [
                min(1.0, float(accuracy.max()) + 0.02),
                0.5 * (1.0 + float(accuracy.max())),
            ],
            "half_tokens": [math.log(x) for x in (0.2 * low, low, math.sqrt(low * high), high)],
            "steepness": [math.log(0.7), math.log(1.5)],
            "onset_tokens": [0.05 * onset, 0.9 * onset],
            "decline_tokens": [math.log(2 * longest), math.log(20 * longest)],
        }

    def curve(self, names: list[str], x: Floats) -> AccuracyCurve:
        values = {
            name: math.exp(v) if name in _LOGS else float(v)
            for name, v in zip(names, x, strict=True)
        }
        return AccuracyCurve(floor=self.floor, **({"steepness": 1.0} | values))

    def solve(self, names: list[str]) -> Any:
        low, high = np.array([self.bounds[name] for name in names]).T
        best = None
        for start in itertools.product(*(self.starts[name] for name in names)):
            x = np.clip(start, low + 1e-9 * (high - low), high - 1e-9 * (high - low))
            found = least_squares(  # type: ignore[operator]
                self._miss, x, bounds=(low, high), args=(names,), xtol=1e-12
            )
            if best is None or found.cost < best.cost * (1.0 - 1e-9):
                best = found
        return best

    def _miss(self, x: Floats, names: list[str]) -> Floats:
        curve = self.curve(names, x)
        return self.weight * (curve.accuracy(self.tokens, self.forced) - self.accuracy)

    def errors(
        self, names: list[str], found: Any
    ) -> tuple[dict[str, float | None], tuple[str, ...]]:
        low, high = np.array([self.bounds[name] for name in names]).T
        near = np.minimum(found.x - low, high - found.x) < 1e-3 * (high - low)
        free = np.flatnonzero(~near)
        errors: dict[str, float | None] = dict.fromkeys(names)
        freedom = len(self.tokens) - len(names)
        if freedom > 0 and len(free):
            jacobian = found.jac[:, free]
            normal = jacobian.T @ jacobian
            if np.linalg.cond(normal) < 1e14:
                spread = np.sqrt(np.diag(np.linalg.inv(normal)) * 2.0 * found.cost / freedom)
                for place, error in zip(free, spread, strict=True):
                    scale = math.exp(found.x[place]) if names[place] in _LOGS else 1.0
                    errors[names[place]] = float(scale * error)
        return errors, tuple(name for name, bound in zip(names, near, strict=True) if bound)
