"""Number formats of weights and of the KV cache, and the bytes an element takes."""

from __future__ import annotations

from typing import Literal

Dtype = Literal["bf16", "fp8", "fp8_block", "int4", "mxfp4", "nvfp4"]
KvDtype = Literal["bf16", "fp8"]

# Scales included: fp8_block has a float32 per 128 x 128 block, int4 (AWQ, GPTQ) 16 bit per group of
# 128, mxfp4 (OCP Microscaling v1.0) a byte per 32 and nvfp4 a byte per 16 elements.
BYTES: dict[str, float] = {
    "bf16": 2.0,
    "fp8": 1.0,
    "fp8_block": 1.0 + 4 / 128**2,
    "int4": 0.5 + 2 / 128,
    "mxfp4": 0.5 + 1 / 32,
    "nvfp4": 0.5 + 1 / 16,
}
ACTIVATION_BYTES = 2  # activations stay in 16 bit whatever the weights are
