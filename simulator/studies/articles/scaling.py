"""Log-linear gains that shrink: accuracy on MATH-500 against the thinking budget."""

from __future__ import annotations

from simulator.quality.presets import find_preset
from simulator.studies.articles.base import FULL_ARC, Row, Study, close_points, graded, percent

PRESET = "deepseek-r1/math500"
JUMPS = ((256, 4_096, 0.21), (16_384, 262_144, 0.04))
RANGE = (0.50, 0.83)


def gains(preset: str) -> list[float]:
    """Gain in accuracy over each of `JUMPS`."""
    model = find_preset(preset).build()
    return [float(model.accuracy(more) - model.accuracy(less)) for less, more, _ in JUMPS]


def _rows() -> list[Row]:
    found = gains(PRESET)
    ordered = found[0] > 4 * found[1]
    note = (
        f"{PRESET}, thinking cut at the budget; a curve of s1-32B, borrowed. The article does not"
        " name its model"
    )
    rows = [
        Row(
            f"gain on MATH-500 from {less:,} to {more:,} thinking tokens",
            f"+{100 * said:.0f} points",
            f"+{100 * gain:.1f} points",
            graded(close_points(gain, said), ordered),
            note,
        )
        for (less, more, said), gain in zip(JUMPS, found, strict=True)
    ]
    o1 = find_preset("o1/aime24").build()
    low, high = (float(o1.accuracy(tokens)) for tokens in (2_500, 20_000))
    rows.append(
        Row(
            "o1 on AIME 2024, little thinking to much",
            " to ".join(percent(value, 0) for value in RANGE),
            f"{percent(low, 0)} to {percent(high, 0)}",
            graded(close_points(low, RANGE[0]) and close_points(high, RANGE[1]), high > low),
            "preset o1/aime24 at 2,500 and 20,000 tokens; the article gives no token counts",
        )
    )
    return rows


STUDY = Study("scaling", "Accuracy against thinking", FULL_ARC, _rows)
