"""Experiments with several pools: read, checked, run and reported."""

import io
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from simulator import InputError, load_experiment, run
from simulator.config.costs import iteration_costs_of
from simulator.config.resolve import resolve_pools
from simulator.cost.uncertainty import draw_scales
from simulator.exports.vllm_json import vllm_bench_result
from simulator.metrics.latency import METRICS
from simulator.report.html import render_html
from simulator.report.rows import POOL_COLUMNS, pool_rows
from simulator.result import Result
from simulator.runner import simulate

TEXT = """\
name: two
pools:
  reasoning:
    model: qwen3-14b
    gpu: h100-sxm
    replicas: 2
    tensor_parallel_size: 2
    price_usd_per_gpu_hour: 4.0
  standard:
    model: llama-3.1-8b
    gpu: a100-sxm-80gb
    price_usd_per_gpu_hour: 1.5
    engine: {max_num_seqs: 16, num_gpu_blocks: 400, max_model_len: 3000}
workload:
  kind: synthetic
  arrivals: {kind: poisson, rate_rps: 4.0}
  prompt_tokens: {kind: lognormal, mu: 5.0, sigma: 0.5, max: 1024}
  thinking_tokens: {kind: lognormal, mu: 5.0, sigma: 0.5, max: 2048}
  answer_tokens: {kind: lognormal, mu: 4.0, sigma: 0.5, max: 512}
  num_requests: 60
"""
ONE = "pools={a: {model: qwen3-14b, gpu: h100-sxm, replicas: 3, engine: {max_num_seqs: 8}}}"
ALIKE = (
    "pools={b: {model: qwen3-14b, gpu: h100-sxm, replicas: 1, engine: {max_num_seqs: 8}},"
    " c: {model: qwen3-14b, gpu: h100-sxm, replicas: 2, engine: {max_num_seqs: 8}}}"
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "two.yaml"
    path.write_text(TEXT)
    return path


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    path = tmp_path_factory.mktemp("two") / "two.yaml"
    path.write_text(TEXT)
    return run(load_experiment(path))


def printed(result: Result, width: int) -> str:
    text = io.StringIO()
    Console(file=text, width=width, color_system=None).print(result.table())
    return text.getvalue()


def test_pools_are_read_in_order_and_written_out(file: Path, tmp_path: Path) -> None:
    loaded = load_experiment(file)
    assert list(loaded.pools) == ["reasoning", "standard"]
    assert [pool.num_gpus for pool in loaded.pools.values()] == [4, 1]
    again = tmp_path / "again.yaml"
    again.write_text(loaded.to_yaml())
    assert load_experiment(again) == loaded


def test_problems_of_all_pools_are_said_at_once(file: Path) -> None:
    bad = TEXT.replace("qwen3-14b", "qwen9").replace("a100-sxm-80gb", "a900")
    file.write_text(bad.replace("max_num_seqs: 16", "max_num_sqs: 16"))
    with pytest.raises(InputError) as caught:
        load_experiment(file)
    assert [(p.line, p.field) for p in caught.value.problems] == [
        (4, "pools.reasoning.model"),
        (13, "pools.standard.engine.max_num_sqs"),
    ]
    file.write_text(bad.replace("max_model_len: 3000", "max_model_len: 30000"))
    with pytest.raises(InputError) as caught:
        load_experiment(file)
    assert [(p.line, p.field) for p in caught.value.problems] == [
        (4, "pools.reasoning.model"),
        (11, "pools.standard.gpu"),
    ]
    file.write_text(TEXT.replace("max_model_len: 3000", "max_model_len: 30000"))
    with pytest.raises(InputError, match=r"two\.yaml:13: pools\.standard\.engine\.max_model_len"):
        load_experiment(file)


def test_pools_that_cannot_be_resolved_are_all_named(file: Path) -> None:
    loaded = load_experiment(file)
    pools = {name: pool.model_copy(update={"model": "x"}) for name, pool in loaded.pools.items()}
    with pytest.raises(InputError) as caught:
        resolve_pools(loaded.model_copy(update={"pools": pools}))
    fields = [problem.field for problem in caught.value.problems]
    assert fields == ["pools.reasoning.model", "pools.standard.model"]


def test_one_pool_is_asked_for_by_name_where_there_are_several(file: Path) -> None:
    loaded = load_experiment(file)
    assert loaded.one_pool("standard") == ("standard", loaded.pools["standard"])
    with pytest.raises(InputError, match="one pool is needed here, not reasoning, standard"):
        loaded.one_pool()
    with pytest.raises(InputError, match="no pool 'main'; known: reasoning, standard"):
        loaded.one_pool("main")
    only = load_experiment(file, ONE)
    assert only.one_pool() == only.one_pool("a") == ("a", only.pools["a"])


OF_MEAN_PROMPTS = (  # estimated with the mean prompt of each pool
    *("mbu", "mfu", "mean_gpu_power_w", "energy_kwh"),
    *("energy_j_per_output_token", "energy_j_per_completed_query"),
)


def test_equal_pools_give_the_results_of_one(file: Path) -> None:
    one, two = (run(load_experiment(file, pools)) for pools in (ONE, ALIKE))
    columns = list(one.requests.columns.drop("pool"))
    pd.testing.assert_frame_equal(one.requests[columns], two.requests[columns])
    for key in set(one.summary) - {"notes", "pools", "expected_error"}:
        value = one.summary[key]
        if isinstance(value, float):  # summed over pools, in another order
            value = pytest.approx(value, rel=1e-3 if key in OF_MEAN_PROMPTS else 1e-12)
        assert two.summary[key] == value, key
    assert two.requests["pool"].tolist() == ["b", "c", "c"] * 20


def test_each_pool_has_its_own_gpus_prices_and_cache(result: Result) -> None:
    summary = result.summary
    reasoning, standard = summary["pools"]["reasoning"], summary["pools"]["standard"]
    hours = summary["end_s"] / 3600
    assert (reasoning["num_gpus"], standard["num_gpus"], summary["num_gpus"]) == (4, 1, 5)
    assert summary["cost_usd"] == pytest.approx((4 * 4.0 + 1.5) * hours)
    assert reasoning["cost_usd"] + standard["cost_usd"] == pytest.approx(summary["cost_usd"])
    assert standard["kv_blocks_per_replica"] == 399
    assert reasoning["kv_blocks_per_replica"] > 5000
    assert (reasoning["model"], standard["gpu"]) == ("qwen3-14b", "a100-sxm-80gb")
    assert (reasoning["completed"], standard["completed"]) == (40, 20)


def test_notes_begin_with_the_pools_they_are_about(result: Result, file: Path) -> None:
    statics = [f"pools.{pool}.engine.batching=static" for pool in ("reasoning", "standard")]
    notes = run(load_experiment(file, statics)).summary["notes"]
    [shared] = [note for note in notes if "caches prefixes by default" in note]
    assert shared.startswith("reasoning, standard: vllm-0.33 caches prefixes by default; that has")
    notes = result.summary["notes"]
    [short] = [note for note in notes if "max_model_len is 3000" in note]
    assert short.startswith("standard: ")
    assert any(note.startswith("the capacity is the sum") for note in notes)
    assert not any("served no request" in note for note in notes)


@pytest.mark.parametrize(
    ("long", "found"), [(1, ("reasoning", "20,000")), (2, ("standard", "18,000"))]
)
def test_a_note_is_of_the_pool_that_left_the_fitted_range(
    file: Path, long: int, found: tuple[str, str]
) -> None:
    """Of three requests the first two go to the first pool, the last to the other."""
    prompts = [10, 10, 10]
    prompts[long] = 30_000
    rows = [f"{time},{prompt},5,5" for time, prompt in enumerate(prompts)]
    header = "arrival_s,prompt_tokens,thinking_tokens,answer_tokens"
    (file.parent / "trace.csv").write_text("\n".join([header, *rows]) + "\n")
    pools = TEXT[: TEXT.index("workload:")].replace("num_gpu_blocks: 400", "block_size: 16")
    pools = pools.replace("3000", "40000, max_num_batched_tokens: 18000")
    file.write_text(f"{pools}workload: {{kind: trace, path: trace.csv}}\n")
    change = "pools.reasoning.engine.max_num_batched_tokens=20000"
    notes = run(load_experiment(file, change)).summary["notes"]
    beyond = {
        (note.partition(": ")[0], note.partition("chunk_tokens = ")[2].partition(", fitted")[0])
        for note in notes
        if "with chunk_tokens" in note
    }
    assert beyond == {found}


def test_a_pool_that_served_nothing_is_no_failure(file: Path) -> None:
    summary = run(load_experiment(file, ["workload.num_requests=2"])).summary
    assert "standard: served no request" in summary["notes"]
    standard = summary["pools"]["standard"]
    assert (standard["completed"], standard["output_throughput"]) == (0, 0.0)
    assert standard["iteration_time_relative_sd"] is None
    assert standard["cost_usd"] > 0, "it was there all the same"
    error = summary["expected_error"]["iteration_time_relative_sd"]
    assert error == summary["pools"]["reasoning"]["iteration_time_relative_sd"] > 0


def test_a_request_too_long_for_every_pool_says_so(file: Path) -> None:
    changes = [
        "workload.max_tokens=2500",
        "pools.reasoning.engine.max_model_len=3200",
        "workload.prompt_tokens={kind: uniform, min: 100, max: 1000}",
    ]
    frame = run(load_experiment(file, changes)).requests
    refused = frame[frame["status"] == "rejected"]
    total = refused["prompt_tokens"] + 2500
    assert len(refused) > 0
    assert (refused["reason"] == "prompt + max_tokens exceeds max_model_len of every pool").all()
    assert (total > 3200).all()
    needed = frame["prompt_tokens"] + 2500  # what only one pool takes goes there
    assert (frame.loc[(needed > 3000) & (needed <= 3200), "pool"] == "reasoning").all()
    assert refused["pool"].isna().all()


def test_calibration_draws_give_every_pool_a_table_of_its_own(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = load_experiment(file, ["calibration_draws=2", "workload.num_requests=9"])
    import simulator.runner as runner

    seen: list[list[Any]] = []
    serve = runner.serve
    monkeypatch.setattr(
        runner, "serve", lambda plans, *a, **k: (seen.append(list(plans)), serve(plans, *a, **k))[1]
    )
    simulation = simulate(experiment)
    assert len(seen) == 3
    costs = [iteration_costs_of(pool) for pool in resolve_pools(experiment)]
    for draw in (0, 1):
        for plan, cost in zip(seen[1 + draw], costs, strict=True):
            expected = cost.table(draw_scales(cost, experiment.seed, draw))
            np.testing.assert_array_equal(plan.cost.token_s, expected.token_s)
            np.testing.assert_array_equal(plan.cost.floor_s, expected.floor_s)
    assert [plan.name for plan in seen[2]] == ["reasoning", "standard"]
    assert simulation.expected_error.draws == 2
    errors = simulation.expected_error.iteration_time
    assert list(errors) == ["reasoning", "standard"]
    assert errors["reasoning"] != errors["standard"]


def test_a_closed_loop_over_two_pools_fills_its_window(file: Path) -> None:
    changes = [
        "workload.arrivals={kind: closed_loop, concurrency: 12}",
        "workload.num_requests=null",
        "measure={warmup_s: 20, window_s: 60}",
    ]
    result = run(load_experiment(file, changes))
    assert not any("running empty" in note for note in result.summary["notes"])
    timeline = result.timeline
    inside = timeline[(timeline["t_s"] > 20) & (timeline["t_s"] < 80)]
    busy = inside.groupby("t_s")[["running", "waiting"]].sum().sum(axis=1)
    assert (busy == 12).mean() > 0.95
    assert set(result.requests["pool"]) == {"reasoning", "standard"}


def test_the_table_of_pools_says_what_the_summary_says(result: Result) -> None:
    summary = result.summary
    rows = pool_rows(summary)
    assert [row[0] for row in rows] == ["reasoning", "standard"]
    assert all(len(row) == 1 + len(POOL_COLUMNS) for row in rows)
    shown = dict(zip(POOL_COLUMNS, rows[1][1:], strict=True))
    standard = summary["pools"]["standard"]
    assert shown["model"] == "llama-3.1-8b"
    assert shown["GPU"] == "a100-sxm-80gb"
    assert (shown["replicas"], shown["served"]) == ("1", "20")
    assert shown["KV peak"] == f"{100 * standard['kv_usage_peak']:.1f} %"
    assert shown["GPU-hours"] == f"{standard['gpu_hours']:,.2f}"


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_fits_and_shows_every_pool(result: Result, width: int) -> None:
    lines = printed(result, width).splitlines()
    assert max(map(len, lines)) <= width
    assert not any("…" in line for line in lines)
    start = next(k for k, line in enumerate(lines) if line.startswith("Pools"))
    text = " ".join(lines[start : start + 8])
    for word in ("qwen3-14b", "llama-3.1-8b", "h100-sxm", "a100-sxm-80gb", "served", "KV peak"):
        assert word in text
    rows = [line.split() for line in lines[start:] if line.startswith(" standard")]
    cells = [cell for row in rows for cell in row]
    for cell in pool_rows(result.summary)[1]:
        assert cell.split()[0] in cells
    assert len(rows) == (1 if width == 120 else 2)
    assert not any(line.startswith(" blocks") for line in lines), "pools differ in their blocks"


def test_the_page_has_the_table_of_pools(result: Result) -> None:
    page = render_html(result, {})
    assert "<h2>Pools</h2>" in page
    assert "<td>a100-sxm-80gb</td>" in page


def test_one_pool_has_no_table_of_pools(file: Path) -> None:
    one = run(load_experiment(file, [ONE, "workload.num_requests=5"]))
    assert pool_rows(one.summary) == []
    assert "Pools" not in printed(one, 120)
    assert "<h2>Pools</h2>" not in render_html(one, {})
    assert not any(note.startswith("a: ") for note in one.summary["notes"])
    assert list(one.summary["pools"]) == ["a"]


def test_exports_name_the_models_of_all_pools(result: Result, file: Path) -> None:
    assert vllm_bench_result(result)["model_id"] == "qwen3-14b, llama-3.1-8b"
    alike = run(load_experiment(file, [ALIKE, "workload.num_requests=5"]))
    assert vllm_bench_result(alike)["model_id"] == "qwen3-14b"


def test_everything_is_saved(result: Result, tmp_path: Path) -> None:
    saved = result.save(tmp_path / "out")
    requests = pd.read_parquet(saved / "requests.parquet")
    assert set(requests["pool"]) == {"reasoning", "standard"}
    assert set(pd.read_parquet(saved / "timeline.parquet")["pool"]) == {"reasoning", "standard"}
    assert all(f"mean_{name}_ms" in result.summary for name in METRICS)


def test_a_model_of_ones_own_goes_by_its_name_without_the_path(file: Path) -> None:
    source = files("simulator.models") / "qwen3-8b.json"
    (file.parent / "my-model.json").write_text(source.read_text())
    file.write_text(TEXT.replace("model: llama-3.1-8b", "model: ./my-model.json"))
    summary = run(load_experiment(file, ["workload.num_requests=2"])).summary
    assert summary["pools"]["standard"]["model"] == "my-model"
