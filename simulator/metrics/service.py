"""Service that clients received: weighted tokens over time.

w_in x prompt + w_out x output tokens, as the Virtual Token Counter counts them (Sheng et al.,
"Fairness in Serving Large Language Models", OSDI 2024, arXiv 2401.00588, with its weights 1 and 2).
A run keeps the times of a request, not of each token, so a prompt is taken to be served evenly from
its first scheduling to its first token, and the output evenly from there to its end.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from simulator.cost.terms import FloatArray

W_IN, W_OUT = 1.0, 2.0


@dataclass(frozen=True)
class Flows:
    """Streams of weighted tokens, each spread evenly from `start_s` to `end_s`; float64[m] each.

    `row`: int64[m], the request it belongs to. Every request that has streams has two, the prompt's
    in the first half, the output's in the second, both halves in order of row.
    """

    row: np.ndarray
    start_s: FloatArray
    end_s: FloatArray
    tokens: FloatArray

    def of(self, rows: np.ndarray) -> Flows:
        """The streams of some requests, given in ascending order."""
        half = len(self.row) // 2
        having = self.row[:half]
        place = np.searchsorted(having, rows)
        place = place[having[np.minimum(place, half - 1)] == rows] if half else place[:0]
        place = np.concatenate((place, place + half))
        return Flows(self.row[place], self.start_s[place], self.end_s[place], self.tokens[place])


def flows(requests: pd.DataFrame, end_s: float) -> Flows:
    """What each request of a table received up to `end_s`, the end of the run."""
    started, first, finish = (
        requests[name].to_numpy(np.float64)
        for name in ("first_scheduled_s", "first_token_s", "finish_s")
    )
    rows = np.flatnonzero(~np.isnan(first))
    finish = np.where(np.isnan(finish), end_s, finish)
    prompt = W_IN * requests["prompt_tokens"].to_numpy(np.float64)
    output = W_OUT * requests["generated_tokens"].to_numpy(np.float64)
    return Flows(
        row=np.concatenate((rows, rows)),
        start_s=np.concatenate((started[rows], first[rows])),
        end_s=np.concatenate((first[rows], finish[rows])),
        tokens=np.concatenate((prompt[rows], output[rows])),
    )


def received(streams: Flows, start_s: float, end_s: float) -> FloatArray:
    """Weighted tokens of each stream between two times, float64[m]; at a moment: at its end."""
    length = streams.end_s - streams.start_s
    spread = length > 0
    overlap = np.minimum(streams.end_s, end_s) - np.maximum(streams.start_s, start_s)
    share = np.divide(np.maximum(overlap, 0.0), length, out=np.zeros(len(length)), where=spread)
    at_once = (streams.end_s >= start_s) & (streams.end_s < end_s)
    return streams.tokens * np.where(spread, share, at_once)


def cumulative(streams: Flows, times_s: FloatArray) -> FloatArray:
    """Weighted tokens of all streams together up to each of `times_s`, float64 of its length.

    Sum of tokens x (time since its start, less that since its end) / length, by sorted starts and
    ends; a stream without length is a step. O((m + times) log m).
    """
    length = streams.end_s - streams.start_s
    spread = length > 0
    rate = np.divide(streams.tokens, length, out=np.zeros(len(length)), where=spread)
    total = _ramps(streams.start_s, rate, times_s) - _ramps(streams.end_s, rate, times_s)
    steps = streams.end_s[~spread]
    order = np.argsort(steps, kind="stable")
    tokens = np.concatenate(([0.0], np.cumsum(streams.tokens[~spread][order])))
    return np.asarray(total + tokens[np.searchsorted(steps[order], times_s, side="right")])


def _ramps(since_s: FloatArray, rate: FloatArray, times_s: FloatArray) -> FloatArray:
    """Sum of rate x (t - since) over those that have begun, at each time."""
    order = np.argsort(since_s, kind="stable")
    begun = np.searchsorted(since_s[order], times_s, side="right")
    rates = np.concatenate(([0.0], np.cumsum(rate[order])))[begun]
    offsets = np.concatenate(([0.0], np.cumsum((rate * since_s)[order])))[begun]
    return np.asarray(rates * times_s - offsets)
