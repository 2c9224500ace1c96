"""What replicas did in stretches of time, and how much of a quantity that took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from simulator.cluster.outcome import Outcome
from simulator.cost.terms import FloatArray, Terms
from simulator.metrics.prefill import mean_terms

_STRETCHES = 200
_COUNTERS = ("iterations", "output_tokens", "prefill_tokens", "context_tokens_read")


# Where nothing is known of prompts but their tokens: each token is one of context too.
_PLAIN_TERMS = np.array([0.0, 1.0, 1.0, 0.0, 0.0, 0.0])


@dataclass(frozen=True)
class Activity:
    """What replicas did, all together, in `seconds`; numbers, or arrays of one entry a stretch.

    `context_tokens_read`: tokens of KV cache that attention read in each layer, summed over
    requests and iterations. `window_tokens`: the model's sliding window, 0 if it has none.

    `prompt_terms` [6] says what a prefilled token stands for: the prefill terms of the cost model,
    per prompt token (`simulator.metrics.prefill.mean_terms`), and `prompts` how many prompts end
    with it. Left out, prompts are known by their number of tokens alone: their context counts among
    that of decodes, and so do their first tokens.
    """

    seconds: float | FloatArray
    iterations: float | FloatArray
    output_tokens: float | FloatArray
    prefill_tokens: float | FloatArray
    context_tokens_read: float | FloatArray
    window_tokens: int = 0
    prompt_terms: FloatArray | None = None
    prompts: float = 0.0


def amount(quantity: Terms, activity: Activity) -> FloatArray:
    """How much of a quantity (bytes, operations, seconds) all iterations of each stretch took.

    It is taken at the mean iteration of each stretch or, with `prompt_terms`, at the mean of those
    with prompt chunks and of those without, the chunks being thrown into iterations at random:
    exact where it is affine in tokens, requests and context, close where it is not (experts,
    windows, CUDA graphs). 0 where nothing ran.
    """
    iterations = np.asarray(activity.iterations, np.float64)
    output, prefill = np.asarray(activity.output_tokens), np.asarray(activity.prefill_tokens)
    context = np.asarray(activity.context_tokens_read)
    each = 1.0 / np.where(iterations > 0, iterations, 1.0)
    decodes = np.maximum(output - activity.prompts * prefill, 0.0) * each
    if activity.prompt_terms is None:
        terms, mixed = _PLAIN_TERMS, iterations
    else:
        terms = activity.prompt_terms
        context = np.maximum(context - terms[2] * prefill, 0.0)
        mixed = iterations * -np.expm1(-terms[0] * prefill * each)
        room = np.maximum(len(quantity.token) - 1.0 - decodes, 1.0)  # of an iteration, for chunks
        mixed = np.minimum(np.maximum(mixed, prefill / room), iterations)
    context = context * each
    inside = np.minimum(context, decodes * activity.window_tokens)
    alike = (
        _at(quantity.decode, decodes)
        + _at(quantity.context, decodes) * context
        + _at(quantity.window, decodes) * inside
    )

    def batch(chunk_tokens: FloatArray) -> FloatArray:
        tokens, requests = decodes + chunk_tokens, decodes + terms[0] * chunk_tokens
        return _at(quantity.token, tokens) + _at(quantity.request, requests)

    chunk_tokens = prefill / np.where(mixed > 0, mixed, 1.0)
    total = iterations * alike + float(quantity.prefill @ terms) * prefill
    total += mixed * batch(chunk_tokens) + (iterations - mixed) * batch(np.zeros_like(decodes))
    return np.asarray(np.where(iterations > 0, total, 0.0))


def pool_activity(
    outcome: Outcome,
    pool: int,
    window_s: tuple[float, float],
    *,
    window_tokens: int,
    chunk_tokens: int,
) -> Activity:
    """What each replica of a pool did in each of 200 stretches of the window, [replicas, 200].

    What a prefilled token stands for comes from the requests that got their first token in the
    window (if none did, in the run), as if their prompts had been computed `chunk_tokens` at a
    time. `window_tokens`: the model's sliding window, 0 if it has none.
    """
    own = np.flatnonzero(outcome.pool_id == pool)
    requests = outcome.requests[np.isin(outcome.requests["replica"], own)]
    first_s = requests["first_token_s"]
    inside = (first_s >= window_s[0]) & (first_s < window_s[1])
    requests = requests[inside if inside.any() else ~np.isnan(first_s)]
    prompt, cached = requests["prompt_tokens"], requests["cached_tokens"]
    computed = int((prompt - cached).sum())
    done = stretches(
        [outcome.samples[replica] for replica in own],
        outcome.marks[own],
        outcome.states[own],
        window_s,
        outcome.end_s,
        _STRETCHES,
    )
    return replace(
        done,
        window_tokens=window_tokens,
        prompt_terms=mean_terms(prompt, cached, chunk_tokens, window_tokens),
        prompts=len(prompt) / computed if computed else 0.0,
    )


def stretches(
    samples: Sequence[np.ndarray],
    marks: np.ndarray,
    states: np.ndarray,
    window_s: tuple[float, float],
    end_s: float,
    count: int,
) -> Activity:
    """What each replica did in `count` equal stretches of the window: arrays [replicas, count].

    `samples`: one SAMPLE array a replica; `marks`: SAMPLE[replicas, marks], of the window's edges;
    `states`: STATE[replicas] when the run ended, at `end_s`. Counters between two samples are
    interpolated, so that the stretches add up to what happened between the window's edges.
    """
    edges = np.linspace(*window_s, count + 1)
    done = {name: np.zeros((len(samples), count)) for name in _COUNTERS}
    for replica, taken in enumerate(samples):
        times = np.concatenate((taken["t_s"], marks[replica]["t_s"], [end_s]))
        order = np.argsort(times, kind="stable")
        for name in _COUNTERS:
            counts = np.concatenate((taken[name], marks[replica][name], [states[replica][name]]))
            done[name][replica] = np.diff(np.interp(edges, times[order], counts[order]))
    seconds = np.broadcast_to(np.diff(edges), (len(samples), count))
    return Activity(
        seconds=np.asarray(seconds),
        iterations=done["iterations"],
        output_tokens=done["output_tokens"],
        prefill_tokens=done["prefill_tokens"],
        context_tokens_read=done["context_tokens_read"],
    )


def _at(table: FloatArray, count: FloatArray) -> FloatArray:
    return np.asarray(np.interp(count, np.arange(len(table)), table))
