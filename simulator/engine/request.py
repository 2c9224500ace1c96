"""The table of requests: one record a request, read and written in place by the kernels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

# What the prefix cache keeps of a request (`simulator.engine.prefix_cache`).
HOLDER_FIELDS = [
    ("path", "i8"),  # its nodes, of all paths: the first, and how many
    ("path_nodes", "i4"),
    ("path_place", "i4"),  # the node, from the first, in which its registered blocks end
    ("shared_blocks", "i4"),  # blocks, from the first, that other requests may have too
    ("registered_blocks", "i4"),  # blocks it holds, from the first, that carry a hash
    ("hold", "i4"),  # the deepest of its holds
]

NEW, WAITING, RUNNING, COMPLETED, REJECTED, CANCELLED = range(6)
STATUS_NAMES = ("unfinished", "unfinished", "unfinished", "completed", "rejected", "cancelled")

# What a waiting request keeps of its KV cache.
NOTHING, ON_GPU, IN_HOST = range(3)

NEVER = 2**62  # an iteration that never comes
NONE = -1  # no request, no replica

REQUEST = np.dtype(
    [
        # What the workload says. A policy never sees output_tokens.
        ("arrival_s", "f8"),
        ("prompt_tokens", "i8"),
        ("thinking_tokens", "i8"),
        ("output_tokens", "i8"),  # thinking + answer, were nothing to cut it short
        ("max_tokens", "i8"),  # the client's cap on output tokens; 0 = none
        # What happened.
        ("first_scheduled_s", "f8"),
        ("first_token_s", "f8"),
        ("first_answer_s", "f8"),
        ("finish_s", "f8"),
        ("lost_prefill_s", "f8"),  # seconds lost to preemption, by the phase they fell in
        ("lost_thinking_s", "f8"),
        ("lost_answer_s", "f8"),
        ("generated_tokens", "i8"),  # stale while the request decodes: see `offset`
        ("preemptions", "i8"),
        ("recomputed_tokens", "i8"),
        ("replica", "i4"),
        ("class_id", "i4"),
        ("status", "i1"),
        ("measured", "i1"),
        # Where the engine has it. A decoding request is described by iteration numbers, so that
        # nobody touches it while the batch runs: computed tokens = iteration + offset.
        ("decoding", "i1"),
        ("stalled", "i1"),  # decoding, but the last iteration had no budget for it
        ("ending", "i1"),  # its last token, foreseen by count, is in flight: scheduled no more
        ("dead_tokens", "i1"),  # tokens scheduled in vain until its end is known (async)
        ("below", "i1"),  # decoding, with less context than the sliding window
        ("cancelled", "i1"),  # a cancel waits for the next iteration boundary
        ("target_tokens", "i8"),  # output tokens at which it ends
        ("computed_tokens", "i8"),  # stale while decoding
        ("offset", "i8"),
        ("dropped_tokens", "i8"),  # of its KV, by compression
        ("limit_n", "i8"),  # iteration count at which it is scheduled no more
        ("answer_n", "i8"),  # ... at which the first answer token is out, or NEVER
        ("review_n", "i8"),  # ... at which its scheduler is asked about it (`review_tokens`)
        ("last_token_s", "f8"),  # kept only while stalled or preempted
        ("lost_since_s", "f8"),  # start of the open interval lost to preemption, or NaN
        ("evicted_n", "i8"),  # iterations decided when it last lost its seat
        ("next", "i8"),  # neighbours in the waiting queue
        ("previous", "i8"),
        # What its scheduler said of it.
        ("rank", "f8"),
        ("review_tokens", "i8"),  # output tokens at which the scheduler is asked again, or NEVER
        ("review_s", "f8"),  # time at which it is asked again, or infinite
        ("reserve_tokens", "i8"),  # KV an admission must find room for, besides that of others
        ("queued_since_s", "f8"),
        ("reported_tokens", "i8"),  # output tokens that it has been told of
        ("heap_child", "i8"),  # the heap of waiting requests, where ranks order them
        ("heap_next", "i8"),
        ("heap_previous", "i8"),
        # Where its KV is while it waits: nowhere, on the GPU, or in host memory.
        ("keeps", "i1"),
        *HOLDER_FIELDS,
        ("cached_tokens", "i8"),  # found in the prefix cache at its first admission
        ("lost_tokens", "i8"),  # KV that it had when it last lost all of it
    ],
    align=True,
)

_UNSET_TIMES = ("first_scheduled_s", "first_token_s", "first_answer_s", "finish_s")


def new_requests(
    arrival_s: npt.ArrayLike,
    prompt_tokens: npt.ArrayLike,
    output_tokens: npt.ArrayLike,
    thinking_tokens: npt.ArrayLike = 0,
    max_tokens: npt.ArrayLike = 0,
    class_id: npt.ArrayLike = 0,
    measured: npt.ArrayLike = True,
) -> np.ndarray:
    """A `REQUEST` array of requests nobody has served yet; scalars are broadcast to `arrival_s`.

    Times in seconds, lengths in tokens; `output_tokens` counts thinking and answer together.
    """
    arrival = np.asarray(arrival_s, dtype=np.float64)
    table = np.zeros(arrival.shape, dtype=REQUEST)
    table["arrival_s"] = arrival
    table["prompt_tokens"] = prompt_tokens
    table["output_tokens"] = output_tokens
    table["thinking_tokens"] = thinking_tokens
    table["max_tokens"] = max_tokens
    table["class_id"] = class_id
    table["measured"] = measured
    table["replica"] = NONE
    table["next"] = NONE
    table["previous"] = NONE
    table["evicted_n"] = NONE
    table["review_tokens"] = NEVER
    table["review_s"] = np.inf
    for field in (*_UNSET_TIMES, "lost_since_s", "last_token_s"):
        table[field] = np.nan
    return table
