"""Small cases of scheduling that can be worked out by hand, for the tests of schedulers.

Every iteration takes one second, whatever is in it, and a prompt is computed in one of them, which
gives the first output token. So a request of k output tokens takes k iterations; one that arrives
during an iteration is seen at its end; and KV that was lost is computed in the iteration that gives
the next token. Blocks hold one token.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from simulator.engine.config import EngineConfig
from simulator.engine.request import COMPLETED, new_requests
from simulator.facts import RequestFacts
from simulator.policy import build
from simulator.predictors import PREDICTORS, Truth
from simulator.schedulers import SCHEDULERS
from simulator.testing import linear_cost, serve


def served(
    kind: str,
    arrival_s: list[float],
    output_tokens: list[int],
    *,
    prompt_tokens: int | list[int] = 1,
    thinking_tokens: int | list[int] = 0,
    max_tokens: int | list[int] = 0,
    seats: int = 1,
    usable_blocks: int = 1000,
    facts: dict[str, Any] | None = None,
    **parameters: Any,
) -> tuple[str, np.ndarray]:
    """Who got a token in each iteration, and the table of requests.

    Requests are called A, B, ... in order of arrival; "A AB B" is three iterations, the second of
    both. Lengths are foretold without error. `facts` replaces columns of `RequestFacts`. In span
    and in iteration stepping, which must agree.
    """
    told = []
    for stepping in ("span", "iteration"):
        requests = new_requests(
            arrival_s, prompt_tokens, output_tokens, thinking_tokens, max_tokens
        )
        count = len(requests)
        oracle = PREDICTORS["oracle"]()
        columns = ("prompt_tokens", "thinking_tokens")
        oracle.start(
            Truth(
                *(requests[name].astype(np.int64) for name in columns),
                answer_tokens=requests["output_tokens"] - requests["thinking_tokens"],
                max_tokens=requests["max_tokens"].astype(np.int64),
                class_id=np.zeros(count, dtype=np.int32),
            ),
            seed=0,
        )
        plain = RequestFacts.plain(requests["prompt_tokens"], requests["max_tokens"])
        config = EngineConfig(
            num_gpu_blocks=usable_blocks + 1,
            max_model_len=usable_blocks,
            block_size=1,
            max_num_seqs=seats,
            stepping=stepping,
        )
        replica = serve(
            config,
            linear_cost(1.0, 0.0, 0.0, max_tokens=8192, max_seqs=seats),
            requests,
            scheduler=build(SCHEDULERS[kind], parameters),
            facts=replace(plain, predictor=oracle, **(facts or {})),
            traced=True,
        )
        assert (requests["status"] == COMPLETED).all()
        steps = ("".join(sorted(chr(65 + i) for i, _ in step.scheduled)) for step in replica.steps)
        told.append((" ".join(steps), requests))
    assert told[0][0] == told[1][0]
    return told[0]


def alone(timeline: str) -> str:
    """A timeline of one seat without the spaces."""
    assert all(len(word) == 1 for word in timeline.split())
    return timeline.replace(" ", "")
