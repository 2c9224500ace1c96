"""One attention problem over a paged KV cache, and its answer in float32."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from hardware_profiles.measuring.shapes import Heads


@dataclass
class Paged:
    """`batch` sequences of `new` queries each, attending to their paged keys and values, causally.

    q [batch * new, heads.q, heads.dim] bf16; k, v [pages, page, heads.kv, heads.dim], bf16 or fp8
    (scale 1); tables [batch, pages of the longest] int32; lengths [batch] int32: keys of each
    sequence, its new tokens (the last ones) included; max_length: the largest of them.
    """

    heads: Heads
    new: int
    q: Any
    k: Any
    v: Any
    tables: Any
    lengths: Any
    max_length: int

    @property
    def batch(self) -> int:
        """Number of sequences."""
        return int(self.q.shape[0]) // self.new

    @property
    def scale(self) -> float:
        """What scores are multiplied by."""
        return 1.0 / math.sqrt(self.heads.dim)


def reference(torch: Any, problem: Paged) -> Any:
    """The output in float32, one sequence at a time."""
    heads, new = problem.heads, problem.new
    out = torch.empty(problem.q.shape, device=problem.q.device, dtype=torch.float32)
    for i, length in enumerate(problem.lengths.tolist()):
        rows = slice(i * new, (i + 1) * new)
        q = problem.q[rows].float().transpose(0, 1)
        table = problem.tables[i : i + 1]
        k, v = (gather(pages, table, length)[0].float() for pages in (problem.k, problem.v))
        k, v = (x.transpose(0, 1).repeat_interleave(heads.q // heads.kv, 0) for x in (k, v))
        scores = q @ k.transpose(1, 2) * problem.scale
        seen = torch.ones(new, length, device=q.device, dtype=torch.bool).tril(length - new)
        scores = scores.masked_fill(~seen, -torch.inf)
        out[rows] = (scores.softmax(-1) @ v).transpose(0, 1)
    return out


def gather(pages: Any, tables: Any, length: int) -> Any:
    """[batch, length, heads, dim] from [pages, page, heads, dim] through [batch, n] tables."""
    page = pages.shape[1]
    used = tables[:, : -(-length // page)].long()
    return pages[used].flatten(1, 2)[:, :length]


def block_tables(torch: Any, order: Any, needed: list[int]) -> Any:
    """Tables [batch, max(needed)] int32: sequence i gets the next needed[i] pages of `order`."""
    width = max(needed)
    if min(needed) == width:
        return order[: len(needed) * width].view(len(needed), width).contiguous()
    counts = torch.tensor(needed, device=order.device)
    used = torch.arange(width, device=order.device)[None, :] < counts[:, None]
    tables = torch.zeros(len(needed), width, device=order.device, dtype=torch.int32)
    tables[used] = order[: sum(needed)]
    return tables


def cache_dtype(torch: Any, kv_dtype: str) -> Any:
    """The torch dtype of a KV cache."""
    return torch.bfloat16 if kv_dtype == "bf16" else torch.float8_e4m3fn
