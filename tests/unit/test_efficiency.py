"""Bytes, operations and energy of a run: against every iteration by itself, and by hand."""

import numpy as np
import pytest

from hardware_profiles.profile import load_gpu
from simulator.cluster.cluster import Cluster
from simulator.cluster.pool import PoolPlan
from simulator.cost import load_architecture
from simulator.cost.iteration_time import Work, iteration_costs
from simulator.cost.terms import Batch, TermsBuilder
from simulator.engine.config import EngineConfig
from simulator.engine.request import new_requests
from simulator.metrics.activity import Activity, amount, pool_activity, stretches
from simulator.metrics.efficiency import PoolUse, efficiency_summary, pool_use
from simulator.metrics.pool_costs import PoolCosts
from simulator.metrics.power import GpuPower
from simulator.routers.round_robin import RoundRobin
from simulator.testing import linear_cost, serve

H100 = load_gpu("h100-sxm")
BUDGET, SEATS, WINDOW_S = 2048, 64, (10.0, 90.0)
CONFIG = EngineConfig(
    num_gpu_blocks=20_000,
    max_model_len=20_000,
    max_num_seqs=SEATS,
    max_num_batched_tokens=BUDGET,
)


def costs_of(model: str):
    return iteration_costs(
        load_architecture(model),
        H100,
        tensor_parallel_size=1,
        weight_dtype="auto",
        kv_cache_dtype="auto",
        max_num_batched_tokens=BUDGET,
        max_num_seqs=SEATS,
    )


def workload(rate_rps: float):
    rng = np.random.default_rng(5)
    count = int(100 * rate_rps)
    prompt = np.clip(rng.lognormal(6.5, 1.0, count), 1, 9000).astype(np.int64)
    output = np.clip(rng.lognormal(5.0, 1.0, count), 1, 2000).astype(np.int64)
    return new_requests(np.cumsum(rng.exponential(1 / rate_rps, count)), prompt, output)


def serve_in_cluster(requests, table, replicas: int, sample_interval_s: float):
    cluster = Cluster(
        requests,
        RoundRobin(),
        [PoolPlan("main", CONFIG, table, replicas)],
        sample_interval_s=sample_interval_s,
        marks_s=WINDOW_S,
    )
    return cluster.run()


def by_iteration(requests, table, work, window_tokens):
    """Bytes, operations and seconds at peak, summed over the iterations of the window."""
    replica = serve(CONFIG, table, requests, traced=True, check_integrity=False)
    computed, total = np.zeros(len(requests), np.int64), np.zeros(3)
    for step in replica.steps:
        decodes, chunks = [], []
        for i, tokens in step.scheduled:
            computed[i] += tokens
            context = int(computed[i])
            if context <= requests["prompt_tokens"][i]:
                chunks.append((tokens, context))
            else:
                decodes.append(context)
        inside = min(step.t_s + step.dt_s, WINDOW_S[1]) - max(step.t_s, WINDOW_S[0])
        if inside > 0:
            seen = sum(min(context, window_tokens) for context in decodes)
            batch = Batch(len(decodes), sum(decodes), seen, tuple(chunks))
            parts = (work.bytes_moved, work.flops, work.compute_s)
            each = np.array([quantity.at(batch, window_tokens) for quantity in parts])
            total += inside / step.dt_s * each
    assert requests["preemptions"].sum() == 0
    return total


@pytest.mark.parametrize("model", ["qwen3-8b", "gpt-oss-20b"])
@pytest.mark.parametrize("rate_rps", [0.5, 3.0])
def test_a_run_is_the_sum_of_its_iterations(model, rate_rps):
    """Prefill makes up much of it; gpt-oss has experts and a sliding window."""
    costs = costs_of(model)
    work, table = costs.work(), costs.table()
    out = serve_in_cluster(workload(rate_rps), table, 1, 0.1)
    pool = PoolCosts.of(costs, CONFIG, H100, 1)
    activity = pool_activity(
        out, 0, WINDOW_S, window_tokens=costs.window_tokens, chunk_tokens=pool.chunk_tokens
    )
    use = pool_use(activity, pool)
    exact = by_iteration(workload(rate_rps), table, work, costs.window_tokens)
    assert use.bytes_moved == pytest.approx(exact[0], rel=0.005)
    assert use.flops == pytest.approx(exact[1], rel=0.015)
    assert use.compute_s == pytest.approx(exact[2], rel=0.015)
    assert use.memory_s == pytest.approx(exact[0] / H100.hardware.memory_bandwidth.si, rel=0.005)
    assert use.gpu_s == pytest.approx(80.0)
    power = H100.power
    energy_j = 80 * power.idle.si
    energy_j += power.energy_per_byte.si * exact[0] + power.energy_per_flop.si * exact[1]
    assert use.energy_j == pytest.approx(energy_j, rel=0.01)


def test_stretches_add_up_to_what_happened_between_the_edges():
    cost = linear_cost(0.01, 1e-5, 1e-7, max_tokens=BUDGET, max_seqs=SEATS)
    out = serve_in_cluster(workload(4.0), cost, 3, 0.7)
    for window, low, high in (
        (WINDOW_S, out.marks[:, 0], out.marks[:, 1]),
        ((10.0, out.end_s), out.marks[:, 0], out.states),
    ):
        done = stretches(out.samples, out.marks, out.states, window, out.end_s, 7)
        assert done.seconds.shape == (3, 7)
        assert done.seconds.sum(axis=1) == pytest.approx(window[1] - window[0])
        for name in ("iterations", "output_tokens", "prefill_tokens", "context_tokens_read"):
            counts = getattr(done, name)
            assert counts.sum(axis=1) == pytest.approx(high[name] - low[name])
            assert (counts >= 0).all()


def costs_by_hand(power: GpuPower) -> PoolCosts:
    """10 bytes and 1 operation a token at 1,000 bytes/s and 100 operations/s; 2 GPUs a replica."""
    terms = TermsBuilder(64, 8)
    token = np.arange(1.0, 65.0)
    work = Work(terms(token=10 * token), terms(token=token), terms(token=token / 100))
    cost = linear_cost(0.01, 0.0, 0.0, max_tokens=64, max_seqs=8)
    return PoolCosts(cost, work, 64, 2, 1000.0, power)


TWO_STRETCHES = Activity(
    seconds=np.array([[10.0, 10.0]]),
    iterations=np.array([[100.0, 0.0]]),
    output_tokens=np.array([[400.0, 0.0]]),
    prefill_tokens=np.array([[0.0, 0.0]]),
    context_tokens_read=np.array([[0.0, 0.0]]),
)


def test_use_by_hand():
    """4 decodes an iteration: 400 bytes/s and 40 operations/s in the first stretch, then rest."""
    use = pool_use(TWO_STRETCHES, costs_by_hand(GpuPower(50.0, 400.0, 0.5, 1.0)))
    assert use.gpu_s == 40.0
    assert use.bytes_moved == pytest.approx(2 * 4000)
    assert use.memory_s == pytest.approx(8.0)
    assert use.flops == pytest.approx(800)
    assert use.compute_s == pytest.approx(8.0)
    assert use.energy_j == pytest.approx(2 * (10 * (50 + 0.5 * 400 + 40) + 10 * 50))


def test_no_stretch_draws_more_than_a_gpu_can():
    use = pool_use(TWO_STRETCHES, costs_by_hand(GpuPower(50.0, 100.0, 0.5, 1.0)))
    assert use.energy_j == pytest.approx(2 * (10 * 100 + 10 * 50))


def test_without_energies_the_rest_is_known():
    use = pool_use(TWO_STRETCHES, costs_by_hand(GpuPower(50.0, 400.0, None, 1.0)))
    assert use.energy_j is None
    assert use.memory_s == pytest.approx(8.0)
    shown = efficiency_summary([use], 400, 3)
    assert shown["mbu"] == pytest.approx(0.2)
    assert {shown[key] for key in shown if "energy" in key or "power" in key} == {None}


def test_summary_by_hand():
    pools = [PoolUse(100.0, 50.0, 10.0, 1.0, 1.0, 7e6), PoolUse(300.0, 30.0, 6.0, 1.0, 1.0, 2e5)]
    shown = efficiency_summary(pools, 1000, 40)
    assert shown["mbu"] == pytest.approx(0.2)
    assert shown["mfu"] == pytest.approx(0.04)
    assert shown["mean_gpu_power_w"] == pytest.approx(7.2e6 / 400)
    assert shown["energy_kwh"] == pytest.approx(2.0)
    assert shown["energy_j_per_output_token"] == pytest.approx(7200)
    assert shown["energy_j_per_completed_query"] == pytest.approx(180_000)
    unknown = [pools[0], PoolUse(1.0, 1.0, 1.0, 1.0, 1.0, None)]
    assert efficiency_summary(unknown, 1000, 40)["energy_kwh"] is None
    assert set(efficiency_summary([], 0, 0).values()) == {None}
    assert set(efficiency_summary([pools[0], None], 1000, 40).values()) == {None}
    nothing_served = efficiency_summary(pools, 0, 0)
    assert nothing_served["energy_j_per_output_token"] is None
    assert nothing_served["energy_kwh"] == pytest.approx(2.0)


def test_a_window_without_length_takes_no_energy():
    nothing = Activity(*(np.zeros((1, 1)) for _ in range(5)))
    use = pool_use(nothing, costs_by_hand(GpuPower(50.0, 400.0, 0.5, 1.0)))
    assert (use.gpu_s, use.energy_j) == (0.0, 0.0)
    assert efficiency_summary([use], 0, 0)["mbu"] is None


def test_what_a_prefilled_token_stands_for_by_hand():
    """20 iterations: 3 prompts of 40 tokens, and decodes that read 1,000 tokens in all."""
    terms = TermsBuilder(64, 8)
    activity = Activity(
        seconds=1.0,
        iterations=20.0,
        output_tokens=43.0,  # three of them the first of their prompt
        prefill_tokens=120.0,
        context_tokens_read=1120.0,  # that of the three chunks included
        window_tokens=15,
        prompt_terms=np.array([1 / 40, 1.0, 1.0, 20.5, 0.5, 8.0]),
        prompts=1 / 40,
    )
    decodes = np.arange(1.0, 9.0)
    each = {
        "decode": (terms(decode=decodes), 40.0),
        "context": (terms(context=1.0), 1000.0),
        "window": (terms(window=1.0), 20 * 2 * 15.0),
        "request": (terms(request=decodes), 40.0 + 3.0),
        "token": (terms(token=np.arange(1.0, 65.0)), 40.0 + 120.0),
        "prefill": (terms(prefill=(1.0, 0, 0, 0, 0, 0)), 3.0),
        "tokens": (terms(prefill=(0, 1.0, 0, 0, 0, 0)), 120.0),
        "seen": (terms(prefill=(0, 0, 1.0, 0, 0, 0)), 120.0),
        "pairs": (terms(prefill=(0, 0, 0, 1.0, 0, 0)), 3 * 40 * 41 / 2),
        "window seen": (terms(prefill=(0, 0, 0, 0, 1.0, 0)), 60.0),
        "window pairs": (terms(prefill=(0, 0, 0, 0, 0, 1.0)), 960.0),
    }
    got = {name: float(amount(quantity, activity)) for name, (quantity, _) in each.items()}
    assert got == pytest.approx({name: expected for name, (_, expected) in each.items()})


def test_a_step_in_the_table_is_met_by_iterations_with_chunks_alone():
    """A quantity that only batches of more than 8 tokens have: once for each prompt of its own."""
    terms = TermsBuilder(64, 8)
    activity = Activity(
        seconds=1.0,
        iterations=10_000.0,
        output_tokens=10_010.0,
        prefill_tokens=400.0,
        context_tokens_read=0.0,
        prompt_terms=np.array([1 / 40, 1.0, 0.0, 0.0, 0.0, 0.0]),
        prompts=1 / 40,
    )
    step = terms(token=np.where(np.arange(1, 65) > 8, 1.0, 0.0))
    assert amount(step, activity) == pytest.approx(10.0, rel=1e-3)


def test_prompts_are_those_of_the_window_or_else_of_the_run():
    cost = linear_cost(0.01, 1e-3, 1e-7, max_tokens=BUDGET, max_seqs=SEATS)
    requests = new_requests([0.0, 30.0], [3000, 100], [5, 5])
    out = serve_in_cluster(requests, cost, 1, 0.1)

    def prompts(*window_s: float) -> float:
        return pool_activity(out, 0, window_s, window_tokens=0, chunk_tokens=BUDGET).prompts

    assert prompts(0.0, 20.0) == pytest.approx(1 / 3000)
    assert prompts(20.0, 40.0) == pytest.approx(1 / 100)
    assert prompts(0.0, 1.0) == pytest.approx(2 / 3100)  # nobody has got a token yet


def test_chunks_that_fill_every_iteration_stay_within_the_budget():
    terms = TermsBuilder(64, 8)
    activity = Activity(
        seconds=1.0,
        iterations=10.0,
        output_tokens=40.0,
        prefill_tokens=600.0,
        context_tokens_read=0.0,
        prompt_terms=np.array([1 / 60, 1.0, 0.0, 0.0, 0.0, 0.0]),
    )
    assert amount(terms(token=np.arange(1.0, 65.0)), activity) == pytest.approx(640.0)
