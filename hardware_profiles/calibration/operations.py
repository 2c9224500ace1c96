"""Every operation that can be calibrated, in the order of a profile's `kernels`."""

from __future__ import annotations

from hardware_profiles.calibration import (
    collectives,
    decode_attention,
    elementwise,
    gemm,
    mla,
    moe,
    prefill_attention,
)
from hardware_profiles.calibration.operation import Operation

OPERATIONS: dict[str, Operation] = {
    operation.name: operation
    for operation in (
        gemm.OPERATION,
        decode_attention.OPERATION,
        prefill_attention.OPERATION,
        mla.DECODE_OPERATION,
        mla.PREFILL_OPERATION,
        moe.OPERATION,
        collectives.ALL_REDUCE_OPERATION,
        collectives.ALL_GATHER_OPERATION,
        elementwise.OPERATION,
    )
}
