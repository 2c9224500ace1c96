"""Counter-based randomness: every draw is addressed by (seed, stream, entity, index[, sample]).

No generator is carried around and nothing depends on the order of calls: draw `j` of a stream is
the same number whether 10 or 10 million are asked for, alone or together. Two policies run under
one seed therefore see the same world (common random numbers).

Streams in use: "arrivals", "pauses", "prompt", "thinking", "within_problem", "answer",
"difficulty"; of mixes "class"; of populations "output" and "ratio"; of modulated arrivals
"arrival_states"; of sessions "turns", "steps", "tool_call", "tool_result", "user_pause",
"tool_pause" and "compacted"; of predictors "prediction"; of routers "router_..." and
"difficulty_label"; of quality "correct" (attempts at a query, by sample), "probe", "verifier" and
"problem" (difficulties that the workload does not tell); of strategies "tool_pause", "step" and
"semantic_cache". The entity is the class (or client) the draws belong to; the index counts its
queries, of sessions some their requests, of predictors its requests; routers, and the quality model
and strategies in a run, have no entity and count the rows of the run. In "bootstrap" nothing is
counted. In "calibration" the entity is a part of an iteration and the index counts draws of the
ensemble.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

_ROWS_AT_ONCE = 1 << 18
UNIFORMS_PER_ROW = 4  # one Philox4x64 counter block yields four 64-bit words


def _key(seed: int, stream: str, entity: str) -> int:
    """128-bit Philox key of a stream; lengths are hashed too, so ("ab", "c") is not ("a", "bc")."""
    digest = hashlib.blake2b(digest_size=16, person=b"ponder.rng")
    for part in (str(int(seed)), stream, entity):
        encoded = part.encode()
        digest.update(len(encoded).to_bytes(8, "little") + encoded)
    return int.from_bytes(digest.digest(), "little")


def uniforms(
    seed: int, stream: str, entity: str, count: int, start: int = 0, *, sample: int = 0
) -> NDArray[np.float64]:
    """Independent uniforms of rows `start` to `start + count - 1` of one stream.

    `sample` numbers the attempts at one query (a vote, a retry), each with luck of its own.

    Returns float64[count, 4], each in the open interval (0, 1) and a multiple of 2^-53. Row j
    depends only on (seed, stream, entity, j, sample). Generator: Philox4x64-10 (Salmon et al.,
    "Parallel random numbers: as easy as 1, 2, 3", SC'11), one counter value a row.
    Raises ValueError if `count`, `start` or `sample` is negative.
    """
    if count < 0 or start < 0:
        raise ValueError(f"count and start must not be negative, got {count} and {start}")
    if sample < 0:
        raise ValueError(f"sample must not be negative, got {sample}")
    # The counter has 256 bits: rows in the lower half, samples in the upper one.
    philox = np.random.Philox(key=_key(seed, stream, entity), counter=start + (sample << 128))
    words = philox.random_raw(UNIFORMS_PER_ROW * count)
    # 52 bits and a half, not 53 bits: with 53 the top value would round to 1.0, and 0.0 occurs.
    words >>= np.uint64(12)
    drawn = words.astype(np.float64)
    drawn += 0.5
    drawn *= 2.0**-52
    return drawn.reshape(count, UNIFORMS_PER_ROW)


def luck(
    seed: int, stream: str, entity: str, count: int, start: int = 0, *, sample: int = 0
) -> NDArray[np.float64]:
    """One uniform a row, float64[count]: the first of those that `uniforms` gives.

    Worked out in pieces, so that memory stays with the result.
    """
    drawn = np.empty(count)
    for first in range(0, count, _ROWS_AT_ONCE):
        piece = drawn[first : first + _ROWS_AT_ONCE]
        piece[:] = uniforms(seed, stream, entity, len(piece), start + first, sample=sample)[:, 0]
    return drawn


_LN2_HIGH = float.fromhex("0x1.62e42fefa0000p-1")  # 37 bits of ln 2: times an exponent it is exact
_LN2_LOW = float.fromhex("0x1.cf79abc9e3b3ap-40")  # the rest of ln 2


def exponential(uniform: NDArray[np.float64]) -> NDArray[np.float64]:
    """Exponential draws of mean 1, -ln(u), from uniforms in (0, 1); same shape, all positive.

    The logarithm is built from correctly rounded operations (+, *, /, frexp) only, because
    `numpy.log` and the C library choose code by CPU (AVX-512, FMA) and differ in the last bit,
    which would give two machines two arrival sequences under one seed. Within 2 ulp of ln.
    """
    mantissa, exponent = np.frexp(uniform)
    low = mantissa < np.sqrt(0.5)
    mantissa = np.where(low, 2.0 * mantissa, mantissa)  # now in [sqrt(1/2), sqrt(2))
    exponent = exponent - low
    # ln m = 2 artanh(s), s = (m-1)/(m+1), |s| <= 0.1716; the first term left out is < 1e-18.
    s = (mantissa - 1.0) / (mantissa + 1.0)
    z = s * s
    series = np.full_like(s, 1.0 / 23.0)
    for odd in range(21, 1, -2):
        series *= z
        series += 1.0 / odd
    log_mantissa = 2.0 * s + 2.0 * s * (z * series)
    logarithm: NDArray[np.float64] = exponent * _LN2_HIGH + (exponent * _LN2_LOW + log_mantissa)
    return 0.0 - logarithm
