"""What every run must keep: requests, tokens, KV cache and budgets, each counted once more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from simulator.conformance.serving import Run
from simulator.engine.request import COMPLETED
from simulator.engine.spans import ABSOLUTE_TOLERANCE_S, RELATIVE_TOLERANCE

_TIMES = ("arrival_s", "first_scheduled_s", "first_token_s", "finish_s")


def unserved(run: Run) -> Iterator[str]:
    """No starvation: finite load is served to its end, and nothing is raised meanwhile."""
    if run.error is not None:
        yield f"{type(run.error).__name__}: {run.error}"
        return
    left = np.flatnonzero(run.requests["status"] != COMPLETED)
    if len(left):
        count, limit = len(run.case), run.case.limit_s
        yield (
            f"{len(left)} of {count} requests are not served by t = {limit:.0f} s, "
            f"request {left[0]} among them"
        )


def lost(run: Run) -> Iterator[str]:
    """Conservation: each request has the tokens it wanted, computed once plus what was lost."""
    case, table = run.case, run.requests
    for column in ("arrival_s", "prompt_tokens", "thinking_tokens", "output_tokens", "max_tokens"):
        if (table[column] != getattr(case, column)).any():
            yield f"{column} of requests has been changed"
    total = int(run.state["output_tokens"])
    if total != case.output_tokens.sum():
        yield f"{total} output tokens were counted, of {case.output_tokens.sum()}"
    finished = Counter(i for step in run.steps for i in step.finished)
    computed: Counter[int] = Counter()
    for step in run.steps:
        computed.update(dict(step.scheduled))
    for i in range(len(case)):
        got, wanted = int(table["generated_tokens"][i]), int(case.output_tokens[i])
        if got != wanted:
            yield f"request {i} got {got} output tokens of {wanted}"
        if finished[i] != 1:
            yield f"request {i} finished {finished[i]} times"
        once = int(case.prompt_tokens[i]) + wanted - 1
        again = int(table["recomputed_tokens"][i])
        # Async, a stop token is known one iteration late, and nothing is computed again if the last
        # token was in flight.
        ahead = case.config.async_scheduling
        if not once + (0 if ahead else again) <= computed[i] <= once + again + ahead:
            yield (
                f"{computed[i]} tokens of request {i} were computed: {once} have to be, "
                f"and {again} were lost"
            )
        times = [(float(table[name][i]), name) for name in _TIMES]
        if times != sorted(times, key=lambda time: time[0]):
            yield f"request {i} has times in disorder: {times}"


def leaked(run: Run) -> Iterator[str]:
    """The KV cache: never more than there is, and all of it free at the end."""
    config, state = run.case.config, run.state
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
