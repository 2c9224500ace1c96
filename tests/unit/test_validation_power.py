"""Power of a measured run's stretch, and energies found again from runs made with known ones."""

from dataclasses import replace

import numpy as np
import pytest
import yaml

from hardware_profiles.profile import load_gpu, read_profile
from simulator import InputError
from simulator.config.costs import iteration_costs_of
from simulator.config.resolve import resolve_pool
from simulator.metrics.activity import pool_activity
from simulator.metrics.efficiency import pool_use
from simulator.metrics.pool_costs import PoolCosts
from simulator.metrics.power import GpuPower
from simulator.studies.validation import predict
from simulator.studies.validation.case import case_of
from simulator.studies.validation.fit_power import PowerRun, fit_energies, fit_power
from simulator.studies.validation.lengths import Histograms
from simulator.studies.validation.power import Load, average_power_w
from simulator.studies.validation.predict import measured_times_s, simulate_case
from simulator.studies.validation.steady import steady_times_s
from tests.validation_rows import ML_ENERGY, POINT
from workloads.laws.histogram import HistogramLength

H100 = load_gpu("h100-sxm")
POWER = GpuPower(idle_w=50.0, tdp_w=400.0, energy_per_byte_j=2e-10, energy_per_flop_j=1e-12)
TRUE = {"energy_per_byte": 120.0, "energy_per_flop": 0.7}


def load(seconds, bytes_moved, flops):
    return Load(*(np.array([column], dtype=float) for column in (seconds, bytes_moved, flops)))


def test_mean_power_is_bounded_in_every_stretch():
    """50 W idle and 250 W for 3 s; then 50 + 200 + 300 W, of which the GPU draws 400, for 1 s."""
    busy = load([3.0, 1.0], [3e12, 1e12], [0.0, 3e14])
    assert busy.mean_w(POWER) == pytest.approx((3 * 250 + 1 * 400) / 4)
    assert busy.mean_w(GpuPower.of(load_gpu("l40s"))) is None


@pytest.fixture(scope="module", params=["Qwen/Qwen3-30B-A3B", "openai/gpt-oss-20b"])
def run(request):
    """An ml.energy row on two replicas of two GPUs, its histogram, case, pool and outcome.

    Both models have experts, the second one sliding windows.
    """
    model = request.param
    point = replace(ML_ENERGY, model=model, gpus=4, tp=2, max_num_seqs=4, num_prompts=64)
    point = replace(point, weights="MXFP4" if "gpt" in model else "BF16")
    histogram = HistogramLength(edges=[2, 100, 1000], counts=[50, 14])
    known = Histograms({("lm-arena-chat", model, "h100", "4", "4"): histogram})
    case = case_of(point, known)
    pool = resolve_pool("points", case.pool)
    return point, known, case, pool, simulate_case(case, pool)


def test_power_is_that_of_a_runs_own_summary(run):
    """All GPUs of all replicas, over the steady window."""
    _, _, case, pool, outcome = run
    times_s = measured_times_s(case, outcome)
    assert times_s == steady_times_s(outcome, case.steady_seats)
    costs = iteration_costs_of(pool)
    pool_costs = PoolCosts.of(costs, pool.engine, pool.gpu, 2)
    activity = pool_activity(
        outcome,
        0,
        times_s,
        window_tokens=costs.window_tokens,
        chunk_tokens=pool_costs.chunk_tokens,
    )
    energy_j = pool_use(activity, pool_costs).energy_j
    power_w = average_power_w(outcome, pool, *times_s)
    assert power_w == pytest.approx(energy_j / (times_s[1] - times_s[0]))
    assert 4 * 70 < power_w < 4 * 700
    whole = measured_times_s(replace(case, steady_seats=None), outcome)
    assert whole == (0.0, outcome.end_s)
    assert average_power_w(outcome, pool, *whole) < power_w, "the ramps draw less"


def test_the_prediction_of_a_row_holds_its_power(run):
    point, known, _, pool, outcome = run
    power_w = predict(point, [], known).values["avg_power_w"]
    assert power_w == average_power_w(outcome, pool, *steady_times_s(outcome, 4))


def test_power_is_not_known_without_energies_or_time(run):
    *_, pool, outcome = run
    assert average_power_w(outcome, pool, 1.0, 1.0) is None
    assert "avg_power_w" not in predict(replace(POINT, hardware="a100-sxm-80gb"), []).values


def test_experts_of_few_requests_are_read_in_iterations_of_few_tokens():
    """The mean iteration of the whole run, prompts thrown into it, would read far more experts."""
    few = replace(
        POINT, model="Qwen/Qwen3-30B-A3B", max_num_seqs=2, num_prompts=8, isl_nominal="2000"
    )
    case = case_of(replace(few, isl_mean=2000.0))
    pool = resolve_pool("points", case.pool)
    outcome = simulate_case(case, pool)
    work = iteration_costs_of(pool).work()
    iterations = float(outcome.states["iterations"].sum())
    prefilled = float(outcome.requests["prompt_tokens"].sum())
    decodes = float(outcome.requests["generated_tokens"].sum()) - 8
    alone = iterations * work.bytes_moved.token[2]
    mixed = iterations * work.bytes_moved.token[round((prefilled + decodes) / iterations)]
    assert mixed > 1.8 * alone
    power_w = average_power_w(outcome, pool, *measured_times_s(case, outcome))
    known = GpuPower.of(pool.gpu)
    moved = (power_w - known.idle_w) * outcome.end_s / known.energy_per_byte_j
    assert moved < 1.4 * alone


def rows(names=("meta-llama/Llama-3.1-8B", "Qwen/Qwen3-8B"), energies=TRUE):
    """Rows as a GPU with these energies would have made them."""
    scalars = {
        name: getattr(H100.power, name).model_copy(update={"value": value})
        for name, value in energies.items()
    }
    power = H100.power.model_copy(update=scalars)
    profiles = {"h100-sxm": H100.model_copy(update={"power": power})}
    made = []
    for name in names:
        for seats in (4, 64):
            gpus = {"gpus": 1 if seats < 16 else 2, "tp": 1 if seats < 16 else 2}
            size = {"max_num_seqs": seats, "num_prompts": 2 * seats}
            point = replace(POINT, id=f"{name}-{seats}", model=name, **size, **gpus)
            values = predict(point, [], gpus=profiles).values
            made.append(replace(point, measured={"avg_power_w": values["avg_power_w"]}))
    return made


def test_known_energies_are_found_again():
    points = [*rows(), replace(POINT, hardware="TPU"), POINT]
    [fit] = fit_power(points)
    assert (fit.gpu, fit.runs) == ("h100-sxm", 4)
    assert fit.after == pytest.approx(TRUE, rel=1e-3)
    assert fit.before["energy_per_byte"] == pytest.approx(H100.power.energy_per_byte.value)
    assert fit.error_after.mape < 1e-3 < 0.05 < fit.error_before.mape
    assert fit.held_out.mape < 1e-3
    assert fit.held_out.n == 4


def test_what_is_printed_and_written_is_a_profile():
    [fit] = fit_power(rows())
    block = yaml.safe_load(fit.snippet())["power"]
    assert set(block) == set(TRUE)
    assert block["energy_per_flop"]["unit"] == "pJ/FLOP"
    assert block["energy_per_flop"]["value"] == pytest.approx(TRUE["energy_per_flop"], rel=1e-3)
    assert block["energy_per_byte"]["fit"]["n"] == 4
    written = read_profile(fit.profile_yaml(), "fitted.yaml")
    assert written == fit.profile
    assert written.power.idle == H100.power.idle


def test_each_model_is_judged_by_energies_of_the_others():
    """Two models whose watts ask for energies that differ by half: each is that far off."""
    light = PowerRun("a", load([1.0], [1e12], [0.0]), 50.0 + 100.0)
    heavy = PowerRun("b", load([1.0], [1e12], [0.0]), 50.0 + 200.0)
    small = load_gpu("l40s")
    idle_w = small.power.idle.si
    runs = [replace(run, watts=run.watts - 50.0 + idle_w) for run in (light, heavy)]
    fit = fit_energies(runs, small)
    assert fit.before is None
    assert fit.error_before is None
    off = [100.0 / runs[0].watts, -100.0 / runs[1].watts]
    assert fit.held_out.mape == pytest.approx(np.abs(off).mean(), rel=1e-2)
    assert fit.held_out.bias == pytest.approx(np.mean(off), rel=1e-2)
    assert fit_energies(runs[:1], small).held_out is None


def test_a_fit_needs_rows_of_one_gpu():
    with pytest.raises(InputError, match="no 3 rows with avg_power_w can be simulated"):
        fit_power(rows()[:2])
    elsewhere = [replace(row, hardware="h200-sxm") for row in rows()]
    with pytest.raises(InputError, match="of one GPU, the rows of h100-sxm, h200-sxm: use --only"):
        fit_power([*rows(), *elsewhere], one_gpu=True)
    assert [fit.gpu for fit in fit_power([*rows(), *elsewhere])] == ["h100-sxm", "h200-sxm"]
