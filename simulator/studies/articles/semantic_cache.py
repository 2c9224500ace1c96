"""What a semantic cache saves, by hit rate, and the answers that false hits cost."""

from __future__ import annotations

from simulator.studies.articles.base import FULL_ARC, Row, Study, percent, times
from simulator.studies.articles.runs import simulated

EQUIVALENTS = (0.3, 0.75)
SAID = (3.0, 5.0)


def with_cache(equivalent: float | None) -> tuple[float, float]:
    """Generated tokens per query, and accuracy, if so many queries have an equivalent cached."""
    strategy = "single"
    if equivalent is not None:
        strategy = f"{{kind: semantic_cache, equivalent: {equivalent}}}"
    result = simulated("semantic_cache", (f"strategy={strategy}",))
    return float(result.queries["generated_tokens"].mean()), float(result.summary["accuracy"])


def _rows() -> list[Row]:
    tokens, accuracy = with_cache(None)
    rows = []
    for equivalent in EQUIVALENTS:
        cached_tokens, cached_accuracy = with_cache(equivalent)
        saving = tokens / cached_tokens
        reached = SAID[0] <= saving <= SAID[1] * 1.1
        rows.append(
            Row(
                f"semantic cache, {100 * equivalent:.0f} % of queries seen before: cost falls by",
                "3-5x",
                times(saving),
                "reproduced" if reached else "direction only" if saving > 1 else "not reproduced",
                "1 / (1 - hit rate): 3-5x takes 67 to 80 % hits; accuracy"
                f" {percent(accuracy)} without cache, {percent(cached_accuracy)} with it",
            )
        )
    return rows


STUDY = Study("semantic_cache", "Semantic cache", FULL_ARC, _rows, simulates=True)
