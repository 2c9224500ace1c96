"""Error bands from the residuals of the fits, and notes about leaving their ranges."""

import math
from dataclasses import replace

import numpy as np
import pytest

from hardware_profiles.profile import load_gpu
from simulator.config.experiment import Experiment
from simulator.cost import load_architecture
from simulator.cost.extrapolation import extrapolation_notes
from simulator.cost.iteration_time import iteration_costs
from simulator.cost.terms import Batch
from simulator.cost.uncertainty import (
    UNMEASURED_ERROR,
    draw_scales,
    iteration_time_error,
    relative_error,
)
from simulator.runner import run

DECODES = Batch(32, 32 * 2000)


def _costs(model="qwen3-8b", gpu="h100-sxm", tp=1, weight_dtype="auto"):
    return iteration_costs(
        load_architecture(model),
        load_gpu(gpu),
        tensor_parallel_size=tp,
        weight_dtype=weight_dtype,
        kv_cache_dtype="auto",
        max_num_batched_tokens=2048,
        max_num_seqs=64,
    )


def _experiment(**changes):
    return Experiment.model_validate(
        {
            "name": "errors",
            "pools": {
                "main": {
                    "model": "qwen3-8b",
                    "gpu": "h100-sxm",
                    "engine": {"max_num_seqs": 16, "max_num_batched_tokens": 2048},
                }
            },
            "workload": {
                "kind": "synthetic",
                "arrivals": {"kind": "poisson", "rate_rps": 2.0},
                "num_requests": 40,
                "prompt_tokens": {"kind": "constant", "tokens": 200},
                "thinking_tokens": {"kind": "constant", "tokens": 100},
                "answer_tokens": {"kind": "constant", "tokens": 50},
            },
            "measure": {"warmup_requests": 5},
            **changes,
        }
    )


def test_an_iteration_is_less_uncertain_than_its_worst_part():
    costs = _costs()
    worst = max(relative_error(component) for component in costs.components)
    assert 0 < iteration_time_error(costs, DECODES) < worst


def test_a_part_by_itself_keeps_its_own_error():
    costs = _costs()
    alone = replace(costs, components=(costs.components[0],))
    assert iteration_time_error(alone, DECODES) == pytest.approx(
        relative_error(costs.components[0])
    )


def test_drawn_scales_have_the_spread_of_the_residuals():
    costs = _costs()
    component = costs.components[0]
    logs = [math.log(draw_scales(costs, 7, draw)[component.name]) for draw in range(400)]
    deviation = relative_error(component)
    assert np.mean(logs) == pytest.approx(0, abs=3 * deviation / math.sqrt(len(logs)))
    assert np.std(logs) == pytest.approx(deviation, rel=0.12)


def test_a_draw_is_the_same_whatever_else_is_drawn_and_differs_between_parts():
    costs = _costs()
    scales = draw_scales(costs, 3, 5)
    assert scales == draw_scales(costs, 3, 5)
    assert scales != draw_scales(costs, 3, 6)
    assert scales != draw_scales(costs, 4, 5)
    assert len(set(scales.values())) == len(scales)
    assert draw_scales(_costs("qwen3-14b"), 3, 5)["host"] == scales["host"]


def test_what_was_never_measured_is_taken_as_quite_uncertain():
    costs = _costs("qwen3-32b", tp=2, weight_dtype="int4")
    errors = {component.name: relative_error(component) for component in costs.components}
    assert errors["down_proj"] == UNMEASURED_ERROR
    assert errors["lm_head"] < 0.1
    assert iteration_time_error(costs, DECODES) > iteration_time_error(
        _costs("qwen3-32b", tp=2), DECODES
    )


def test_leaving_the_fitted_range_is_said_by_name():
    met = {"m": 2048, "requests": 64, "chunk_tokens": 2048, "context_tokens": 4000}
    assert extrapolation_notes(_costs(), "h100-sxm", met) == []
    [note] = extrapolation_notes(_costs(), "h100-sxm", met | {"context_tokens": 500_000})
    assert note.startswith("extrapolated: decode attention with context_tokens = 500,000")
    [note] = extrapolation_notes(_costs("qwen3-32b", tp=2, weight_dtype="int4"), "h100-sxm", met)
    assert "not measured on h100-sxm" in note
    assert "down_proj" in note


def test_windows_never_see_more_than_themselves():
    met = {"m": 2048, "requests": 64, "chunk_tokens": 2048, "context_tokens": 500_000}
    notes = extrapolation_notes(_costs("gpt-oss-20b"), "h100-sxm", met)
    assert any("decode attention" in note for note in notes)
    assert not any("window" in note for note in notes)


def test_a_result_carries_the_error_of_its_iteration_time():
    error = run(_experiment()).summary["expected_error"]
    assert 0.005 < error["iteration_time_relative_sd"] < 0.1
    assert error["calibration_draws"] == 0
    assert error["p5_to_p95"] == {}


def test_draws_put_a_band_around_the_figures_and_change_nothing_else():
    plain, banded = run(_experiment()), run(_experiment(calibration_draws=6))
    error = banded.summary["expected_error"]
    assert error["calibration_draws"] == 6
    low, high = error["p5_to_p95"]["mean_e2el_ms"]
    assert -0.2 < low < high < 0.2
    assert error == run(_experiment(calibration_draws=6)).summary["expected_error"]
    for figure in ("mean_e2el_ms", "p99_ttft_ms", "output_throughput", "notes"):
        assert banded.summary[figure] == plain.summary[figure]
