"""Paged decode attention over batch x context, and causal prefill attention."""

from __future__ import annotations

from functools import partial
from typing import Any

from hardware_profiles.measuring.attention_backends import Backend, select
from hardware_profiles.measuring.paged import Paged, block_tables, cache_dtype
from hardware_profiles.measuring.session import Session
from hardware_profiles.measuring.shapes import Decode, Heads, Prefill
from hardware_profiles.measuring.timing import copies_for

FREE_SHARE = 0.6  # of the free GPU memory that the KV pool may take
CHUNK = 2**26  # elements filled at a time


def measure_decode(session: Session) -> None:
    """One new token per sequence; KV pages in random order; a rotation that is never in L2.

    Points whose keys and values exceed the pool (16 GiB, or 60 % of what the GPU has free) are
    left out.
    """
    for kv_dtype in ("bf16", "fp8"):
        backend = _choose(session, "decode", kv_dtype)
        if backend is not None:
            session.attempt(f"decode {kv_dtype}", partial(_decode, session, backend, kv_dtype))
            session.timer.release()


def measure_prefill(session: Session) -> None:
    """All new tokens of `batch` equal prompts at once, after `prefix` cached tokens each.

    Nothing rotates: the keys were written just before, as in an engine.
    """
    for kv_dtype in ("bf16", "fp8"):
        backend = _choose(session, "prefill", kv_dtype)
        if backend is not None:
            session.attempt(f"prefill {kv_dtype}", partial(_prefill, session, backend, kv_dtype))
            session.timer.release()


def _choose(session: Session, kind: str, kv_dtype: str) -> Backend | None:
    if kv_dtype == "fp8" and not session.has_fp8:
        session.table.skip(f"{kind} attention, fp8 cache", "this GPU has no fp8 matrix units")
        return None
    backend = select(session, kind, kv_dtype)
    if backend is None:
        session.table.skip(f"{kind} attention, {kv_dtype} cache", "no back end for it here")
        session.say(f"{kind} attention, {kv_dtype} cache: no back end, skipped")
    return backend


class _Pool:
    """Random keys and values, to be viewed as the pages of any head configuration."""

    def __init__(self, session: Session, kv_dtype: str) -> None:
        torch = session.torch
        size = session.plan.kv_pool_bytes
        if session.on_gpu:
            size = min(size, int(FREE_SHARE * torch.cuda.mem_get_info()[0]))
        dtype = cache_dtype(torch, kv_dtype)
        self.element = dtype.itemsize
        count = size // (2 * self.element)
        self.flat = [torch.empty(count, device=session.device, dtype=dtype) for _ in "kv"]
        for flat in self.flat:
            for chunk in flat.split(CHUNK):
                chunk.copy_(torch.randn(len(chunk), device=session.device, dtype=torch.bfloat16))
        self.session = session

    def pages(self, heads: Heads, page: int) -> tuple[Any, Any, Any]:
        """k, v [pages, page, heads.kv, heads.dim] and a random order of the pages (int32)."""
        size = page * heads.kv * heads.dim
        count = len(self.flat[0]) // size
        k, v = (flat[: count * size].view(count, page, heads.kv, heads.dim) for flat in self.flat)
        torch = self.session.torch
        order = torch.randperm(count, device=self.session.device, dtype=torch.int32)
        return k, v, order


def _decode(session: Session, backend: Backend, kv_dtype: str) -> None:
    pool = _Pool(session, kv_dtype)
    for heads in session.plan.heads:
        pages = pool.pages(heads, backend.page_size)
        for point in session.plan.decode:
            needed = [-(-length // backend.page_size) for length in point.lengths()]
            if sum(needed) <= len(pages[2]):
                work = partial(_decode_point, session, backend, kv_dtype, heads, point, pages)
                session.attempt(f"decode {kv_dtype} {heads} {point}", work)
        session.say(f"decode {kv_dtype}: {heads.q} query, {heads.kv} KV heads")


def _decode_point(
    session: Session,
    backend: Backend,
    kv_dtype: str,
    heads: Heads,
    point: Decode,
    pages: tuple[Any, Any, Any],
) -> None:
    torch, device = session.torch, session.device
    k, v, order = pages
    lengths = point.lengths()
    needed = [-(-length // backend.page_size) for length in lengths]
    used = sum(needed)
    read = heads.kv_bytes(point.context_tokens, k.element_size())
    copies = min(copies_for(read, session.timer.cache_bytes), len(order) // used)
    counts = torch.tensor(lengths, device=device, dtype=torch.int32)
    q = torch.randn(point.batch, heads.q, heads.dim, device=device, dtype=torch.bfloat16)
    calls = []
    for i in range(copies):
        tables = block_tables(torch, order[i * used : (i + 1) * used], needed)
        calls.append(backend.bind(Paged(heads, 1, q, k, v, tables, counts, max(lengths))))
    session.record(
        "decode_attention",
        session.timer.time(calls),
        backend=backend.name,
        dtype="bf16",
        kv_dtype=kv_dtype,
        batch=point.batch,
        q_heads=heads.q,
        kv_heads=heads.kv,
        head_dim=heads.dim,
        context_tokens=point.context_tokens,
        ragged=point.ragged,
    )


def _prefill(session: Session, backend: Backend, kv_dtype: str) -> None:
    pool = _Pool(session, kv_dtype)
    for heads in session.plan.heads:
        pages = pool.pages(heads, backend.page_size)
        for point in session.plan.prefill:
            if point.prefix and not backend.prefix:
                session.table.skip("prefill behind cached tokens", f"not with {backend.name}")
                continue
            work = partial(_prefill_point, session, backend, kv_dtype, heads, point, pages)
            session.attempt(f"prefill {kv_dtype} {heads} {point}", work)
        session.say(f"prefill {kv_dtype}: {heads.q} query, {heads.kv} KV heads")


def _prefill_point(
    session: Session,
    backend: Backend,
    kv_dtype: str,
    heads: Heads,
    point: Prefill,
    pages: tuple[Any, Any, Any],
) -> None:
    torch, device = session.torch, session.device
    k, v, order = pages
    length = point.prefix + point.isl
    needed = [-(-length // backend.page_size)] * point.batch
    if sum(needed) > len(order):
        return
    tables = block_tables(torch, order, needed)
    counts = torch.full((point.batch,), length, device=device, dtype=torch.int32)
    tokens = point.batch * point.isl
    q = torch.randn(tokens, heads.q, heads.dim, device=device, dtype=torch.bfloat16)
    launch = backend.bind(Paged(heads, point.isl, q, k, v, tables, counts, length))
    session.record(
        "prefill_attention",
        session.timer.time([launch]),
        backend=backend.name,
        dtype="bf16",
        kv_dtype=kv_dtype,
        batch=point.batch,
        q_heads=heads.q,
        kv_heads=heads.kv,
        head_dim=heads.dim,
        context_tokens=point.batch * length,
        isl=point.isl,
        ragged=0.0,
    )
