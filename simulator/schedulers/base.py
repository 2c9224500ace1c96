"""What a scheduler can decide, when it is asked, and where it is filed.

A scheduler orders the requests of one replica. It is asked only when a request arrives or leaves,
when KV runs short, when a review is due and, if it says so, when thinking ends; never in between,
so a run costs the same whether its batch decodes ten tokens or ten thousand. It sees requests as
columns (`RequestView`), as of the last iteration that has finished, and never how long they will
be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Final, Literal

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field

from simulator.policy import Policy, kind_of
from simulator.registry import Registry

if TYPE_CHECKING:
    from simulator.engine.config import EngineConfig
    from simulator.engine.views import RequestView
    from simulator.facts import RequestFacts


EPOCH_S = 1e9
"""Longer than any run (seconds): a rank less this comes before all others, plus this after them."""


def has_come(time_s: np.ndarray, now_s: float) -> np.ndarray:
    """Whether times (seconds) have come; False where one is NaN.

    With the clock's tolerance, as a review may be due so much before its time.
    """
    return np.asarray(time_s <= now_s + 1e-9 * now_s + 1e-12)


class Action:
    """What becomes of a running request that the scheduler was asked about.

    Plain numbers: NumPy takes several microseconds to look at one of an enum.
    """

    KEEP: Final = 0
    """It keeps its seat."""
    PARK: Final = 1
    """It gives up its seat and keeps its KV cache."""
    RECOMPUTE: Final = 2
    """It gives up its seat, and its KV cache is computed again later."""
    OFFLOAD: Final = 3
    """It gives up its seat, and its KV cache goes to host memory, as far as there is room: what has
    none, as on a replica without `host_kv_gib`, is computed again."""


class Scheduler(Policy):
    """Base of schedulers: override `rank`, and whatever else the policy decides.

    Every method takes columns of requests, one entry each, and the time `now_s` in seconds; where
    it returns one value a request, a single value stands for all of them.
    """

    rank_changes: ClassVar[Literal["never", "requeued", "running", "always"]] = "never"
    """When a rank must be asked for. `never`: only at the arrival. `requeued`: also when a request
    goes back to the queue. `running`: and of those that run, when one must be preempted. `always`:
    of all that wait, together, whenever one of several could be admitted."""

    reviews_on: ClassVar[frozenset[Literal["phase_change"]]] = frozenset()
    """`phase_change`: a review is due when a request has given its first answer token."""

    keeps_arrival_order: ClassVar[bool] = False
    """vLLM's fcfs: no ranks; first come, first served, and the last admitted is preempted."""

    foresees: ClassVar[bool] = False
    """What it says of a request at its arrival follows from that request alone, whatever else there
    is. It may then be asked about many at once, before they arrive: `now_s` is float64[k]."""

    when_displaced: ClassVar[Annotated[int, Field(ge=Action.PARK, le=Action.OFFLOAD)]] = (
        Action.RECOMPUTE
    )
    """The `Action` for a running request that `displace` or `select` pushes out."""

    work_conserving: ClassVar[bool] = True
    """Whether no seat is left empty while the first of the queue would fit: false of one that
    reserves more than a request needs."""

    needs_prediction: ClassVar[bool] = False
    """Whether it reads `predicted_tokens`, so that a predictor must be configured."""

    needs_deadline: ClassVar[bool] = False
    """Whether it goes by `deadline_s`, so that some class of requests must have a target e2el_s."""

    needs_priority: ClassVar[bool] = False
    """Whether it goes by `priority`, so that some classes of requests must differ in it."""

    @property
    def offloads(self) -> bool:
        """Whether it may move KV to host memory, which the replica then must have."""
        return self.when_displaced == Action.OFFLOAD

    def start(self, facts: RequestFacts, config: EngineConfig) -> None:
        """Called once, before the run, for each replica: every replica has a scheduler of its own.

        `facts`: what is known of all requests of the run; `config`: the replica's engine.
        """

    def rank(self, view: RequestView, now_s: float) -> ArrayLike:
        """The order in which waiting requests are admitted: lowest first, ties by arrival."""
        raise NotImplementedError(f"{kind_of(self)} must define rank")

    def victim(self, running: RequestView, now_s: float) -> int:
        """KV ran short: the place in `running` of the request that is preempted.

        Unless it is overridden, that is the one of the highest rank and, of these, the latest.
        """
        raise NotImplementedError

    def displace(self, candidate: RequestView, running: RequestView, now_s: float) -> int | None:
        """May the first of the queue, which does not fit, push out a running request?

        Returns whose place in `running` it gets, or None. Asked again until it fits; if it never
        does, nobody is pushed out.
        """
        raise NotImplementedError

    def select(self, waiting: RequestView, running: RequestView, now_s: float) -> ArrayLike:
        """For policies that look at the whole queue: the ids that should run, the best first.

        Running requests that are not among them lose their seats; waiting ones are admitted in
        this order as far as they fit, and all others after them.
        """
        raise NotImplementedError

    def review_tokens(self, view: RequestView, now_s: float) -> ArrayLike:
        """Output tokens from now after which the scheduler is asked again; infinite for never."""
        return np.inf

    def review_at(self, view: RequestView, now_s: float) -> ArrayLike:
        """Time (seconds) at which it is asked again; infinite for never.

        A time that was set for a waiting request is forgotten when it gets a seat, and one of a
        running request when it loses it. A waiting request is then ranked anew.
        """
        return np.inf

    def on_review(self, view: RequestView, now_s: float) -> ArrayLike:
        """Reviews of running requests are due: an `Action` for each.

        Anything but KEEP is done only if a waiting request needs the seat and ranks before it; the
        rank is asked for again first. While nobody waits, or the first of the queue fits, no review
        is due.
        """
        return Action.KEEP

    def reserve_tokens(self, view: RequestView) -> ArrayLike:
        """KV tokens that must be free, next to those reserved by running requests, to admit it."""
        return 0

    def on_arrival(self, view: RequestView, now_s: float) -> None:
        """Requests have arrived."""

    def on_progress(self, view: RequestView, tokens: np.ndarray) -> None:
        """Requests have given `tokens` (int64[k]) output tokens since last heard of, maybe none.

        All that have a seat, or had one and have left: before anything else is asked at an
        iteration boundary, though not at an arrival.
        """

    def on_finish(self, view: RequestView, now_s: float) -> None:
        """Requests have given their last token and left."""


SCHEDULERS: Registry[type[Scheduler]] = Registry("scheduler")
