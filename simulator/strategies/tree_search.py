"""Tree search over steps of thinking that can go back: the most promising leaf is grown next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from simulator.strategies.base import STRATEGIES, Call, Draft
from simulator.strategies.prompts import choose
from simulator.strategies.steps import Chains, Search, StepSearch
from simulator.strategies.verdicts import Verdict


@STRATEGIES.register("tree_search")
@dataclass(eq=False)
class TreeSearch(StepSearch):
    """`expansions` times the leaf of the highest priority grows `branches` next steps.

    The priority of a leaf is its step's score, and `exploration` sqrt(ln(1 + e) / (1 + v)) as in
    UCT: e expansions so far, v those among its siblings. A leaf elsewhere may be better than all
    that has just grown: then the search goes back. It ends when the best leaf is a whole chain, or
    the expansions are used up: then the best leaf is thought to its end without search.
    """

    source: ClassVar[str] = (
        "Yao et al., Tree of thoughts, arXiv:2305.10601; Zhang et al., ReST-MCTS*, arXiv:2406.03816"
    )
    compares_answers: ClassVar[bool] = True

    expansions: Annotated[int, Field(ge=1, le=1024)] = 16
    """Most leaves that grow."""

    branches: Annotated[int, Field(ge=1, le=64)] = 3
    """Next steps of each."""

    exploration: Annotated[float, Field(ge=0.0)] = 0.5
    """Weight of what has hardly been tried."""

    def plan(self, draft: Draft) -> Search:
        """All expansions; which leaves they grow from follows from the scores."""
        chains = Chains(self, draft)
        n, rows = len(draft), np.arange(len(draft))
        size = 1 + self.expansions * self.branches
        score = np.full((size, n), -np.inf)
        depth, visits = np.zeros((2, size, n), dtype=np.int64)
        parent = np.zeros((size, n), dtype=np.int64)
        sound = np.zeros((size, n), dtype=bool)
        score[0], sound[0] = 0.0, True
        transcripts = [draft.own]
        steps: list[list[Call]] = []
        verdicts: list[list[Verdict]] = []
        searching = np.ones(n, dtype=bool)
        chosen = np.zeros(n, dtype=np.int64)
        for number in range(self.expansions):
            tried = np.log1p(number) / (1 + visits[parent, rows])
            best = np.argmax(score + self.exploration * np.sqrt(tried), axis=0)
            chosen = np.where(searching, best, chosen)
            searching = searching & (depth[chosen, rows] < chains.steps)
            if not searching.any():
                break
            prompt = choose(transcripts, chosen)
            made = [
                chains.step(prompt, sound[chosen, rows], searching) for _ in range(self.branches)
            ]
            for call, _, is_sound, scores in made:
                node = len(transcripts)
                transcripts.append(call.transcript())
                score[node] = np.where(searching, scores, -np.inf)
                sound[node] = is_sound
                depth[node] = depth[chosen, rows] + 1
                parent[node] = chosen
            score[chosen, rows] = np.where(searching, -np.inf, score[chosen, rows])
            visits[chosen, rows] += searching
            steps.append([call for call, *_ in made])
            verdicts.append([verdict for _, verdict, *_ in made])
        chosen = np.where(searching, np.argmax(score, axis=0), chosen)
        final = chains.finish(choose(transcripts, chosen), sound[chosen, rows], depth[chosen, rows])
        return Search(steps, verdicts, final)
