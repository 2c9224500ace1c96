"""The luck of single attempts, the same whatever the strategy does: common random numbers.

Attempt s at query j owns four uniforms, keyed by (seed, stream "correct", entity, j, s). A strategy
that makes another attempt takes the next s; thinking on, being cut short or being asked of another
model under the same s is the same attempt in another world. So two strategies on one seed differ
only in what they do.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from simulator.rng import UNIFORMS_PER_ROW, uniforms

Floats = NDArray[np.float64]

# What the four uniforms of an attempt decide.
CORRECT, WRONG, SCORE, PARTIAL = range(UNIFORMS_PER_ROW)

_ROWS = 1024  # of queries drawn together
_FEW = 32  # attempts that are not worth sorting
_MOST_BLOCKS = 512  # 16 MiB; queries come in order, so old ones are hardly asked for again


@dataclass(eq=False)
class AttemptLuck:
    """Uniforms of attempts by (query, sample), drawn in blocks and kept while they are in use.

    entity: the class that the queries belong to, or "" if they are counted over the whole run.
    """

    seed: int
    entity: str = ""
    stream: str = "correct"
    _blocks: dict[tuple[int, int], Floats] = field(default_factory=dict, init=False, repr=False)

    def __call__(self, queries: ArrayLike, samples: ArrayLike) -> Floats:
        """float64[..., 4] in (0, 1) for attempts `samples` at `queries` (whole numbers from 0).

        The last axis is CORRECT, WRONG, SCORE, PARTIAL. Raises ValueError if any is negative.
        """
        query, sample = np.broadcast_arrays(
            np.asarray(queries, dtype=np.int64), np.asarray(samples, dtype=np.int64)
        )
        shape = query.shape
        query, sample = query.ravel(), sample.ravel()
        if query.size and (query.min() < 0 or sample.min() < 0):
            raise ValueError("queries and samples are counted from 0")
        drawn = np.empty((query.size, UNIFORMS_PER_ROW))
        block, row = np.divmod(query, _ROWS)
        if query.size <= _FEW:
            for i, place in enumerate(zip(sample.tolist(), block.tolist(), strict=True)):
                drawn[i] = self._block(*place)[row[i]]
            return drawn.reshape(*shape, UNIFORMS_PER_ROW)
        order = np.lexsort((block, sample))
        changes = np.flatnonzero(np.diff(block[order]) | np.diff(sample[order])) + 1
        for rows in np.split(order, changes):
            if len(rows):
                drawn[rows] = self._block(int(sample[rows[0]]), int(block[rows[0]]))[row[rows]]
        return drawn.reshape(*shape, UNIFORMS_PER_ROW)

    def _block(self, sample: int, block: int) -> Floats:
        found = self._blocks.get((sample, block))
        if found is None:
            found = uniforms(
                self.seed, self.stream, self.entity, _ROWS, block * _ROWS, sample=sample
            )
            while len(self._blocks) >= _MOST_BLOCKS:
                del self._blocks[next(iter(self._blocks))]
            self._blocks[sample, block] = found
        return found
