"""What every router can do, what it is shown, and where it is filed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from simulator.errors import InputError, Problem
from simulator.facts import RequestFacts
from simulator.policy import Policy, kind_of
from simulator.registry import Registry
from simulator.rng import uniforms


@dataclass(frozen=True, eq=False)
class Fleet:
    """The R replicas of all pools, pool after pool, as they are configured.

    pool: int64[R], index into `pool_names`. kv_capacity_tokens: int64[R], what the KV cache holds.
    block_size: int64[R], tokens of a KV block. seats: int64[R], most requests that run at once.
    max_model_len: int64[R], most tokens of one request, prompt and output together.
    """

    pool_names: tuple[str, ...]
    pool: NDArray[np.int64]
    kv_capacity_tokens: NDArray[np.int64]
    block_size: NDArray[np.int64]
    seats: NDArray[np.int64]
    max_model_len: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.pool)

    def pools(self, names: Sequence[str], fields: Sequence[str]) -> list[int]:
        """The indices of the pools called `names`.

        Raises `InputError` with every unknown name, at the router's parameters `fields`.
        """
        known = ", ".join(self.pool_names)
        problems = [
            Problem(f"there is no pool {name!r}; known: {known}", field=f"router.{field}")
            for name, field in zip(names, fields, strict=True)
            if name not in self.pool_names
        ]
        if problems:
            raise InputError(problems)
        return [self.pool_names.index(name) for name in names]


@dataclass(eq=False)
class Snapshot:
    """The replicas that a request may go to, as the router sees them: one entry each, k in all.

    Every replica is in it, unless the request is too long for some (`max_model_len`): then those
    are left out. It is good for one decision: the next one overwrites it.

    As configured: index, int64[k], which replica it is; pool, kv_capacity_tokens, block_size and
    seats as in `Fleet`.

    As of `taken_s` (seconds), after the last iteration that ended before: num_waiting, num_running:
    int64[k], requests. outstanding: int64[k], both together. waiting_tokens: int64[k], tokens that
    waiting requests have so far, their prompts mostly, without those that kept their KV blocks.
    kv_used_tokens: int64[k], what the KV blocks in use can hold. tokens: int64[k], both together.
    kv_used_frac: float64[k], the share of blocks that are in use. predicted_left: float64[k], see
    `Router.needs_predicted_left`.

    Since then, by the router's own count: sent: int64[k], requests it has sent there; sent_tokens:
    int64[k], of their prompts; sent_predicted: float64[k], output tokens predicted of them, as
    `predicted_left`. All are 0 if `fresh`: then every decision has a snapshot of its own.
    """

    index: NDArray[np.int64]
    pool: NDArray[np.int64]
    kv_capacity_tokens: NDArray[np.int64]
    block_size: NDArray[np.int64]
    seats: NDArray[np.int64]
    num_waiting: NDArray[np.int64]
    num_running: NDArray[np.int64]
    outstanding: NDArray[np.int64]
    waiting_tokens: NDArray[np.int64]
    kv_used_tokens: NDArray[np.int64]
    tokens: NDArray[np.int64]
    kv_used_frac: NDArray[np.float64]
    predicted_left: NDArray[np.float64]
    sent: NDArray[np.int64]
    sent_tokens: NDArray[np.int64]
    sent_predicted: NDArray[np.float64]
    taken_s: float = -np.inf
    fresh: bool = False

    def __len__(self) -> int:
        return len(self.index)

    @property
    def load(self) -> NDArray[np.int64]:
        """Requests there, those sent since the snapshot included: int64[k]."""
        return self.outstanding if self.fresh else self.outstanding + self.sent

    @property
    def token_load(self) -> NDArray[np.int64]:
        """Tokens there, prompts sent since the snapshot included: int64[k]."""
        return self.tokens if self.fresh else self.tokens + self.sent_tokens

    def only(self, positions: NDArray[np.int64]) -> Snapshot:
        """A copy that holds the replicas at `positions` (int64) alone, in that order."""
        columns = {
            field.name: getattr(self, field.name)[positions]
            for field in fields(self)
            if field.name not in ("taken_s", "fresh")
        }
        return replace(self, **columns)


# In words of its own, because pydantic reads the line below a field in its own class only.
_DELAY = (
    "Seconds for which the router goes on with what it knows of replicas: a snapshot is retaken at"
    " the first decision so long after the last one."
)


@dataclass(eq=False, kw_only=True)
class Router(Policy):
    """Chooses a replica for each request, at its arrival, blind to how long it will think."""

    snapshot_delay_s: Annotated[float, Field(ge=0.0, description=_DELAY)] = 0.0

    needs_snapshot: ClassVar[bool] = True
    """False of a router that looks at no figure of replicas: none are gathered for it."""
    needs_prediction: ClassVar[bool] = False
    """Whether it goes by predicted lengths, and cannot do without a predictor that has some."""
    needs_predicted_left: ClassVar[bool] = False
    """Whether `Snapshot.predicted_left` is worked out, NaN otherwise: the sum, over the requests at
    a replica, of the tokens predicted at their arrival less those generated, at least 1 each."""

    def start(self, fleet: Fleet, facts: RequestFacts, seed: int) -> None:
        """A run begins: these replicas, these requests. Raises `InputError` if it can't serve them.

        What a router remembers is set here; whatever is slow is done here.
        """
        self.fleet = fleet
        self.facts = facts
        self.seed = seed

    def choose(self, request: int, replicas: Snapshot) -> int:
        """Where `request` (a row of `facts`) goes: its position in the columns of `replicas`."""
        raise NotImplementedError

    def on_finish(self, ids: list[int]) -> None:
        """Requests `ids` got their last tokens. Whoever overrides it is told of every one.

        The run is slower for that: replicas must then stop at every completion.
        """

    def predicted_tokens(self) -> NDArray[np.float64]:
        """Output tokens that each request is expected to have when it arrives, float64[n].

        Raises `InputError` if the predictor knows of none.
        """
        rows = np.arange(len(self.facts))
        predicted = self.facts.predictor.total_tokens(rows, np.zeros_like(rows))
        if np.isnan(predicted).any():
            message = f"{kind_of(self)} goes by predicted lengths, and there are none"
            raise InputError(Problem(message, field="router"))
        return predicted

    def draws(self, stream: str, count: int = 1) -> NDArray[np.float64]:
        """`count` independent uniforms in (0, 1) of each request, float64[n, count].

        They belong to the request: nothing that happens during a run can move them.
        """
        origin = self.facts.origin
        rows = np.arange(len(self.facts)) if origin is None else origin
        n = int(rows.max(initial=-1)) + 1
        parts = [
            uniforms(self.seed, f"router_{stream}", "", n, sample=sample)
            for sample in range(-(-count // 4))
        ]
        return np.concatenate(parts, axis=1)[rows, :count]


def least_loaded(replicas: Snapshot, among: NDArray[np.bool_] | None = None) -> int:
    """Position of the replica with the fewest requests, the first of several.

    Of those in `among` (bool[k]); of all if none is.
    """
    if among is None or not among.any():
        return int(replicas.load.argmin())
    candidates = np.flatnonzero(among)
    return int(candidates[replicas.load[candidates].argmin()])


ROUTERS: Registry[type[Router]] = Registry("router")
