"""A replica's arrays, found from its STATE record.

What a compiled function takes from Python costs a quarter of a microsecond an array, which is more
than many of its calls last. So a replica's record holds the addresses of its arrays, and the entry
points take the record alone. `ReplicaArrays` keeps the arrays alive, and notes where they are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, types  # type: ignore[attr-defined]
from numba.core import cgutils
from numba.extending import intrinsic

from simulator.engine.content import PATH
from simulator.engine.extents import POOL
from simulator.engine.itl import NUM_BINS, SLICES
from simulator.engine.jit import Kv, Record, kernel
from simulator.engine.samples import MAX_SAMPLES, SAMPLE

_I8, _F8 = np.int64, np.float64

# Of each array the address, and the length where the engine's options do not tell it.
ADDRESS_FIELDS = [
    (name, "i8")
    for name in (
        "lists_at",
        "phases_at",
        "pool_at",
        "pool_length",
        "paths_at",
        "paths_length",
        "path_start_at",
        "path_start_length",
        "shared_blocks_at",
        "shared_blocks_length",
        "token_s_at",
        "token_s_length",
        "seq_s_at",
        "seq_s_length",
        "itl_at",
        "samples_at",
        "marks_at",
        "marks_length",
    )
]


def _as_pointer(_: Any, address: Any) -> Any:
    """An integer as a pointer."""

    def convert(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(address), convert


_pointer: Any = intrinsic(_as_pointer)


@kernel
def lists_of(s: Record) -> Any:
    """ReplicaArrays.lists."""
    return carray(_pointer(s.lists_at), (5, s.seat_limit + 1), _I8)


@kernel
def phases_of(s: Record) -> Any:
    """ReplicaArrays.phases."""
    return carray(_pointer(s.phases_at), (s.block_size,), _I8)


@kernel
def kv_of(s: Record) -> Kv:
    """ReplicaArrays.kv."""
    return (
        carray(_pointer(s.pool_at), (s.pool_length,), POOL),
        carray(_pointer(s.paths_at), (s.paths_length,), PATH),
        carray(_pointer(s.path_start_at), (s.path_start_length,), _I8),
        carray(_pointer(s.shared_blocks_at), (s.shared_blocks_length,), _I8),
    )


@kernel
def costs_of(s: Record) -> Any:
    """ReplicaArrays.token_s and seq_s."""
    return (
        carray(_pointer(s.token_s_at), (s.token_s_length,), _F8),
        carray(_pointer(s.seq_s_at), (6, s.seq_s_length), _F8),
    )


@kernel
def itl_of(s: Record) -> Any:
    """ReplicaArrays.itl."""
    return carray(_pointer(s.itl_at), (SLICES + 1, NUM_BINS), _I8)


@kernel
def samples_of(s: Record) -> Any:
    """ReplicaArrays.samples and marks."""
    return (
        carray(_pointer(s.samples_at), (MAX_SAMPLES,), SAMPLE),
        carray(_pointer(s.marks_at), (s.marks_length,), SAMPLE),
    )
