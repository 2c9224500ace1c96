"""Ask now and then whether the answer has settled, and stop thinking when it has."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar, NamedTuple

import numpy as np
from pydantic import Field

from simulator.quality import NOBODY, AttemptLuck
from simulator.quality.probe import StabilityProbe, settled_tokens
from simulator.strategies.base import STRATEGIES, Answering, Call, Draft, Query, Strategy
from workloads.batch import MAX_TOKENS


class Stretch(NamedTuple):
    """Thinking up to a probe, the probe, and the answer for those who stop after it."""

    think: Call | None
    probe: Call | None
    answer: Call


@STRATEGIES.register("early_exit")
@dataclass(eq=False)
class EarlyExit(Strategy):
    """Streaming verification: every `probe_every_tokens` the model is made to answer at once.

    When `patience` probes in a row say that the answer is stable, thinking stops there and the
    answer is written. A probe is a request of its own, on the KV that thinking left in the prefix
    cache; thinking waits for it. An engine that probes by itself (`inline`) needs one request.
    """

    source: ClassVar[str] = (
        "Fu et al., Efficiently serving LLM reasoning programs with Certaindex (Dynasor),"
        " arXiv:2412.20993"
    )
    compares_answers: ClassVar[bool] = True

    probe_every_tokens: Annotated[int, Field(ge=1, le=MAX_TOKENS)] = 1024
    """Thinking tokens from one probe to the next."""

    probe_prompt_tokens: Annotated[int, Field(ge=0, le=MAX_TOKENS)] = 16
    """Tokens put behind the thinking to make the model answer."""

    probe_tokens: Annotated[int, Field(ge=1, le=MAX_TOKENS)] = 20
    """Tokens that a probe generates."""

    patience: Annotated[int, Field(ge=1)] = 2
    """Probes in a row that must find the answer stable."""

    false_stable: Annotated[float, Field(ge=0.0, le=1.0)] = 0.05
    """Chance that a probe finds an answer stable which is still to change."""

    missed_stable: Annotated[float, Field(ge=0.0, le=1.0)] = 0.1
    """Chance that a probe does not see that the answer is stable."""

    inline: bool = False
    """Probes are made within the request, by the engine; their tokens count as thinking."""

    pool: Annotated[str | None, Field(description="Pool that thinks; None: the first.")] = None

    def plan(self, draft: Draft) -> list[Stretch]:
        """Stretches of the attempt that the workload drew, as long as any query goes on."""
        pool = draft.one_pool(self.pool)
        whole = draft.lengths(0)[0]
        natural, answer = draft.lengths_below_cap(0)
        probe = StabilityProbe(
            self.probe_every_tokens,
            self.probe_tokens,
            self.patience,
            self.false_stable,
            self.missed_stable,
        )
        judge = draft.judge
        drawn_0 = judge.uniforms(0)
        settled = judge.of_pool(
            draft.pools.index(pool),
            lambda model, rows: settled_tokens(
                model, judge.difficulty[rows], drawn_0[rows], whole[rows]
            ),
        )
        luck = AttemptLuck(draft.seed, stream="probe")
        first = np.zeros_like(judge.query)
        stop, probes = probe.exit_tokens(settled, natural, luck, judge.query, first)
        said = draft.answers(0, stop)
        if self.inline:
            thinking = stop + probes * self.probe_tokens
            call = draft.ask(draft.own, thinking, answer, pool=pool, answers=said)
            return [Stretch(None, None, call)]
        stretches: list[Stretch] = []
        think: Call | None = None
        most = max(math.ceil(stop.max(initial=0) / self.probe_every_tokens), 1)
        for number in range(1, most + 1):
            before, end = (
                np.minimum(stop, k * self.probe_every_tokens) for k in (number - 1, number)
            )
            here = (end > before) | (number == 1)
            think = draft.ask(
                draft.own if think is None else think.transcript(),
                end - before,
                0,
                pool=pool,
                where=end > before,
                goes_on=think,
            )
            asked = here & (probes >= number)
            asking = think.transcript().then(draft.new(self.probe_prompt_tokens))
            look = draft.ask(asking, 0, self.probe_tokens, pool=pool, where=asked)
            final = draft.ask(
                think.transcript(), 0, answer, pool=pool, where=here & (end == stop), answers=said
            )
            stretches.append(Stretch(think, look, final))
        return stretches

    def answer(self, query: Query, plan: list[Stretch]) -> Answering:
        """Think on until the probes agree, or the thinking is over."""
        for stretch in plan:
            if stretch.think is not None and query.has(stretch.think):
                thought = query.send(stretch.think)
                yield thought
                if not thought.completed:
                    return NOBODY
            if stretch.probe is not None and query.has(stretch.probe):
                probe = query.send(stretch.probe)
                yield probe
                if not probe.completed:
                    return NOBODY
            if query.has(stretch.answer):
                final = query.send(stretch.answer)
                yield final
                return final.answer
        return NOBODY
