"""A small overloaded cluster behind an admission control, for the tests."""

from dataclasses import replace

import numpy as np

from simulator.cluster.cluster import Cluster
from simulator.cluster.pool import PoolPlan
from simulator.engine.config import EngineConfig
from simulator.engine.request import new_requests
from simulator.facts import RequestFacts
from simulator.policy import build
from simulator.predictors import PREDICTORS, Truth
from simulator.routers.round_robin import RoundRobin
from simulator.testing import linear_cost

SEATS = 4
STEP_S = 0.05  # an iteration of anything


def facts_of(n, predictor=None, *, prompt_tokens=50, client_id=0, clients=1, due_s=np.inf):
    """What is known of n requests when they arrive."""

    def column(value, dtype=np.int64):
        return np.array(np.broadcast_to(value, (n,)), dtype=dtype)

    plain = RequestFacts.plain(column(prompt_tokens))
    return replace(
        plain,
        client_id=column(client_id, np.int32),
        due_s=column(due_s, np.float64),
        predictor=predictor or plain.predictor,
        client_names=tuple(f"client{k}" for k in range(clients)),
    )


def predicted(kind, output_tokens, seed=0, **parameters):
    """A predictor that was told these lengths."""
    lengths = np.asarray(output_tokens, dtype=np.int64)
    zeros = np.zeros_like(lengths)
    predictor = build(PREDICTORS[kind], parameters)
    predictor.start(Truth(zeros + 1, zeros, lengths, zeros, zeros.astype(np.int32)), seed)
    return predictor


def run(
    admission,
    facts,
    arrival_s,
    output_tokens,
    *,
    replicas=2,
    asynchronous=False,
    stepping="span",
    **options,
):
    """Serve requests behind `admission`, which is started here; returns requests and outcome."""
    if admission is not None:
        admission.start(facts)
    config = EngineConfig(
        num_gpu_blocks=4001,
        max_model_len=4000,
        max_num_seqs=SEATS,
        async_scheduling=asynchronous,
        stepping=stepping,
    )
    cost = linear_cost(STEP_S, 0.0, 0.0, max_tokens=config.max_num_batched_tokens, max_seqs=SEATS)
    requests = new_requests(arrival_s, facts.prompt_tokens, output_tokens)
    cluster = Cluster(
        requests,
        RoundRobin(),
        [PoolPlan("only", config, cost, replicas)],
        sample_interval_s=10.0,
        admission=admission,
        check_integrity=True,
        **options,
    )
    return requests, cluster.run()


def traffic(n=300, seed=0, *, rate_rps=5.0, mean_tokens=60):
    """Arrival times and output lengths; the default is twice what two replicas can serve."""
    random = np.random.default_rng(seed)
    arrival_s = np.cumsum(random.exponential(1 / rate_rps, n))
    return arrival_s, random.geometric(1 / mean_tokens, n)
