"""KV compression: what a budget does to blocks, to the time of iterations, and to nothing else."""

import numpy as np
import pytest

from simulator.engine.config import EngineConfig
from simulator.engine.request import COMPLETED, new_requests
from simulator.errors import InputError
from simulator.testing import linear_cost, serve

CONTEXT_S = 1e-3  # per token of context read: time tells how much KV there is
PROMPT, OUTPUT = 40, 200


def config(**options):
    settings = {
        "num_gpu_blocks": 401,
        "max_model_len": 400,
        "max_num_seqs": 8,
        "block_size": 1,
        "kv_compression_interval": 10,
        **options,
    }
    return EngineConfig(**settings)


def cost(fixed_s=1.0):
    return linear_cost(fixed_s, 0.0, CONTEXT_S, max_tokens=8192, max_seqs=8)


def alone(**options):
    """One request of 40 + 200 tokens; returns its table and replica."""
    requests = new_requests([0.0], PROMPT, OUTPUT)
    replica = serve(config(**options), cost(), requests, traced=True)
    return requests, replica


def expected_durations(keep, interval=10, token_s=0.0):
    """By hand: iteration n reads all KV there is; before it, n a multiple, KV is cut to `keep`."""
    held = PROMPT
    durations = [1.0 + CONTEXT_S * held]
    for n in range(1, OUTPUT):
        extra_s = 0.0
        if n % interval == 0 and held > keep(held, PROMPT + n):
            extra_s = held * token_s
            held = keep(held, PROMPT + n)
        held += 1
        durations.append(1.0 + CONTEXT_S * held + extra_s)
    return durations


@pytest.mark.parametrize("stepping", ["span", "iteration"])
def test_a_budget_in_tokens_bounds_what_is_read(stepping):
    requests, replica = alone(kv_budget_tokens=64, stepping=stepping)
    want = expected_durations(lambda held, known: 64)
    assert [step.dt_s for step in replica.steps] == pytest.approx(want, rel=1e-12)
    assert requests["generated_tokens"].tolist() == [OUTPUT]
    assert max(400 - step.free_blocks for step in replica.steps) == 64 + 10


def test_a_budget_as_a_part_follows_the_request():
    _, replica = alone(kv_budget_frac=0.5)
    # At iteration n the request has PROMPT + n - 1 tokens whose KV was computed.
    want = expected_durations(lambda held, known: int(np.ceil(0.5 * (known - 1))))
    assert [step.dt_s for step in replica.steps] == pytest.approx(want, rel=1e-12)


def test_choosing_what_stays_takes_time():
    _, replica = alone(kv_budget_tokens=64, kv_compression_token_s=1e-4)
    want = expected_durations(lambda held, known: 64, token_s=1e-4)
    assert [step.dt_s for step in replica.steps] == pytest.approx(want, rel=1e-12)


def test_a_budget_that_is_never_reached_changes_nothing():
    plain, with_budget = alone(), alone(kv_budget_tokens=PROMPT + OUTPUT)
    assert plain[0].tobytes() == with_budget[0].tobytes()
    assert with_budget[1].arrays.state[0]["spans"] == plain[1].arrays.state[0]["spans"]


def test_more_requests_run_at_once():
    def peak(**options):
        requests = new_requests(np.zeros(8), PROMPT, OUTPUT)
        replica = serve(config(**options), cost(), requests, traced=True)
        assert (requests["status"] == COMPLETED).all()
        assert (requests["generated_tokens"] == OUTPUT).all()
        late = [step.num_running for step in replica.steps[100:]]
        return np.mean(late), int(requests["preemptions"].sum())

    full, cut = peak(), peak(kv_budget_tokens=32)
    assert cut[0] > full[0]
    assert cut[1] == 0 < full[1]


def test_a_preempted_request_computes_all_of_it_again():
    requests = new_requests(np.zeros(6), PROMPT, OUTPUT)
    tight = config(num_gpu_blocks=260, max_model_len=250, kv_budget_tokens=60)
    steps = serve(tight, cost(), requests, traced=True).steps
    assert (requests["generated_tokens"] == OUTPUT).all()
    given, evicted, resumed = [0] * 6, set(), 0
    for step in steps:
        evicted |= set(step.preempted)
        for i, tokens in step.scheduled:  # prompts fit the budget: each time gives a token
            if i in evicted:
                assert tokens == PROMPT + given[i]
                evicted.discard(i)
                resumed += 1
            given[i] += 1
    assert resumed > 0


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"kv_budget_tokens": -1}, "kv_budget_tokens"),
        ({"kv_budget_frac": 1.0}, "kv_budget_frac"),
        ({"kv_budget_tokens": 5, "kv_budget_frac": 0.5}, "kv_budget_frac"),
        ({"kv_budget_tokens": 5, "kv_compression_interval": 0}, "kv_compression_interval"),
        ({"kv_budget_tokens": 5, "kv_compression_token_s": -1.0}, "kv_compression_token_s"),
        ({"kv_budget_tokens": 5, "enable_prefix_caching": True}, "enable_prefix_caching"),
        ({"kv_budget_tokens": 5, "preemption": "checkpoint"}, "preemption"),
    ],
)
def test_impossible_settings_are_refused(options, field):
    with pytest.raises(InputError) as caught:
        config(**options)
    assert [problem.field for problem in caught.value.problems] == [field]
