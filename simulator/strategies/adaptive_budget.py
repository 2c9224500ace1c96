"""As many thinking tokens as pay: more where they help more, by predicted difficulty."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from simulator.errors import InputError, Problem
from simulator.strategies.base import STRATEGIES, Call, Draft, Strategy
from simulator.strategies.budget import cut

_CAPS = 64  # budgets that are compared, evenly spaced in their logarithm


@dataclass(frozen=True)
class Labels:
    """A classifier of difficulty, by its errors; see `simulator.facts.DifficultyClassifier`."""

    hard_above: float
    easy_called_hard: float
    hard_called_easy: float

    def of(self, draft: Draft) -> NDArray[np.bool_]:
        """Which queries it calls hard, bool[n]. Raises `InputError` where nobody could know."""
        if draft.classifier is None:
            message = "the workload does not say how difficult queries are: give `difficulty`"
            raise InputError(Problem(message, field="workload"))
        return draft.classifier.says_hard(
            draft.seed,
            hard_above=self.hard_above,
            easy_called_hard=self.easy_called_hard,
            hard_called_easy=self.hard_called_easy,
        )


@STRATEGIES.register("adaptive_budget")
@dataclass(eq=False)
class AdaptiveBudget(Strategy):
    """Each class, easy queries and hard ones apart, gets the budget that pays best.

    That is the cap c with the greatest V * acc(c) - lambda * E[min(T, c)]: V the value of a right
    answer, lambda the price of a token, T the thinking that a query wants. Accuracy and T are known
    of a group's queries in the mean only, as an evaluation tells them.
    """

    source: ClassVar[str] = (
        "marginal value = price; cf. Snell et al., Scaling LLM test-time compute optimally,"
        " arXiv:2408.03314"
    )
    compares_answers: ClassVar[bool] = True

    usd_per_million_tokens: Annotated[float, Field(ge=0.0)] = 10.0
    """Price of a thinking token, as the operator or the user sees it (US dollars per million)."""

    value_usd: Annotated[float, Field(ge=0.0)] | None = None
    """What a right answer is worth (US dollars); None: `value_usd` of the class."""

    hard_above: Annotated[float, Field(ge=0.0, le=1.0)] = 0.5
    """Difficulty above which a query is hard."""

    easy_called_hard: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    """Share of easy queries that are taken for hard ones."""

    hard_called_easy: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    """Share of hard queries that are taken for easy ones."""

    def plan(self, draft: Draft) -> Call:
        """The attempt that the workload drew, cut where more would not pay."""
        queries = draft.queries
        value = queries.value_usd if self.value_usd is None else np.full(len(draft), self.value_usd)
        if np.isnan(value).any():
            name = queries.class_names[queries.class_id[int(np.argmax(np.isnan(value)))]]
            message = f"class {name} says not what a right answer is worth: give value_usd"
            raise InputError(Problem(message, field="strategy"))
        hard = Labels(self.hard_above, self.easy_called_hard, self.hard_called_easy).of(draft)
        natural = draft.lengths(0)[0]
        cap = np.zeros(len(draft), dtype=np.int64)
        for class_id in np.unique(queries.class_id):
            for label in (False, True):
                group = (queries.class_id == class_id) & (hard == label)
                if group.any():
                    cap[group] = self.best_cap(draft, group, natural, float(value[group][0]))
        return cut(draft, np.minimum(natural, cap), self.pool)

    def best_cap(
        self, draft: Draft, group: NDArray[np.bool_], natural: NDArray[np.int64], value: float
    ) -> int:
        """The cap that pays best for the queries `group` (bool[n]), tokens."""
        most = max(int(natural[group].max()), 1)
        caps = np.unique(np.geomspace(1, most, _CAPS).astype(np.int64))
        pool = draft.pools.index(draft.one_pool(self.pool))
        gains = []
        for cap in (0, *caps.tolist()):
            given = np.minimum(natural, cap)
            chance = draft.mean_chance(group, pool, given)
            price = self.usd_per_million_tokens * 1e-6 * float(given[group].mean())
            gains.append((value * chance - price, cap))
        return int(max(gains, key=lambda pair: pair[0])[1])
