"""Paged decode attention in Triton, split over the keys: what there is when nothing else is.

Imported only when Triton is installed. Every (sequence, key-value head) is cut into stretches
of equal size that run in parallel (as in Flash-Decoding, Dao et al. 2023), each with a running
softmax; a second kernel joins them. All query heads of a group share the loaded keys.
"""

from __future__ import annotations

from typing import Any

import triton  # type: ignore[import-not-found,import-untyped,unused-ignore]
import triton.language as tl  # type: ignore[import-not-found,import-untyped,unused-ignore]

BLOCK = 64  # keys per step
MAX_SPLITS = 128


@triton.jit  # type: ignore[untyped-decorator,unused-ignore]
def split_kernel(  # type: ignore[no-untyped-def]
    q,
    k,
    v,
    tables,
    lengths,
    partial_out,
    partial_lse,
    scale,
    max_pages,
    stretch,
    splits,
    KV_HEADS: tl.constexpr,
    GROUP: tl.constexpr,
    ROWS: tl.constexpr,
    DIM: tl.constexpr,
    PAGE: tl.constexpr,
    STEP: tl.constexpr,
):
    """One stretch: q [B, KV*GROUP, DIM], k and v [pages, PAGE, KV, DIM], tables [B, max_pages]."""
    sequence, head, split = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    length = tl.load(lengths + sequence)
    begin = split * stretch
    end = tl.minimum(begin + stretch, length)
    row = tl.arange(0, ROWS)
    dim = tl.arange(0, DIM)
    column = tl.arange(0, STEP)
    in_group = row < GROUP
    first = (sequence * KV_HEADS + head) * GROUP
    query = tl.load(q + (first + row)[:, None] * DIM + dim[None, :], in_group[:, None], other=0.0)
    top = tl.full([ROWS], -float("inf"), tl.float32)
    weight = tl.zeros([ROWS], tl.float32)
    total = tl.zeros([ROWS, DIM], tl.float32)
    for start in range(begin, end, STEP):
        token = start + column
        valid = token < end
        page = tl.load(tables + sequence * max_pages + token // PAGE, valid, other=0)
        base = ((page.to(tl.int64) * PAGE + token % PAGE) * KV_HEADS + head) * DIM
        keys = tl.load(k + base[None, :] + dim[:, None], valid[None, :], other=0.0)
        score = tl.dot(query, keys.to(query.dtype)) * scale
        score = tl.where(valid[None, :], score, -float("inf"))
        new_top = tl.maximum(top, tl.max(score, 1))
        shrink = tl.exp(top - new_top)
        chance = tl.exp(score - new_top[:, None])
        values = tl.load(v + base[:, None] + dim[None, :], valid[:, None], other=0.0)
        total = total * shrink[:, None] + tl.dot(chance.to(query.dtype), values.to(query.dtype))
        weight = weight * shrink + tl.sum(chance, 1)
        top = new_top
    empty = begin >= end
    lse = tl.where(empty, -float("inf"), top + tl.log(weight))
    scaled = tl.where(empty, 0.0, total / weight[:, None])
    at = (first + row) * splits + split
    tl.store(partial_out + at[:, None] * DIM + dim[None, :], scaled, in_group[:, None])
    tl.store(partial_lse + at, lse, in_group)


@triton.jit  # type: ignore[untyped-decorator,unused-ignore]
def join_kernel(  # type: ignore[no-untyped-def]
    partial_out, partial_lse, out, splits, DIM: tl.constexpr, SPLITS: tl.constexpr
):
    """Join the stretches of one (sequence, query head): weights are softmax over their lse."""
    at = tl.program_id(0)
    split = tl.arange(0, SPLITS)
    dim = tl.arange(0, DIM)
    there = split < splits
    lse = tl.load(partial_lse + at * splits + split, there, other=-float("inf"))
    weight = tl.exp(lse - tl.max(lse, 0))
    weight = weight / tl.sum(weight, 0)
    parts = tl.load(
        partial_out + (at * splits + split)[:, None] * DIM + dim[None, :], there[:, None], other=0.0
    )
    joined = tl.sum(parts * weight[:, None], 0)
    tl.store(out + at * DIM + dim, joined.to(out.dtype.element_ty))


def choose_stretch(total: int, longest: int, kv_heads: int, multiprocessors: int) -> int:
    """Keys per stretch: eight stretches per multiprocessor, none under two steps.

    The longest sequence gets at most MAX_SPLITS of them.
    """
    even = max(total * kv_heads // (8 * multiprocessors), -(-longest // MAX_SPLITS), 2 * BLOCK)
    return -(-even // BLOCK) * BLOCK


def launch(
    q: Any,
    k: Any,
    v: Any,
    tables: Any,
    lengths: Any,
    out: Any,
    partial_out: Any,
    partial_lse: Any,
    scale: float,
    stretch: int,
) -> None:
    """Write softmax(q k^T) v to `out` [B, heads, DIM]; `partial_*` are float32 work space.

    partial_out [B, heads, splits, DIM], partial_lse [B, heads, splits], splits times `stretch`
    covers the longest sequence; lengths [B] int32.
    """
    batch, heads, dim = q.shape
    page, kv_heads = k.shape[1], k.shape[2]
    splits = partial_lse.shape[2]
    group = heads // kv_heads
    split_kernel[(batch, kv_heads, splits)](
        q,
        k,
        v,
        tables,
        lengths,
        partial_out,
        partial_lse,
        scale,
        tables.shape[1],
        stretch,
        splits,
        KV_HEADS=kv_heads,
        GROUP=group,
        ROWS=max(16, triton.next_power_of_2(group)),
        DIM=dim,
        PAGE=page,
        STEP=BLOCK,
        num_warps=4,
        num_stages=3,
    )
    join_kernel[(batch * heads,)](
        partial_out,
        partial_lse,
        out,
        splits,
        DIM=dim,
        SPLITS=triton.next_power_of_2(splits),
        num_warps=4,
    )
