"""Blindness: what has not happened yet changes no decision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from simulator.conformance.case import Case, Run, first_difference
from simulator.conformance.workload import Ints


def looks_ahead(run: Run, make: Callable[[], Any]) -> str:
    """Serve a case that becomes another one later on; "" if decisions are the same until then.

    The requests that are left when two in five have finished swap what remains of them, the most
    with the least. Guesses of the predictor stay as they were.
    """
    at_s = float(np.quantile(run.requests["finish_s"], 0.4, method="lower"))
    seen = run.case.serve(make(), until_s=at_s).requests["generated_tokens"]
    other = _other_future(run, at_s, seen).serve(make())
    return _differs_before(_seen_s(run, other), run, other)


def expects_arrivals(run: Run, make: Callable[[], Any]) -> str | None:
    """The same, where it is those yet to come that are others: all like the one most is asked of.

    None if all arrive at once.
    """
    arrival_s = run.case.workload.arrival_s
    rows = np.arange(len(arrival_s))
    at_s = arrival_s[len(rows) // 2]
    later = np.flatnonzero(arrival_s > at_s)
    if not len(later):
        return None
    rows[later] = np.argmax(run.case.workload.prompt_tokens)
    other = run.case.with_requests_of(rows).serve(make())
    return _differs_before(arrival_s[later[0]], run, other)


def _differs_before(until_s: float, run: Run, other: Run) -> str:
    """The first decision before a time that differs, "" if none does."""
    if other.error is not None:
        return f"{type(other.error).__name__}: {other.error}"
    before = [step for step in run.steps if step.t_s < until_s]
    decided = first_difference(before, other.steps)
    return decided and f"{decided}, by what nobody can see before {until_s:g} s"


def _other_future(run: Run, at_s: float, seen: Ints) -> Case:
    """The case with other lengths after a time, by which tokens `seen` (int64[n]) have come."""
    work = run.case.workload
    left = np.flatnonzero(run.requests["finish_s"] > at_s)
    remaining = work.output_tokens - seen
    order = left[np.argsort(remaining[left], kind="stable")]
    output = work.output_tokens.copy()
    output[order] = seen[order] + np.maximum(remaining[order[::-1]], 2)
    most = run.case.longest_tokens - work.prompt_tokens
    most = np.where(work.max_tokens > 0, np.minimum(work.max_tokens, most), most)
    output = np.minimum(output, most)
    answer = np.minimum(work.thinking_tokens, output // 2)
    thinks = np.minimum(np.maximum(output - answer, seen + 1), output)
    answered = run.requests["first_answer_s"] <= at_s
    thinking = np.where(answered, work.thinking_tokens, thinks)
    return run.case.with_lengths(thinking, output)


def _seen_s(run: Run, other: Run) -> float:
    """When the first of the differences shows: an end or an end of thinking, in either run."""
    work, changed = run.case.workload, other.case.workload
    longer = np.flatnonzero(work.output_tokens != changed.output_tokens)
    thinks = np.flatnonzero(work.thinking_tokens != changed.thinking_tokens)
    shown = [np.inf]
    for table in (run.requests, other.requests):
        shown += table["finish_s"][longer].tolist()
        shown += table["first_answer_s"][thinks].tolist()
    return float(np.nanmin(shown))
