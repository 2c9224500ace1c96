"""A result of `vllm bench serve` sent again: ponder's own export comes back without error."""

import json

import numpy as np
import pytest

from simulator import InputError, load_experiment, run
from simulator.exports.vllm_json import vllm_bench_result, write_json
from simulator.studies.validation.bench import as_point, predict_bench, read_bench
from tests.cli.support import GOOD

BENCH = {
    "model_id": "meta-llama/Llama-3.1-8B-Instruct",
    "request_rate": "inf",
    "max_concurrency": None,
    "input_lens": [10, 20, 30],
    "output_lens": [5, 6, 7],
    "errors": ["", "", ""],
    "duration": 2.0,
    "output_throughput": 9.0,
    "mean_ttft_ms": 12.0,
    "p99_itl_ms": 7.0,
    "std_ttft_ms": 1.0,
    "median_tpot_ms": None,
}


@pytest.fixture
def experiment(tmp_path):
    path = tmp_path / "good.yaml"
    path.write_text(GOOD)
    return lambda *overrides: load_experiment(path, overrides)


@pytest.fixture
def write(tmp_path):
    def to_file(content):
        path = tmp_path / "bench.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return to_file


@pytest.mark.parametrize(
    "arrivals",
    [
        "{kind: all_at_once}",
        "{kind: deterministic, rate_rps: 5.0}",
        "{kind: closed_loop, concurrency: 7}",
    ],
)
@pytest.mark.parametrize("replicas", [1, 2])
def test_what_ponder_exports_validates_without_error(experiment, tmp_path, arrivals, replicas):
    loaded = experiment(f"workload.arrivals={arrivals}", f"pools.reasoning.replicas={replicas}")
    path = tmp_path / "bench.json"
    write_json(vllm_bench_result(run(loaded), detailed=True), path)
    bench = read_bench(path)
    assert len(bench.measured) >= 4 + 4 * 5
    made = predict_bench(bench, loaded, bench.measured)
    for column, measured in bench.measured.items():
        assert made.values[column] == pytest.approx(measured, rel=1e-6), column
    assert (made.model, made.gpu) == ("llama-3.1-8b", "h100-sxm")
    assert as_point(bench, loaded).gpus == replicas


def test_another_pool_is_off(experiment, tmp_path):
    loaded = experiment("workload.arrivals={kind: closed_loop, concurrency: 7}")
    path = tmp_path / "bench.json"
    write_json(vllm_bench_result(run(loaded), detailed=True), path)
    other = experiment("pools.reasoning.weight_dtype=fp8")
    made = predict_bench(read_bench(path), other, ["itl_median_ms"])
    assert made.values["itl_median_ms"] < 0.9 * read_bench(path).measured["itl_median_ms"]


def test_how_requests_are_sent_again(write):
    bench = read_bench(write(BENCH))
    assert bench.sent == "all at once"
    assert not bench.arrival_s.any()
    assert bench.input_tokens.tolist() == [10, 20, 30]
    assert bench.measured == {
        "duration_s": 2.0,
        "output_tps": 9.0,
        "ttft_mean_ms": 12.0,
        "itl_p99_ms": 7.0,
    }
    closed = read_bench(write(BENCH | {"max_concurrency": 2, "start_times": [5.0, 5.0, 6.0]}))
    assert closed.closed_loop.concurrency == 2
    timed = read_bench(write(BENCH | {"request_rate": 3.0, "start_times": [107.5, 105.0, 106.0]}))
    assert timed.arrival_s.tolist() == [0.0, 1.0, 2.5]
    assert timed.input_tokens.tolist() == [20, 30, 10], "in order of sending"
    poisson = read_bench(write(BENCH | {"request_rate": 3.0}))
    assert "times not in the file" in poisson.sent
    assert (np.diff(poisson.arrival_s) > 0).all()
    wide = read_bench(write(BENCH | {"max_concurrency": 3}))
    assert wide.closed_loop is None, "as many clients as requests: all at once"


def test_failed_requests_are_left_out_and_counted(experiment, write):
    content = BENCH | {"errors": ["", "timeout", ""], "output_lens": [5, 0, 7]}
    bench = read_bench(write(content))
    assert (bench.failed, bench.output_tokens.tolist()) == (1, [5, 7])
    made = predict_bench(bench, experiment(), [])
    assert "1 failed requests left out" in made.reason
    with pytest.raises(InputError, match="every request failed"):
        read_bench(write(BENCH | {"errors": ["x", "x", "x"]}))


def test_requests_refused_here_are_said(experiment, write):
    bench = read_bench(write(BENCH | {"input_lens": [10, 20, 20_000]}))
    made = predict_bench(bench, experiment(), [])
    assert made.status == "approximate"
    assert "1 requests are refused here and were not there" in made.reason
    none = predict_bench(read_bench(write(BENCH | {"input_lens": [20_000] * 3})), experiment(), [])
    assert none.status == "unsupported"


@pytest.mark.parametrize(
    ("content", "messages"),
    [
        ("[", ["is not JSON in UTF-8"]),
        ("[1]", ["must hold one result, a JSON object"]),
        (
            {"duration": 3},
            [
                "input_lens: is missing: the result must be saved with --save-detailed",
                "output_lens: is missing: the result must be saved with --save-detailed",
            ],
        ),
        (BENCH | {"output_lens": [5, 6]}, ["output_lens: has 2 entries, input_lens has 3"]),
        (BENCH | {"errors": [""]}, ["errors: has 1 entries, input_lens has 3"]),
        (
            BENCH | {"input_lens": [1, "2", 3], "start_times": [1, None, 2]},
            ["input_lens: must be a list of numbers", "start_times: must be a list of numbers"],
        ),
        (BENCH | {"max_concurrency": 0}, ["max_concurrency: must be a whole number above 0"]),
        (BENCH | {"request_rate": -1}, ["request_rate: must be a number above 0"]),
        (
            BENCH | {"input_lens": [], "output_lens": [], "errors": []},
            ["input_lens: holds no request"],
        ),
        (BENCH | {"input_lens": [1, 2, 1e300]}, ["input_lens: lengths must be whole"]),
        (BENCH | {"output_lens": [1, 2.5, 3]}, ["output_lens: lengths must be whole"]),
        (BENCH | {"errors": "none"}, ["errors: must be a list"]),
    ],
)
def test_bad_result_files(write, content, messages):
    path = write(content)
    with pytest.raises(InputError) as caught:
        read_bench(path)
    told = [str(problem) for problem in caught.value.problems]
    for message in messages:
        assert any(line.startswith(f"{path}: {message}") for line in told), told


def test_an_absent_file(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_bench(tmp_path / "absent.json")
