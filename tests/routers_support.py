"""Hand-made fleets, requests and snapshots for routers."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from simulator.facts import RequestFacts
from simulator.prefix import PromptSegments
from simulator.routers.base import Fleet, Router, Snapshot


class Guess:
    """A predictor that says what it was told, whatever has been seen."""

    def __init__(self, tokens: Any) -> None:
        self.tokens = np.asarray(tokens, dtype=float)

    def total_tokens(self, rows: np.ndarray, generated: np.ndarray) -> np.ndarray:
        return self.tokens[rows]


def a_fleet(sizes: int | dict[str, int] = 4, **columns: Any) -> Fleet:
    """A fleet of `sizes` replicas, or of so many by pool; all of a kind unless `columns` differ."""
    pools = {"pool": sizes} if isinstance(sizes, int) else sizes
    count = sum(pools.values())
    values = {
        "kv_capacity_tokens": 16_000,
        "block_size": 16,
        "seats": 8,
        "max_model_len": 4000,
    } | columns
    return Fleet(
        pool_names=tuple(pools),
        pool=np.repeat(np.arange(len(pools)), list(pools.values())),
        **{name: np.broadcast_to(value, count).astype(np.int64) for name, value in values.items()},
    )


def some_facts(n: int = 20, **columns: Any) -> RequestFacts:
    """`n` requests of 100 prompt tokens without a cap, unless `columns` differ."""
    given = {
        "prompt_tokens": 100,
        "max_tokens": 0,
        "class_id": 0,
        "client_id": 0,
        "session_id": -1,
        "query_id": np.arange(n),
        "priority": 0,
        "due_s": np.inf,
    }
    dtypes = {"class_id": np.int32, "client_id": np.int32, "due_s": np.float64}
    given |= {name: columns.pop(name) for name in list(columns) if name in given}
    columns.setdefault("predictor", Guess(np.full(n, np.nan)))
    return RequestFacts(
        **{
            name: np.broadcast_to(value, n).astype(dtypes.get(name, np.int64))
            for name, value in given.items()
        },
        **columns,
    )


def prompts(*lists: Sequence[tuple[int, int]]) -> dict[str, Any]:
    """The columns of facts for prompts made of (segment, tokens)."""
    segments = PromptSegments.from_lists(lists)
    return {"segments": segments, "prompt_tokens": segments.prompt_tokens()}


def a_snapshot(fleet: Fleet, **columns: Any) -> Snapshot:
    """What is seen of `fleet`: nothing going on but `columns`; sums follow from their parts."""
    count = len(fleet)
    floats = ("kv_used_frac", "predicted_left", "sent_predicted")
    seen: dict[str, Any] = {
        name: np.broadcast_to(columns.pop(name, 0), count).astype(
            np.float64 if name in floats else np.int64
        )
        for name in (
            "num_waiting",
            "num_running",
            "waiting_tokens",
            "kv_used_tokens",
            "sent",
            "sent_tokens",
            *floats,
        )
    }
    seen["outstanding"] = seen["num_waiting"] + seen["num_running"]
    seen["tokens"] = seen["waiting_tokens"] + seen["kv_used_tokens"]
    return Snapshot(
        index=np.arange(count),
        pool=fleet.pool,
        kv_capacity_tokens=fleet.kv_capacity_tokens,
        block_size=fleet.block_size,
        seats=fleet.seats,
        **seen,
        **columns,
    )


def started(
    router: Router, fleet: Fleet | None = None, facts: RequestFacts | None = None, seed: int = 0
) -> Router:
    """`router`, ready for a run."""
    router.start(fleet or a_fleet(), facts or some_facts(), seed)
    return router
