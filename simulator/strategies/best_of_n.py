"""Several attempts, and a verifier that picks one of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, NamedTuple

from pydantic import Field
from simpy import Event

from simulator.quality import NOBODY
from simulator.strategies.base import STRATEGIES, Answering, Call, Draft, Query, Strategy
from simulator.strategies.query import Request
from simulator.strategies.tally import in_order
from simulator.strategies.verdicts import Verdict, Verifier, best


class Judged(NamedTuple):
    """Attempts, and a verdict on each."""

    attempts: list[Call]
    verdicts: list[Verdict]


@STRATEGIES.register("best_of_n")
@dataclass(eq=False)
class BestOfN(Strategy):
    """`samples` attempts are made at once; each is judged when it is there; the best is taken.

    The verifier is a served model with a pool of its own, which reads the whole transcript, or
    something that takes `verifier_s`. An outcome reward model (orm) and a process reward model
    (prm) differ in their AUC: what right attempts score above wrong ones.
    """

    source: ClassVar[str] = (
        "Cobbe et al., Training verifiers to solve math word problems, arXiv:2110.14168 (ORM);"
        " Lightman et al., Let's verify step by step, arXiv:2305.20050 (PRM)"
    )
    compares_answers: ClassVar[bool] = True

    samples: Annotated[int, Field(ge=1, le=1024)] = 8
    """Attempts that are judged."""

    verifier: Literal["orm", "prm"] = "orm"
    """Whether the outcome or the process is judged."""

    auc: Annotated[float, Field(ge=0.5, lt=1.0)] | None = None
    """Chance that a right attempt scores above a wrong one; None: 0.8 for orm, 0.88 for prm."""

    verifier_pool: str | None = None
    """Pool of the verifier; None: it is not served."""

    verifier_s: Annotated[float, Field(ge=0.0)] = 0.0
    """Seconds that a verdict takes where the verifier is not served."""

    pool: Annotated[str | None, Field(description="Pool of the attempts; None: the first.")] = None

    def plan(self, draft: Draft) -> Judged:
        """Attempts at the same prompt, and a reading of each."""
        pool = draft.one_pool(self.pool)
        auc = self.auc if self.auc is not None else {"orm": 0.8, "prm": 0.88}[self.verifier]
        verifier = Verifier(auc, self.verifier == "prm", self.verifier_pool, self.verifier_s)
        attempts, verdicts = [], []
        for k in range(self.samples):
            said = draft.answers(k)
            assert said is not None
            attempt = draft.ask(draft.own, *draft.lengths(k), pool=pool, answers=said)
            attempts.append(attempt)
            place = draft.pools.index(pool)
            verdicts.append(verifier.plan(draft, attempt.transcript(), k, said, of_pool=place))
        return Judged(attempts, verdicts)

    def answer(self, query: Query, plan: Judged) -> Answering:
        """Have each attempt judged when it is there."""
        attempts = query.send_all(plan.attempts)
        verdict_of = dict(zip(plan.attempts, plan.verdicts, strict=True))
        judged: set[Request] = set()
        asked: dict[Request, Event] = {}
        while len(judged) < len(attempts):
            yield query.some(attempts, len(judged) + 1)
            for attempt in attempts:
                if attempt.over and attempt not in judged:
                    judged.add(attempt)
                    if attempt.completed:
                        asked[attempt] = verdict_of[attempt.call].ask(query)
        yield query.all(list(asked.values()))
        done = in_order(attempts)
        chosen = best((verdict_of[each.call].score(query, asked[each]), each) for each in done)
        return NOBODY if chosen is None else chosen.answer
