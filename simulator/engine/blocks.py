"""KV blocks: how many a number of tokens takes, and taking them and giving them back."""

from __future__ import annotations

from simulator.engine.jit import Array, Kv, Record, kernel
from simulator.engine.prefix_cache import lookup, release
from simulator.engine.request import ON_GPU
from simulator.engine.state import KV_PATHS, KV_POOL


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
def take_blocks(s: Record, count: int) -> None:
    """Take `count` free blocks: those without cached content, then the least recently released.

    Which ones lose their content is worked out when next somebody looks for it.
    """
    s.free_blocks -= count


@kernel
def give_back(s: Record, req: Array, kv: Kv, i: int, count: int) -> None:
    """Request i gives back the `count` blocks that it holds, the last one first."""
    if s.prefix_caching:
        s.free_blocks = release(s, kv[KV_POOL], req[i], count, s.free_blocks)
    else:
        s.free_blocks += count


@kernel
def find_prefix(s: Record, req: Array, kv: Kv, i: int) -> tuple[int, int, int]:
    """Blocks of request i in the prefix cache, how many of them nobody holds, in how many runs."""
    r = req[i]
    most = (known_tokens(r) - 1) // s.block_size  # the last token must be computed
    return lookup(s, kv[KV_POOL], kv[KV_PATHS], r, most, s.free_blocks)


@kernel
def cached_prefix(s: Record, req: Array, kv: Kv, i: int) -> tuple[int, int]:
    """Tokens of request i in the prefix cache, and how many of their blocks are in use."""
    hit, idle, _ = find_prefix(s, req, kv, i)
    return hit * s.block_size, hit - idle
