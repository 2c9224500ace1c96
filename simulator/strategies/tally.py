"""Counting votes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from simulator.quality import NOBODY
from simulator.strategies.query import Request


def in_order(requests: Iterable[Request]) -> list[Request]:
    """Those of `requests` that completed, as they finished."""
    done = [request for request in requests if request.completed]
    return sorted(done, key=lambda request: (request.finish_s, request.row))


def votes(requests: Iterable[Request]) -> list[int]:
    """What those of `requests` answer that have an answer, as they finished."""
    return [each.answer for each in in_order(requests) if each.answer != NOBODY]


def most_votes(given: Sequence[int]) -> int:
    """The answer that occurs most; of several the one that came first. `NOBODY` of none."""
    return Counter(given).most_common(1)[0][0] if given else NOBODY


def is_decided(given: Sequence[int], to_come: int) -> bool:
    """Whether so many more votes could not change who has most."""
    ranked = [count for _, count in Counter(given).most_common(2)]
    lead = ranked[0] - (ranked[1] if len(ranked) > 1 else 0) if ranked else 0
    return lead > to_come


def agreement(given: Sequence[int], asked: int) -> float:
    """The share of the answer that occurs most among `asked` attempts; 0 of none."""
    return Counter(given).most_common(1)[0][1] / asked if given else 0.0
