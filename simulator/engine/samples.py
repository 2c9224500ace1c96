"""A replica's counters at one time, as the timeline and the window's edges need them."""

from __future__ import annotations

import numpy as np

SAMPLE = np.dtype(
    [
        ("t_s", "f8"),
        ("running", "i8"),
        ("waiting", "i8"),
        ("kv_used_blocks", "i8"),
        ("output_tokens", "i8"),
        ("prefill_tokens", "i8"),
        ("preemptions", "i8"),
        ("iterations", "i8"),
        ("context_tokens_read", "f8"),
    ],
    align=True,
)

MAX_SAMPLES = 4096
