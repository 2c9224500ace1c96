"""Queries that strategies answered, as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from simulator.engine.request import CANCELLED, REJECTED
from simulator.quality import NOBODY, RIGHT

if TYPE_CHECKING:
    from simulator.cluster.outcome import Outcome
    from simulator.cluster.replies import Replies

ANSWERS = ("right", "wrong", "none")


def reply_table(outcome: Outcome, replies: Replies, measured: NDArray[np.bool_]) -> pd.DataFrame:
    """One row per query that arrived, in order of arrival, numbered by `query_id`.

    Besides the columns of `metrics.latency.query_table`: `client`; `answer`, one of `ANSWERS`, null
    where nobody judges or the run ended first; `difficulty` (NaN: unknown); and over all requests
    that it sent, `prompt_tokens`, `generated_tokens`, and `cancelled_tokens` of those it took back.
    measured: bool[m], of the requests of the plan.
    """
    plan, queries = replies.plan, replies.plan.queries
    count = int((~np.isnan(replies.arrival_s)).sum())  # they come in their order
    sent, table = plan.query[outcome.rows], outcome.requests

    def total(column: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.bincount(sent, column, minlength=count)[:count].astype(np.int64)

    done_s = replies.done_s[:count]
    requests = total(np.ones(len(sent), dtype=np.int64))
    over = ~np.isnan(done_s)
    refused = total((table["status"] == REJECTED).astype(np.int64))
    answered = over & (replies.answer[:count] != NOBODY)
    if not plan.judged:
        answered = over & (refused < np.maximum(requests, 1))
    status = np.where(answered, "completed", np.where(over, "unanswered", "unfinished"))
    status[over & (requests > 0) & (refused == requests)] = "rejected"
    code = np.full(count, -1)
    if plan.judged:
        right = replies.answer[:count] == RIGHT
        code[over] = np.where(right, 0, np.where(answered, 1, 2))[over]
    measured_queries = np.zeros(len(queries), dtype=bool)
    measured_queries[plan.query[measured]] = True
    client = np.zeros(count, np.int64) if queries.client_id is None else queries.client_id[:count]
    names = queries.class_names, queries.client_names
    arrival_s = replies.arrival_s[:count]
    return pd.DataFrame(
        {
            "query_id": np.arange(count),
            "class": pd.Categorical.from_codes(
                queries.class_id[:count].tolist(), pd.Index(names[0])
            ),
            "client": pd.Categorical.from_codes(client.tolist(), pd.Index(names[1])),
            "arrival_s": arrival_s,
            "finish_s": done_s,
            "tta_s": np.where(status == "completed", done_s - arrival_s, np.nan),
            "requests": requests,
            "status": status,
            "measured": measured_queries[:count],
            "answer": pd.Categorical.from_codes(code.tolist(), pd.Index(ANSWERS)),
            "difficulty": np.full(count, np.nan)
            if queries.difficulty is None
            else queries.difficulty[:count],
            "prompt_tokens": total(table["prompt_tokens"]),
            "generated_tokens": total(table["generated_tokens"]),
            "cancelled_tokens": total(
                np.where(table["status"] == CANCELLED, table["generated_tokens"], 0)
            ),
        }
    )
