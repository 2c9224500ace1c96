"""How the layers of a model share KV blocks: vLLM's hybrid KV cache manager."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the engine counts blocks by this file, and must not load models
    from simulator.cost.architecture import Architecture

SIMILAR = 1.25  # kinds this close in number are not split (vLLM)


@dataclass(frozen=True)
class KvGroups:
    """Groups of equally many layers, all of one kind, that share one pool of equal blocks.

    A block holds the keys and values of some tokens for the `layers` layers of one group (the last
    of a kind padded). A request holds blocks in `full` groups for its whole context and in `window`
    groups for at most `window_tokens` of it.
    """

    layers: int
    full: int
    window: int
    window_tokens: int

    def blocks(self, tokens: int, block_size: int) -> int:
        """Blocks that a request with this many computed tokens holds."""
        whole = -(-tokens // block_size)
        inside = -(-self.window_tokens // block_size)
        return self.full * whole + self.window * min(whole, inside)

    def longest_request(self, usable_blocks: int, block_size: int) -> int | None:
        """Most tokens of one request alone in the cache; None where there is no limit."""
        inside = -(-self.window_tokens // block_size)
        if usable_blocks < (self.full + self.window) * inside:
            return usable_blocks // (self.full + self.window) * block_size
        if not self.full:
            return None
        return (usable_blocks - self.window * inside) // self.full * block_size


def kv_groups(architecture: Architecture) -> KvGroups:
    """The groups vLLM makes of a model's layers: as many in each as the rarer kind has.

    Source: `_get_kv_cache_groups_uniform_page_size` in `vllm/v1/core/kv_cache_utils.py`.
    """
    model = architecture
    kinds = [count for count in (model.num_full_layers, model.num_window_layers) if count]
    size = max(kinds) if max(kinds) < SIMILAR * min(kinds) else min(kinds)
    return KvGroups(
        layers=size,
        full=-(-model.num_full_layers // size),
        window=-(-model.num_window_layers // size),
        window_tokens=model.sliding_window,
    )
