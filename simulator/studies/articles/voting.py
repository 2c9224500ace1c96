"""The majority-vote curve at p = 0.6: the exact binomial, and what votes on real problems do."""

from __future__ import annotations

from simulator.quality import majority
from simulator.quality.presets import find_preset
from simulator.studies.articles.base import FULL_ARC, NEW_AXIS, Row, Study, close_points, percent

P = 0.6
REAL = "r1-distill-qwen-32b/aime24"


def _rows() -> list[Row]:
    five = float(majority(5, P))
    split, strict = float(majority(64, P)), float(majority(64, P, ties="lose"))
    eight = float(majority(8, 0.7))
    eight_strict = float(majority(8, 0.7, ties="lose"))
    real = find_preset(REAL)
    at_64 = float(majority(64, P, real.rho, real.dominant_share))
    return [
        Row(
            "vote of 5, each right with p = 0.6",
            "68 %",
            percent(five),
            "reproduced" if close_points(five, 0.68, 0.005) else "not reproduced",
        ),
        Row(
            "vote of 64, p = 0.6",
            "~99 %",
            f"{percent(strict)} strict, {percent(split)} with ties split",
            "reproduced" if close_points(split, 0.99, 0.01) else "article wrong",
            "exact binomial; 99 % takes 133 votes. On problems that differ as measured"
            f" (rho {real.rho:.2f}) and wrong answers that scatter: {percent(at_64)}",
        ),
        Row(
            "vote of 8, p = 0.7: better than one attempt",
            "yes",
            f"{percent(eight_strict)} strict, {percent(eight)} with ties split",
            "reproduced" if eight_strict > 0.7 else "not reproduced",
        ),
    ]


STUDY = Study("voting", "Majority vote at p = 0.6", f"{FULL_ARC}; {NEW_AXIS}", _rows)
