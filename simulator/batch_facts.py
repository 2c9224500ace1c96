"""What the policies of a run are told of a batch: what all may see, and what predictors know."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from simulator.difficulty import NoisyClassifier
from simulator.facts import LengthPredictor, RequestFacts
from simulator.labels import first_request_of_query
from simulator.predictors import Truth
from workloads.batch import RequestBatch


def facts_of(
    batch: RequestBatch,
    slo: Mapping[str, float],
    predictor: LengthPredictor | None,
    *,
    origin: NDArray[np.int64] | None = None,
) -> RequestFacts:
    """What policies may know of the requests of `batch`.

    `slo`: the experiment's latency targets, seconds by name; a class's own take their place. The
    last token of a request is due within its e2el target. `predictor` None predicts nothing.
    `origin`: int64[n], the rows that the requests had when they were drawn, if they have moved.
    """
    plain = RequestFacts.plain(batch.prompt_tokens, batch.max_tokens)
    targets = [batch.class_slo.get(name, slo).get("e2el_s", math.inf) for name in batch.class_names]
    priorities = [batch.class_priority.get(name, 0) for name in batch.class_names]
    first = first_request_of_query(batch)
    return replace(
        plain,
        class_id=batch.class_id,
        class_names=batch.class_names,
        client_id=plain.client_id if batch.client_id is None else batch.client_id,
        client_names=batch.client_names,
        session_id=plain.session_id if batch.sessions is None else batch.sessions.session_id,
        query_id=plain.query_id if first is None else first,
        priority=np.array(priorities, dtype=np.int64)[batch.class_id],
        due_s=np.array(targets)[batch.class_id],
        predictor=predictor or plain.predictor,
        segments=batch.segments,
        classifier=None if batch.difficulty is None else NoisyClassifier(batch.difficulty, origin),
        origin=origin,
    )


def truth_of(batch: RequestBatch) -> Truth:
    """The lengths of the requests of `batch`, for a predictor."""
    return Truth(
        prompt_tokens=batch.prompt_tokens,
        thinking_tokens=batch.thinking_tokens,
        answer_tokens=batch.answer_tokens,
        max_tokens=batch.max_tokens,
        class_id=batch.class_id,
        class_names=batch.class_names,
    )
