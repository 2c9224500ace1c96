"""KV blocks: how many a number of tokens takes, and taking them and giving them back."""

from __future__ import annotations

from simulator.engine.jit import Array, Kv, Record, kernel
from simulator.engine.request import ON_GPU


@kernel
def blocks_for(s: Record, tokens: int) -> int:
    """KV blocks that hold `tokens` tokens of one request, in all groups of layers."""
    size: int = s.block_size
    whole = (tokens + size - 1) // size
    if s.kv_groups_window == 0:
        full_only: int = s.kv_groups_full * whole
        return full_only
    inside = min(whole, (s.window_tokens + size - 1) // size)
    blocks: int = s.kv_groups_full * whole + s.kv_groups_window * inside
    return blocks


@kernel
def known_tokens(r: Record) -> int:
    """Tokens of r whose KV it wants: of prompt and output, without those that were compressed."""
    known: int = r.prompt_tokens + r.generated_tokens - r.dropped_tokens
    return known


@kernel
def decoded_tokens(s: Record, r: Record) -> int:
    """Output tokens of decoding request r, the one in flight included."""
    decoded: int = s.n + r.offset + r.dropped_tokens + 1 - r.prompt_tokens
    return decoded


@kernel
def held_blocks(s: Record, r: Record) -> int:
    """Blocks that a waiting request holds."""
    if r.keeps != ON_GPU:
        return 0
    return blocks_for(s, r.computed_tokens)


@kernel
def take_blocks(s: Record, kv: Kv, count: int) -> None:
    """Take `count` free blocks, the ones without cached content first."""
    s.free_blocks -= count


@kernel
def give_back(s: Record, req: Array, kv: Kv, i: int, count: int) -> None:
    """Request i gives back the `count` blocks that it holds, the last one first."""
    s.free_blocks += count


@kernel
def cached_prefix(s: Record, req: Array, kv: Kv, i: int, known: int) -> tuple[int, int]:
    """Tokens of request i in the prefix cache, and how many of their blocks are in use."""
    return 0, 0
