"""Queues of doubling quanta: at which level attained service puts a request.

Level l has a quantum of `quantum * 2**l` tokens; whoever has used up the quanta of levels 0 to l,
`quantum * (2**(l + 1) - 1)` tokens in all, has left level l.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def level_of(service: Floats, quantum: Floats | float) -> Floats:
    """Level of requests that have had `service` tokens (float64[k]), from 0 up, whole numbers."""
    return np.frexp(service / quantum + 1.0)[1] - 1.0


def left_at(level: Floats, service: Floats, quantum: Floats | float) -> Floats:
    """Tokens of service (float64[k]) after which a request leaves `level`; positive."""
    return np.asarray(quantum * (np.exp2(level + 1.0) - 1.0) - service)


def level_that_holds(tokens: Floats, quantum: float) -> Floats:
    """The first level whose own quantum is at least `tokens` (float64[k])."""
    mantissa, exponent = np.frexp(tokens / quantum)
    return np.maximum(np.where(mantissa == 0.5, exponent - 1.0, exponent), 0.0)
