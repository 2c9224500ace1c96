"""What one iteration of a replica costs, tabulated (CostTable; tabulate() to be added here)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class CostTable:
    """See contract."""

    token_s: npt.NDArray[np.float64]
    seq_s: npt.NDArray[np.float64]
    decode_fixed_s: npt.NDArray[np.float64]
    decode_context_s: npt.NDArray[np.float64]
    prefill_s: npt.NDArray[np.float64]
