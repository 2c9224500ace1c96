"""Which points are measured: in full, quickly, or as a toy that only tries the code."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Literal

Size = Literal["full", "quick", "toy"]
HEAD_DIM = 128
RAGGED_SIGMA = 0.8  # of the log-normal lengths: coefficient of variation 0.95
GEMM_M = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
GRID = (1024, 2048, 4096, 8192, 16384)


@dataclass(frozen=True)
class Dense:
    """The widths of a dense transformer that its GEMMs follow from (HF `config.json`)."""

    hidden: int
    intermediate: int
    q_heads: int
    kv_heads: int
    vocab: int

    def gemms(self, tp: int) -> list[tuple[int, int]]:
        """(n, k) of one rank's qkv, output, gate+up, down and vocabulary projections.

        Key and value heads are copied, not split, beyond one per rank, as engines do.
        """
        heads = self.q_heads // tp
        kv_heads = max(1, self.kv_heads // tp)
        return [
            ((heads + 2 * kv_heads) * HEAD_DIM, self.hidden),
            (self.hidden, heads * HEAD_DIM),
            (2 * self.intermediate // tp, self.hidden),
            (self.hidden, self.intermediate // tp),
            (self.vocab // tp, self.hidden),
        ]


LLAMA_8B = Dense(4096, 14336, 32, 8, 128256)
LLAMA_70B = Dense(8192, 28672, 64, 8, 128256)
MODELS = (
    LLAMA_8B,
    LLAMA_70B,
    Dense(4096, 12288, 32, 8, 151936),  # Qwen3-8B
    Dense(5120, 25600, 64, 8, 151936),  # Qwen3-32B
    Dense(3584, 18944, 28, 4, 152064),  # DeepSeek-R1-Distill-Qwen-7B
    Dense(5120, 13824, 40, 8, 152064),  # DeepSeek-R1-Distill-Qwen-14B
)


@dataclass(frozen=True)
class Heads:
    """Query and key-value heads of one rank."""

    q: int
    kv: int
    dim: int = HEAD_DIM

    def kv_bytes(self, tokens: int, element_bytes: int) -> int:
        """Bytes of the keys and values of `tokens` tokens in one layer."""
        return 2 * tokens * self.kv * self.dim * element_bytes


HEADS = (Heads(32, 8), Heads(64, 8), Heads(8, 1), Heads(16, 2), Heads(28, 4), Heads(40, 8))


@dataclass(frozen=True)
class Decode:
    """One decode attention point: `batch` sequences that hold `context_tokens` together."""

    batch: int
    context_tokens: int
    ragged: float = 0.0

    def lengths(self) -> list[int]:
        """Tokens of each sequence."""
        if not self.ragged:
            return [self.context_tokens // self.batch] * self.batch
        return ragged_lengths(self.batch, self.context_tokens, self.ragged)


@dataclass(frozen=True)
class Prefill:
    """One prefill point: `batch` sequences of `isl` new tokens, each after `prefix` cached ones."""

    batch: int
    isl: int
    prefix: int = 0


@dataclass(frozen=True)
class Plan:
    """All points of one run. `kv_pool_bytes` bounds one decode point's keys and values."""

    gemm_m: tuple[int, ...]
    gemm_nk: tuple[tuple[int, int], ...]
    heads: tuple[Heads, ...]
    decode: tuple[Decode, ...]
    prefill: tuple[Prefill, ...]
    all_reduce_bytes: tuple[int, ...]
    graph_nodes: tuple[int, ...]
    copy_bytes: tuple[int, ...]
    kv_pool_bytes: int


def ragged_lengths(batch: int, total: int, sigma: float = RAGGED_SIGMA, seed: int = 0) -> list[int]:
    """`batch` log-normal lengths, each at least 1, that sum to `total` exactly.

    The same numbers for the same arguments on every machine, so a row of the table can be
    reproduced from its batch, context_tokens and ragged columns (seed 0).
    """
    if total < batch:
        raise ValueError(f"{total} tokens cannot give {batch} sequences one each")
    draws = random.Random(f"{batch} {total} {sigma} {seed}")
    weights = [math.exp(sigma * draws.gauss(0.0, 1.0)) for _ in range(batch)]
    share = (total - batch) / sum(weights)
    lengths = [1 + int(weight * share) for weight in weights]
    for i in range(total - sum(lengths)):
        lengths[i % batch] += 1
    return lengths


def make_plan(size: Size) -> Plan:
    """The points of a full, quick or toy run."""
    if size == "toy":
        return Plan(
            gemm_m=(1, 8),
            gemm_nk=((64, 32), (32, 64)),
            heads=(Heads(4, 2, 16),),
            decode=(Decode(1, 24), Decode(4, 160), Decode(4, 160, RAGGED_SIGMA)),
            prefill=(Prefill(1, 16), Prefill(2, 32)),
            all_reduce_bytes=(256, 4096),
            graph_nodes=(1, 8),
            copy_bytes=(2**12,),
            kv_pool_bytes=2**20,
        )
    if size == "quick":
        shapes = LLAMA_8B.gemms(1) + LLAMA_70B.gemms(1)[:4] + LLAMA_70B.gemms(8)
        equal = [Decode(b, b * n) for b in (1, 4, 16, 64, 256) for n in (512, 2048, 8192)]
        return Plan(
            gemm_m=(1, 4, 16, 32, 64, 128, 256, 512, 2048, 8192),
            gemm_nk=_unique([*shapes, (4096, 4096), (8192, 8192)]),
            heads=(Heads(32, 8), Heads(8, 1)),
            decode=(
                *equal,
                Decode(1, 32768),
                Decode(64, 64 * 4096),
                Decode(64, 64 * 4096, RAGGED_SIGMA),
            ),
            prefill=tuple(Prefill(1, isl) for isl in (512, 2048, 8192)),
            all_reduce_bytes=tuple(2**p for p in range(11, 28, 4)),
            graph_nodes=(1, 100, 500),
            copy_bytes=(2**12, 2**20, 2**28),
            kv_pool_bytes=16 * 2**30,
        )
    lengths = (128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 131072)
    batches = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
    equal = [Decode(b, b * length) for b in batches for length in lengths]
    ragged = [
        Decode(b, b * length, RAGGED_SIGMA)
        for b in (4, 8, 16, 32, 64, 128, 256)
        for length in (512, 1024, 2048, 4096, 8192)
    ]
    grid = [(n, k) for n in GRID for k in GRID]
    return Plan(
        gemm_m=GEMM_M,
        gemm_nk=_unique([s for model in MODELS for s in _ranks(model)] + grid),
        heads=HEADS,
        decode=(*equal, *ragged),
        prefill=(
            *(
                Prefill(batch, isl)
                for batch in (1, 2, 4, 8)
                for isl in (128, 256, 512, 1024, 2048, 4096, 8192, 16384)
                if batch * isl <= 32768
            ),
            *(
                Prefill(1, isl, prefix)
                for isl in (512, 2048, 8192)
                for prefix in (2048, 8192, 32768)
            ),
        ),
        all_reduce_bytes=tuple(2**p for p in range(8, 29)),
        graph_nodes=(1, 10, 50, 100, 200, 500, 1000),
        copy_bytes=tuple(2**p for p in (3, 8, 12, 16, 18, 20, 22, 24, 26, 28, 30)),
        kv_pool_bytes=16 * 2**30,
    )


def _ranks(model: Dense) -> list[tuple[int, int]]:
    splits = [tp for tp in (1, 2, 4, 8) if model.q_heads % tp == 0]
    return [shape for tp in splits for shape in model.gemms(tp)]


def _unique(shapes: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    return tuple(sorted(set(shapes)))
