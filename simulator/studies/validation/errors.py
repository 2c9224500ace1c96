"""Errors of a validation, summed up by source, model, GPU and metric, and against the bars."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from simulator.studies.validation.points import Point
from simulator.studies.validation.predict import UNSUPPORTED, Prediction
from simulator.studies.validation.study import Validation, relative_error

# One metric a family, where a table or plot has no room for all.
HEADLINE = (
    "output_tps",
    "ttft_mean_ms",
    "tpot_mean_ms",
    "itl_median_ms",
    "e2el_mean_ms",
    "avg_running",
    "avg_power_w",
)
_KV_LIMITED_SHARE = 0.97  # of max_num_seqs: fewer than that ran because the cache was full

Predicate = Callable[[Point, Prediction], bool]


@dataclass(frozen=True)
class Bar:
    """A claim: the median absolute error of these metrics, over these rows, is at most `most`."""

    name: str
    rows: Predicate
    metrics: tuple[str, ...]
    most: float


def _ml_energy(point: Point) -> bool:
    return point.src.startswith("ml.energy")


def _graded_a(point: Point) -> bool:
    return _ml_energy(point) and point.quality in ("A", "")


def _kv_limited(point: Point, _: Prediction) -> bool:
    if "kv-limited" in point.unclear.lower():
        return True
    running, seats = point.measured.get("avg_running"), point.max_num_seqs
    return running is not None and seats is not None and running < _KV_LIMITED_SHARE * seats


_SPEED = ("itl_median_ms", "output_tps")
BARS = (
    Bar(
        "ml.energy, dense models, H100",
        lambda point, made: _graded_a(point) and made.gpu == "h100-sxm" and not made.mixture,
        _SPEED,
        0.04,
    ),
    Bar(
        "ml.energy, mixture of experts, H100",
        lambda point, made: _graded_a(point) and made.gpu == "h100-sxm" and made.mixture,
        _SPEED,
        0.08,
    ),
    Bar(
        "other vLLM rows, fixed lengths, calibrated GPU",
        lambda point, made: (
            not _ml_energy(point)
            and made.engine == "vllm"
            and made.fixed_lengths
            and made.calibrated
        ),
        _SPEED,
        0.12,
    ),
    Bar(
        "ml.energy, limited by KV cache",
        lambda point, made: _ml_energy(point) and _kv_limited(point, made),
        ("avg_running",),
        0.05,
    ),
    Bar("ml.energy, power", lambda point, _: _ml_energy(point), ("avg_power_w",), 0.15),
)


def error_table(validation: Validation) -> pd.DataFrame:
    """One row per measured value that has a prediction.

    Columns id, src, model, gpu, engine, status, metric, measured, predicted, rel_err, and `bar`:
    the index in `BARS` of the claim the value counts for, -1 for none.
    """
    rows = []
    for point, made in zip(validation.points, validation.predictions, strict=True):
        held = [bar for bar in range(len(BARS)) if made.values and BARS[bar].rows(point, made)]
        for metric, measured in point.measured.items():
            predicted = made.values.get(metric)
            error = relative_error(predicted, measured)
            if error is None:
                continue
            bar = next((index for index in held if metric in BARS[index].metrics), -1)
            facts = (point.id, point.src, made.model, made.gpu, made.engine, made.status)
            rows.append((*facts, metric, measured, predicted, error, bar))
    names = ["id", "src", "model", "gpu", "engine", "status", "metric"]
    return pd.DataFrame(rows, columns=[*names, "measured", "predicted", "rel_err", "bar"])


def summarise_errors(errors: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """n, MAPE, median absolute error and bias (median signed error) of each group of `by`.

    Fractions, not percent; groups in order of their names.
    """
    grouped = errors.assign(absolute=errors["rel_err"].abs()).groupby(by, sort=True)
    summary = grouped.agg(
        n=("absolute", "size"),
        mape=("absolute", "mean"),
        median=("absolute", "median"),
        bias=("rel_err", "median"),
    )
    return summary.reset_index()


@dataclass(frozen=True)
class Verdict:
    """How a metric does against a bar: n values, their median absolute error and their bias.

    Without values the median and bias are None, and so is `met`.
    """

    bar: Bar
    metric: str
    n: int
    median: float | None
    bias: float | None

    @property
    def met(self) -> bool | None:
        """Whether the claim holds."""
        return None if self.median is None else self.median <= self.bar.most


def judge_bars(errors: pd.DataFrame) -> list[Verdict]:
    """Every bar and metric of it, in order; `errors` is that of `error_table`."""
    verdicts = []
    for index, bar in enumerate(BARS):
        for metric in bar.metrics:
            mine = errors[(errors["bar"] == index) & (errors["metric"] == metric)]["rel_err"]
            median = float(mine.abs().median()) if len(mine) else None
            bias = float(mine.median()) if len(mine) else None
            verdicts.append(Verdict(bar, metric, len(mine), median, bias))
    return verdicts


def unsupported_reasons(validation: Validation) -> list[tuple[str, int]]:
    """Why rows were not simulated, and how many for each reason, most frequent first."""
    counts: dict[str, int] = {}
    for made in validation.predictions:
        if made.status == UNSUPPORTED:
            counts[made.reason] = counts.get(made.reason, 0) + 1
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))
