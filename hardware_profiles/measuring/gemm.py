"""Y[m,n] = X[m,k] W[n,k]^T, as a linear layer does it: bf16, and fp8 with one scale per tensor."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from hardware_profiles.measuring.session import Session
from hardware_profiles.measuring.timing import copies_for

FP8_CHUNK = 2**26  # elements converted at a time


def measure(session: Session) -> None:
    """Every (n, k) of the plan at every m. Weights rotate among copies; X stays where it is.

    One pool of random numbers serves as all weights: the copies of a shape are consecutive slices
    of it, together at least four times the L2 cache (one copy if it alone is larger). X was written
    by the layer before and is small, so it may be found in L2, as in an engine.
    """
    for dtype in ("bf16", "fp8"):
        if dtype == "fp8" and not session.has_fp8:
            session.table.skip("gemm fp8", "this GPU has no fp8 matrix units")
            continue
        session.attempt(f"gemm {dtype}", partial(_sweep, session, dtype))
        session.timer.release()


def _sweep(session: Session, dtype: str) -> None:
    torch, plan = session.torch, session.plan
    element = 2 if dtype == "bf16" else 1
    cache = session.timer.cache_bytes
    largest = max(n * k for n, k in plan.gemm_nk)
    weights = _random(session, largest + 4 * cache // element, dtype)
    inputs = _random(session, max(plan.gemm_m) * max(k for _, k in plan.gemm_nk), dtype)
    one = torch.ones((), device=session.device, dtype=torch.float32)
    backend = f"torch {torch.__version__} " + ("mm" if dtype == "bf16" else "_scaled_mm")

    def point(m: int, n: int, k: int) -> None:
        x = inputs[: m * k].view(m, k)
        copies = min(copies_for(n * k * element, cache), weights.numel() // (n * k))
        transposed = [weights[i * n * k : (i + 1) * n * k].view(n, k).t() for i in range(copies)]
        calls: list[Callable[[], object]]
        if dtype == "bf16":
            y = torch.empty(m, n, device=session.device, dtype=torch.bfloat16)
            calls = [partial(torch.mm, x, w, out=y) for w in transposed]
        else:
            multiply = partial(
                torch._scaled_mm,
                scale_a=one,
                scale_b=one,
                out_dtype=torch.bfloat16,
                use_fast_accum=session.on_gpu,
            )
            calls = [partial(multiply, x, w) for w in transposed]
        timing = session.timer.time(calls)
        session.record("gemm", timing, backend=backend, dtype=dtype, m=m, n=n, k=k)

    for n, k in plan.gemm_nk:
        for m in plan.gemm_m:
            session.attempt(f"gemm {dtype} m={m} n={n} k={k}", partial(point, m, n, k))
    session.say(f"gemm {dtype}: {len(plan.gemm_nk)} shapes x {len(plan.gemm_m)} values of m")


def _random(session: Session, elements: int, dtype: str) -> Any:
    """Normal random numbers: the speed of a matrix product depends on its data (power)."""
    torch = session.torch
    if dtype == "bf16":
        pool = torch.empty(elements, device=session.device, dtype=torch.bfloat16)
        return pool.normal_(0.0, 0.05)
    pool = torch.empty(elements, device=session.device, dtype=torch.float8_e4m3fn)
    for chunk in pool.split(FP8_CHUNK):
        chunk.copy_(torch.randn(chunk.numel(), device=session.device, dtype=torch.bfloat16))
    return pool
