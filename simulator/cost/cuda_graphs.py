"""The batch sizes vLLM captures CUDA graphs for; a smaller batch is padded up to the next one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

DEFAULT_LARGEST_SIZE = 512  # vLLM's cap
BLACKWELL_LARGEST_SIZE = 1024  # its cap on data-centre Blackwell, which has fp4 units


def capture_sizes(
    max_num_seqs: int, max_num_batched_tokens: int, largest_size: int = DEFAULT_LARGEST_SIZE
) -> NDArray[np.int64]:
    """Captured sizes in tokens, ascending, by the rule of vLLM 0.33.

    1, 2, 4, every 8th up to 248, then every 16th, up to min(2 max_num_seqs, `largest_size`,
    max_num_batched_tokens); plus the two limits themselves where they are not above that.
    """
    largest = min(2 * max_num_seqs, largest_size, max_num_batched_tokens)
    sizes = {1, 2, 4, *range(8, 256, 8), *range(256, largest + 1, 16)}
    sizes |= {max_num_seqs, max_num_batched_tokens}
    return np.array(sorted(size for size in sizes if size <= largest), dtype=np.int64)


def pad_to_graph(counts: NDArray[np.float64], sizes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Each count rounded up to the next captured size; those above the largest run unpadded."""
    index = np.searchsorted(sizes, counts)
    padded = np.where(index < len(sizes), sizes[np.minimum(index, len(sizes) - 1)], counts)
    return np.where(counts > 0, padded, counts)
