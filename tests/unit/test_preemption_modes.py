"""What becomes of a preempted request's KV: recomputed, swapped, or checkpointed."""

import numpy as np
import pytest

from simulator.engine.config import EngineConfig
from simulator.engine.request import COMPLETED, new_requests
from simulator.testing import linear_cost, serve

PROMPT, OUTPUT, HOST_S = 64, 100, 1e-3


def run(preemption, *, host_kv_tokens=100_000, asynchronous=False, **options):
    """Four requests in a cache for hardly more than two; returns the table and the replica."""
    config = EngineConfig(
        num_gpu_blocks=400,
        max_model_len=200,
        max_num_seqs=4,
        block_size=1,
        max_num_batched_tokens=256,
        preemption=preemption,
        host_kv_tokens=host_kv_tokens,
        host_token_s=HOST_S,
        async_scheduling=asynchronous,
        **options,
    )
    requests = new_requests(np.zeros(4), PROMPT, OUTPUT, max_tokens=OUTPUT)
    cost = linear_cost(1.0, 0.0, 0.0, max_tokens=256, max_seqs=4)
    replica = serve(config, cost, requests, traced=True)
    assert (requests["status"] == COMPLETED).all()
    assert (requests["generated_tokens"] == OUTPUT).all()
    assert requests["preemptions"].sum() > 0
    state = replica.arrays.state[0]
    assert state["free_blocks"] == 399
    assert state["host_tokens_left"] == host_kv_tokens
    return requests, replica


@pytest.mark.parametrize("asynchronous", [False, True])
def test_swapping_recomputes_nothing_and_waits_for_the_bus(asynchronous):
    requests, replica = run("swap", asynchronous=asynchronous)
    assert requests["recomputed_tokens"].sum() == 0
    assert replica.arrays.state[0]["prefill_tokens"] >= 4 * PROMPT
    # Every iteration takes a second; what is above that is KV going out and coming back.
    moved_s = sum(step.dt_s - 1.0 for step in replica.steps)
    tokens = moved_s / HOST_S
    assert tokens == pytest.approx(round(tokens), abs=1e-6)
    assert round(tokens) % 2 == 0  # out and back
    assert round(tokens) >= 2 * PROMPT * requests["preemptions"].sum()


def test_recomputing_moves_nothing():
    requests, replica = run("recompute")
    assert requests["recomputed_tokens"].sum() >= PROMPT * requests["preemptions"].sum()
    assert all(step.dt_s == pytest.approx(1.0) for step in replica.steps)


def test_a_checkpoint_saves_whole_chunks():
    requests, replica = run("checkpoint", checkpoint_tokens=50)
    assert (requests["recomputed_tokens"] < 50 * np.maximum(requests["preemptions"], 1)).all()
    fetched = sum(step.dt_s - 1.0 for step in replica.steps) / HOST_S
    assert round(fetched) % 50 == 0  # only back: out was on the side
    assert round(fetched) > 0


def test_what_does_not_fit_the_host_is_recomputed():
    small, _ = run("swap", host_kv_tokens=10)
    plain, _ = run("recompute")
    assert small["recomputed_tokens"].tolist() == plain["recomputed_tokens"].tolist()
    np.testing.assert_allclose(small["finish_s"], plain["finish_s"], rtol=1e-12)


def test_swapping_is_cheaper_than_recomputing_when_the_bus_is_fast():
    def total_prefill(preemption):
        _, replica = run(preemption)
        return int(replica.arrays.state[0]["prefill_tokens"])

    assert total_prefill("swap") < total_prefill("recompute")
