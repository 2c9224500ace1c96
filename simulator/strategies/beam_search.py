"""Beam search over steps of thinking: the steps that look best are gone on from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from simulator.strategies.base import STRATEGIES, Call, Draft
from simulator.strategies.prompts import choose
from simulator.strategies.steps import Chains, Search, StepSearch
from simulator.strategies.verdicts import Verdict


@STRATEGIES.register("beam_search")
@dataclass(eq=False)
class BeamSearch(StepSearch):
    """`width` chains are kept; each grows `branches` next steps, of which the best `width` stay.

    Chains share the KV of the path that they have in common, by the prefix cache.
    """

    source: ClassVar[str] = (
        "Snell et al., Scaling LLM test-time compute optimally, arXiv:2408.03314 (beam search"
        " against a process reward model)"
    )
    compares_answers: ClassVar[bool] = True

    width: Annotated[int, Field(ge=1, le=64)] = 2
    """Chains that are kept."""

    branches: Annotated[int, Field(ge=1, le=64)] = 4
    """Next steps of each."""

    def plan(self, draft: Draft) -> Search:
        """All steps of all depths; which ones they go on from follows from the scores."""
        chains = Chains(self, draft)
        kept = [draft.own] * self.width
        sound = [np.ones(len(draft), dtype=bool)] * self.width
        levels: list[list[Call]] = []
        verdicts: list[list[Verdict]] = []
        for depth in range(int(chains.steps.max())):
            where = chains.steps > depth
            grown = [
                chains.step(kept[parent], sound[parent], where)
                for parent in range(self.width if depth else 1)
                for _ in range(self.branches if depth else self.width * self.branches)
            ]
            scores = np.stack([score for *_, score in grown])
            order = np.argsort(-scores, axis=0, kind="stable")
            transcripts = [call.transcript() for call, *_ in grown]
            soundness = np.stack([each for _, _, each, _ in grown])
            rows = np.arange(len(draft))
            for place in range(self.width):
                going = choose([kept[place], choose(transcripts, order[place])], where.astype(int))
                kept[place] = going
                sound[place] = np.where(where, soundness[order[place], rows], sound[place])
            levels.append([call for call, *_ in grown])
            verdicts.append([verdict for _, verdict, *_ in grown])
        final = chains.finish(kept[0], sound[0], chains.steps)
        return Search(levels, verdicts, final)
