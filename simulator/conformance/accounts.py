"""What every run must keep: requests, tokens, KV cache and budgets, each counted once more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from simulator.conformance.case import Run
from simulator.conformance.engine_case import EngineCase
from simulator.engine.request import COMPLETED
from simulator.engine.spans import ABSOLUTE_TOLERANCE_S, RELATIVE_TOLERANCE

_GIVEN = ("arrival_s", "prompt_tokens", "thinking_tokens", "output_tokens", "max_tokens")
_TIMES = ("arrival_s", "first_scheduled_s", "first_token_s", "finish_s")


def unserved(run: Run) -> Iterator[str]:
    """No starvation: finite load is served to its end, and nothing is raised meanwhile."""
    if run.error is not None:
        yield f"{type(run.error).__name__}: {run.error}"
        return
    left = np.flatnonzero(run.requests["status"] != COMPLETED)
    if len(left):
        yield (
            f"{len(left)} of {len(run.requests)} requests are not served by "
            f"t = {run.case.limit_s:.0f} s, request {left[0]} among them"
        )


def lost(run: Run) -> Iterator[str]:
    """Conservation: each request gets the tokens it wanted, from one replica, and in order."""
    work, table = run.case.workload, run.requests
    for column in _GIVEN:
        if (table[column] != getattr(work, column)).any():
            yield f"{column} of requests has been changed"
    for i, wanted in enumerate(work.output_tokens.tolist()):
        got = table["generated_tokens"][i]
        if got != wanted:
            yield f"request {i} got {got} output tokens of {wanted}"
        times = [(float(table[name][i]), name) for name in _TIMES]
        if times != sorted(times, key=lambda time: time[0]):
            yield f"request {i} has times in disorder: {times}"
    count = np.bincount(table["replica"], weights=work.output_tokens, minlength=len(run.states))
    for replica in np.flatnonzero(count != run.states["output_tokens"]):
        given = run.states["output_tokens"][replica]
        yield f"replica {replica} gave {given} output tokens, not {count[replica]:.0f}"


def miscounted(run: Run) -> Iterator[str]:
    """Conservation of computed tokens: each of a request once, and once more if it was lost."""
    assert isinstance(run.case, EngineCase)
    work, config = run.case.workload, run.case.config
    finished = Counter(i for step in run.steps for i in step.finished)
    computed: Counter[int] = Counter()
    for step in run.steps:
        computed.update(dict(step.scheduled))
    needed = work.prompt_tokens + work.output_tokens - 1 - run.requests["cached_tokens"]
    for i, once in enumerate(needed.tolist()):
        if finished[i] != 1:
            yield f"request {i} finished {finished[i]} times"
        again = int(run.requests["recomputed_tokens"][i])
        # Async, a stop token is known one iteration late, and nothing is computed again if the last
        # token was in flight. A cache may have more of a request than it had lost.
        inexact = config.async_scheduling or config.enable_prefix_caching
        least = 1 if config.enable_prefix_caching else once if inexact else once + again
        if not least <= computed[i] <= once + again + config.async_scheduling:
            yield (
                f"{computed[i]} tokens of request {i} were computed: {once} have to be, "
                f"and {again} were lost"
            )


def leaked(run: Run) -> Iterator[str]:
    """The KV cache: never more than there is, and all of it free at the end."""
    assert isinstance(run.case, EngineCase)
    config, state = run.case.config, run.states[0]
    for step in run.steps:
        if not 0 <= step.free_blocks <= config.usable_blocks:
            yield f"{step.free_blocks} of {config.usable_blocks} blocks are free at {step.t_s:g} s"
    if state["peak_blocks"] > config.usable_blocks:
        yield f"{state['peak_blocks']} blocks were in use of {config.usable_blocks}"
    at_end = {
        "free_blocks": config.usable_blocks,
        "parked_blocks": 0,
        "reserved_blocks": 0,
        "host_tokens_left": config.host_kv_tokens,
        "num_running": 0,
        "num_waiting": 0,
    }
    for name, expected in at_end.items():
        if state[name] != expected:
            yield f"{name} is {state[name]} when all is served, not {expected}"


def overspent(run: Run) -> Iterator[str]:
    """Budgets: tokens and seats of every iteration, for requests that are there to be served."""
    assert isinstance(run.case, EngineCase)
    config, table = run.case.config, run.requests
    for step in run.steps:
        when = f"the iteration at {step.t_s:g} s"
        tokens = sum(count for _, count in step.scheduled)
        if tokens > config.max_num_batched_tokens:
            yield f"{when} computes {tokens} tokens, not {config.max_num_batched_tokens} at most"
        if step.num_running > config.seat_limit:
            yield f"{step.num_running} requests run in {when}, for {config.seat_limit} seats"
        ids = [i for i, _ in step.scheduled]
        if len(set(ids)) < len(ids) or min(count for _, count in step.scheduled) < 1:
            yield f"{when} computes a request twice, or no token of it: {step.scheduled}"
        latest = step.t_s * (1.0 + RELATIVE_TOLERANCE) + ABSOLUTE_TOLERANCE_S
        for i in ids:
            if table["arrival_s"][i] > latest or table["finish_s"][i] < step.t_s:
                yield f"{when} serves request {i}, which is not there"
