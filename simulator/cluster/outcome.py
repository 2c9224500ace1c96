"""What a cluster leaves behind when it has run: arrays only, so that it travels well."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.cluster.replies import Replies
from simulator.engine.config import EngineConfig


@dataclass(frozen=True)
class Outcome:
    """The engine's own tables after a run.

    `pool_names`, `configs`: one a pool; `pool_id`: int64[replicas], the pool of each replica.
    `requests`: REQUEST[arrived], in order of arrival; those that had not arrived when the run ended
    are left out. `rows`: int64[arrived], which row of the table given to the cluster each was.
    `refused`: index into `requests` -> why it was rejected. `states`: STATE[replicas]. `samples`:
    one SAMPLE array a replica. `marks`: SAMPLE[replicas, marks]. `itl`: int64[slices + 1, bins],
    gaps between consecutive tokens of measured requests, the bins having the edges `itl_edges_s`;
    the last row is for tokens outside the window. Times in simulated seconds, `wall_s` in real
    ones. `replies`: how queries ended, None if each is one request and nobody judges it.
    """

    pool_names: tuple[str, ...]
    configs: tuple[EngineConfig, ...]
    pool_id: np.ndarray
    requests: np.ndarray
    rows: np.ndarray
    refused: dict[int, str]
    states: np.ndarray
    samples: list[np.ndarray]
    marks: np.ndarray
    itl: np.ndarray
    itl_edges_s: np.ndarray
    end_s: float
    wall_s: float
    replies: Replies | None = None
