"""Asking the router: what it is shown, and what becomes of its answer."""

from __future__ import annotations

from collections.abc import Sequence
from operator import index

import numpy as np
from numpy.typing import NDArray

from simulator.cluster.pool import PoolPlan
from simulator.cluster.snapshots import Snapshots
from simulator.engine.clock import Clock
from simulator.engine.config import EngineConfig
from simulator.errors import IntegrityError
from simulator.facts import RequestFacts, read_only
from simulator.policy import blame, blaming, kind_of
from simulator.routers.base import Fleet, Router, Snapshot


def fleet_of(pools: Sequence[PoolPlan], pool_id: NDArray[np.int64]) -> Fleet:
    """The replicas of these pools; `pool_id` (int64[R]) says which belongs to which."""
    configs = [plan.config for plan in pools]

    def each(values: Sequence[int]) -> NDArray[np.int64]:
        return read_only(np.asarray(values, dtype=np.int64)[pool_id])

    return Fleet(
        pool_names=tuple(plan.name for plan in pools),
        pool=each(range(len(pools))),
        kv_capacity_tokens=each([kv_capacity_tokens(config) for config in configs]),
        block_size=each([config.block_size for config in configs]),
        seats=each([config.seat_limit for config in configs]),
        max_model_len=each([config.max_model_len for config in configs]),
    )


def kv_capacity_tokens(config: EngineConfig) -> int:
    """Tokens that the KV cache holds, as vLLM reports it: blocks are shared by groups of layers."""
    groups = config.kv_groups_full + config.kv_groups_window
    return config.usable_blocks // groups * config.block_size


class Dispatcher:
    """Sends requests where the router says, and shows it no more than it may see.

    A router that chooses a replica that is not there is an `IntegrityError`.
    """

    def __init__(
        self,
        router: Router,
        fleet: Fleet,
        facts: RequestFacts,
        seed: int,
        clock: Clock,
        requests: np.ndarray,
        states: np.ndarray,
        phases: np.ndarray,
    ) -> None:
        self.router = router
        self._clock = clock
        self._delay_s = router.snapshot_delay_s
        self._alone = len(fleet) == 1
        with blaming("router", router):
            router.start(fleet, facts, seed)
            predicted = router.predicted_tokens() if router.needs_predicted_left else None
        self._snapshots = Snapshots(
            fleet, requests, states, phases, predicted, counts_sent=self._delay_s > 0.0
        )
        self._looks = router.needs_snapshot and not self._alone
        self._view = self._snapshots.view
        needed = facts.prompt_tokens + np.maximum(facts.max_tokens, 1)
        self._needed_tokens = needed
        self._max_model_len = fleet.max_model_len
        # Requests that some replica could not serve, but another one could.
        some = (needed > fleet.max_model_len.min()) & (needed <= fleet.max_model_len.max())
        self._restricted = some if some.any() else None

    def choose(self, request: int) -> int:
        """The replica that gets `request`."""
        if self._alone:
            return 0
        view = self._view
        if self._looks:
            now_s = self._clock.now
            if now_s - view.taken_s >= self._delay_s:
                self._snapshots.take(now_s)
        if self._restricted is not None and self._restricted[request]:
            view = self._fitting(request)
        try:
            chosen = given = self.router.choose(request, view)
        except (Exception, SystemExit) as error:
            raise blame("router", self.router, error) from error
        try:
            chosen = index(chosen)
        except TypeError:
            chosen = -1
        if not 0 <= chosen < len(view.index):
            raise IntegrityError(
                f"router {kind_of(self.router)} chose replica {given!r} of {len(view)}"
            )
        return chosen if view is self._view else int(view.index[chosen])

    def sent(self, request: int, replica: int) -> None:
        """`request` has been accepted by `replica`."""
        if self._looks:
            self._snapshots.count_in(request, replica)

    def _fitting(self, request: int) -> Snapshot:
        """The replicas whose max_model_len `request` does not exceed."""
        return self._view.only(np.flatnonzero(self._max_model_len >= self._needed_tokens[request]))
