"""An order of the requests, and how well it agrees with the true one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from simulator.predictors.base import PREDICTORS, Predictor, Truth, draws

_GRID = 512  # requests, evenly spread over all by length, that the noise is worked out from
_MOST = 1e6  # times the noise: no order is asked for that would need more


@PREDICTORS.register("rank_only")
@dataclass(eq=False)
class RankOnly(Predictor):
    """Knows which of two requests is longer, and is wrong about some pairs.

    Requests are ordered by s z + e: z is the normal score of a request's true rank, e standard
    normal noise, and s such that of the pairs of different length, the share ordered right less
    the share ordered wrong is `tau` (Kendall's tau, as lengths hardly ever repeat; where many do,
    pairs of equal length count neither way, in whichever order they are put).

    The k-th in this order is handed the k-th smallest true length, as lengths in general are known
    from history: a guess in tokens, in which nothing but the order is about the request. A
    request that outlives it is expected to end with the next token.
    """

    source: ClassVar[str] = (
        "Fu et al., Efficient LLM scheduling by learning to rank, arXiv:2408.15792"
    )

    tau: Annotated[float, Field(ge=0.0, le=1.0)] = 0.5
    """Kendall's tau between the predicted and the true order: 1 is perfect, 0 knows nothing."""

    def start(self, truth: Truth, seed: int) -> None:
        """Put the requests in order."""
        from scipy.special import ndtri

        lengths = truth.output_tokens
        drawn = draws(truth, seed)
        by_length = np.lexsort((drawn[:, 1], lengths))
        ordered, places = lengths[by_length], np.arange(len(lengths))
        score = np.empty(len(lengths))
        score[by_length] = ndtri((places + 0.5) / len(lengths))
        strength = signal(self.tau, ordered)
        if strength < np.inf:
            score = strength * score + ndtri(drawn[:, 0])
        by_score = np.argsort(score, kind="stable")
        self._total = np.empty(len(lengths))
        # The fraction keeps apart what was put in order among equal lengths.
        self._total[by_score] = ordered + places / len(lengths)

    def total_tokens(
        self, rows: NDArray[np.int64], generated: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """The lengths that go with their places in the order."""
        return np.maximum(self._total[rows], generated + 1)


def signal(tau: float, lengths: NDArray[np.int64]) -> float:
    """How much stronger than the noise the true rank must be for an order of this `tau`; inf at 1.

    `lengths` (int64[n]) increase. Of requests with normal scores a < b, the longer is put last
    with probability Phi(s (b - a) / sqrt 2), so a pair brings erf(s (b - a) / 2) to tau. Their
    mean is taken over the pairs of different length of a grid of requests. Without repeated
    lengths that is a Gaussian copula, s = rho / sqrt(1 - rho^2) and tau = 2 asin(rho) / pi
    (Kruskal, Ordinal measures of association, 1958).
    """
    if tau == 1.0:
        return math.inf
    if tau == 0.0 or not len(lengths):
        return 0.0
    from scipy.optimize import brentq
    from scipy.special import erf, ndtri

    points = min(_GRID, len(lengths))
    share = (np.arange(points) + 0.5) / points
    chosen = lengths[(share * len(lengths)).astype(np.int64)]
    shorter, longer = np.nonzero(chosen[:, None] < chosen[None, :])
    if not len(shorter):
        return 0.0
    score = ndtri(share)
    apart = 0.5 * (score[longer] - score[shorter])

    def excess(log_signal: float) -> float:
        return float(erf(math.exp(log_signal) * apart).mean()) - tau

    low, high = -math.log(_MOST), math.log(_MOST)
    if excess(high) <= 0.0:
        return math.inf
    if excess(low) >= 0.0:
        return 0.0
    root: float = brentq(excess, low, high, xtol=1e-6)  # type: ignore[no-untyped-call]
    return math.exp(root)
