"""Forced to think on, a model gets worse: the decline term of the quality model."""

from __future__ import annotations

from simulator.quality.presets import find_preset
from simulator.studies.articles.base import OVERVIEW, Row, Study, close_points, percent

PRESET = "r1-distill-ghosal/gsm8k"
MEASURED = ((1_100, 0.873), (16_000, 0.703))


def _rows() -> list[Row]:
    model = find_preset(PRESET).build()
    rows = []
    for tokens, said in MEASURED:
        found = float(model.accuracy(tokens, forced=True))
        natural = float(model.accuracy(tokens))
        rows.append(
            Row(
                f"accuracy when made to think {tokens:,} tokens",
                percent(said),
                percent(found),
                "fitted" if close_points(found, said, 0.005) else "not reproduced",
                f"preset {PRESET}, solved from these points; thinking as long by itself it would"
                f" have {percent(natural)}",
            )
        )
    return rows


STUDY = Study("overthinking", "Overthinking", OVERVIEW, _rows)
