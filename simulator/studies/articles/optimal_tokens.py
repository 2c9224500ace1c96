"""How many thinking tokens pay, by difficulty: the optimum of value times accuracy less price."""

from __future__ import annotations

from simulator.quality import AccuracyCurve, QualityModel, optimal_tokens
from simulator.quality.presets import find_preset
from simulator.studies.articles.base import NEW_AXIS, Row, Study, graded

USD_PER_TOKEN = 10e-6
LEVELS = (
    ("trivial", "", 0.001, (0, 0)),
    ("easy", "r1-distill-ghosal/gsm8k", 0.01, (100, 500)),
    ("medium", "r1-distill-llama-70b/math500", 0.05, (500, 2_000)),
    ("hard", "r1-distill-llama-70b/aime24", 0.5, (2_000, 10_000)),
    ("very hard", "r1-distill-llama-70b/aime25-i", 2.0, (10_000, 50_000)),
)
"""Level, quality preset that stands for it, value of a right answer (US dollars), the article's
tokens. A trivial question is one that thinking changes nothing about."""

ONE_VALUE_USD = 0.5
QUANTILES = (0.1, 0.5, 0.9, 0.97)


def level_model(preset: str) -> QualityModel:
    """The quality model of a level."""
    return find_preset(preset).build() if preset else QualityModel(AccuracyCurve.flat(0.99))


def best_tokens(preset: str, value_usd: float) -> float:
    """Thinking tokens that pay best on average over the level's problems."""
    return float(optimal_tokens(level_model(preset), value_usd, USD_PER_TOKEN))


def by_quantile(preset: str, value_usd: float) -> list[float]:
    """The same for single problems of the level, at `QUANTILES` of difficulty."""
    model = level_model(preset)
    return [float(optimal_tokens(model, value_usd, USD_PER_TOKEN, difficulty=u)) for u in QUANTILES]


def _rows() -> list[Row]:
    rows = []
    for level, preset, value, (low, high) in LEVELS:
        best, same = best_tokens(preset, value), best_tokens(preset, ONE_VALUE_USD)
        rows.append(
            Row(
                f"optimal thinking tokens, {level}",
                f"{low:,}-{high:,}" if high else "0",
                f"{same:,.0f}",
                graded(low <= same <= high, low <= best <= high),
                f"{preset or 'flat accuracy'}; a right answer worth ${ONE_VALUE_USD:g} on every"
                f" level, $10 per million tokens. Worth ${value:g}: {best:,.0f}",
            )
        )
    preset, value = LEVELS[2][1], 0.1
    found = by_quantile(preset, value)
    rows.append(
        Row(
            "the harder the problem, the more tokens pay",
            "yes",
            ", ".join(f"{tokens:,.0f}" for tokens in found),
            "direction only"
            if sorted(found[:-1]) == found[:-1] and found[-1] == 0
            else "reproduced",
            f"problems at difficulty quantiles {', '.join(map(str, QUANTILES))} of {preset}, worth"
            f" ${value:g} each: on a hopeless problem nothing pays",
        )
    )
    return rows


STUDY = Study("optimal_tokens", "Optimal thinking by difficulty", NEW_AXIS, _rows)
