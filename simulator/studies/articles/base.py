"""What a study of a claim gives: rows of what an article says, what comes out here, and why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["reproduced", "direction only", "not reproduced", "article wrong", "fitted"]
"""`fitted`: the figure went into a model, so that it comes out again says nothing."""

NEW_AXIS = "Inference-time compute: two-axis scaling"
FULL_ARC = "Inference-time compute: from chain of thought to serving"
OVERVIEW = "What inference-time scaling benefits emerge from reasoning before each prediction?"
"""The three articles whose figures are looked at; the first two by subject, as they came without
a title."""

CLOSE = 0.1
CLOSE_POINTS = 0.03


@dataclass(frozen=True)
class Row:
    """One figure of an article beside ours; `note`: the assumption that explains a difference."""

    claim: str
    article: str
    ours: str
    verdict: Verdict
    note: str = ""


@dataclass(frozen=True)
class Study:
    """One table or claim. `simulates`: its rows take whole runs, not arithmetic alone."""

    name: str
    title: str
    article: str
    run: Callable[[], list[Row]]
    simulates: bool = False


def close(ours: float, article: float, share: float = CLOSE) -> bool:
    """Whether a figure is within `share` of the article's."""
    return abs(ours - article) <= share * abs(article)


def close_points(ours: float, article: float, points: float = CLOSE_POINTS) -> bool:
    """Whether an accuracy in [0, 1] is within so many (0.03: three percentage points)."""
    return abs(ours - article) <= points


def graded(reproduced: bool, direction: bool = True) -> Verdict:
    """The verdict on a figure that is close or not, and an effect that has the same sign or not."""
    if reproduced:
        return "reproduced"
    return "direction only" if direction else "not reproduced"


def percent(share: float, digits: int = 1) -> str:
    """A share of 1 in words: 0.6826 -> 68.3 %."""
    return f"{100 * share:.{digits}f} %"


def times(ratio: float) -> str:
    """A ratio in words, of two or three digits."""
    return f"{ratio:.2g}x" if ratio < 10 else f"{ratio:,.0f}x"
