"""What routing easy queries past the reasoning model saves: arithmetic, errors included."""

from __future__ import annotations

from simulator.studies.articles.base import FULL_ARC, Row, Study, times

MULTIPLIERS = (30, 100)
"""Cost of a reasoning query in standard queries; the article says 50 to 100, here from 30."""


def saving(
    hard_share: float,
    multiplier: float,
    easy_called_hard: float = 0.0,
    hard_called_easy: float = 0.0,
) -> float:
    """Cost of reasoning on everything, over the cost when only what is called hard is reasoned on.

    multiplier: cost of a reasoning query by that of a standard one.
    """
    called_hard = hard_share * (1.0 - hard_called_easy) + (1.0 - hard_share) * easy_called_hard
    return multiplier / (called_hard * multiplier + (1.0 - called_hard))


def _rows() -> list[Row]:
    rows = []
    for hard_share in (0.2, 0.1):
        low, high = (saving(hard_share, multiplier) for multiplier in MULTIPLIERS)
        erring = saving(hard_share, MULTIPLIERS[1], 0.1, 0.1)
        rows.append(
            Row(
                f"{100 * hard_share:.0f} % of the queries to the reasoning model: cost falls by",
                "5-10x",
                f"{times(low)} to {times(high)}",
                "reproduced" if low >= 5 else "article wrong",
                f"1 / (h + (1 - h) / m), m from {MULTIPLIERS[0]} to {MULTIPLIERS[1]}; never more"
                f" than 1 / h = {1 / hard_share:.0f}. A classifier that errs in 10 % of both kinds:"
                f" {times(erring)}",
            )
        )
    return rows


STUDY = Study("routing", "Routing by difficulty, 80/20", FULL_ARC, _rows)
