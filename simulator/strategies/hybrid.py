"""Think or don't: the model decides for each query whether thinking is worth it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from simulator.strategies.adaptive_budget import Labels
from simulator.strategies.base import STRATEGIES, Call, Draft, Strategy
from simulator.strategies.budget import cut


@STRATEGIES.register("hybrid")
@dataclass(eq=False)
class Hybrid(Strategy):
    """Queries that the model takes for easy are answered at once, the others after thinking."""

    source: ClassVar[str] = (
        "Qwen3 technical report, arXiv:2505.09388 (thinking and non-thinking mode in one model)"
    )

    hard_above: Annotated[float, Field(ge=0.0, le=1.0)] = 0.5
    """Difficulty above which a query is worth thinking."""

    easy_called_hard: Annotated[float, Field(ge=0.0, le=1.0)] = 0.1
    """Share of easy queries that are thought about all the same."""

    hard_called_easy: Annotated[float, Field(ge=0.0, le=1.0)] = 0.1
    """Share of hard queries that are answered at once."""

    def plan(self, draft: Draft) -> Call:
        """The attempt that the workload drew, or its answer alone."""
        hard = Labels(self.hard_above, self.easy_called_hard, self.hard_called_easy).of(draft)
        for pool in draft.pools if self.pool is None else [self.pool]:
            draft.check_answers_at_once(~hard, draft.pool(pool, "pool"))
        return cut(draft, np.where(hard, draft.lengths(0)[0], 0), self.pool)
