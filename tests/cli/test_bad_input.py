"""Bad input: every problem at once, each with file, line and field; nothing left behind."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from .support import GOOD, Outcome

Ponder = Callable[..., Outcome]

TRACE = """\
name: replay
pools: {reasoning: {model: llama-3.1-8b, gpu: h100-sxm}}
workload:
  kind: trace
  path: trace.csv
"""


def _expect(outcome: Outcome, workdir: Path, *expected: str) -> None:
    """Exactly the `expected` problems (beginnings of lines), code 2, and no result directory."""
    assert outcome.code == 2
    assert outcome.out == ""
    assert "Traceback" not in outcome.err
    errors = outcome.errors
    assert len(errors) == len(expected), outcome.err
    for line, beginning in zip(errors, expected, strict=True):
        assert line.startswith(f"error: {beginning}"), line
    assert not [path for path in workdir.iterdir() if path.is_dir()]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "    replicas: 1",
            "    replica: 1",
            "bad.yaml:7: pools.reasoning.replica: unknown key; did you mean 'replicas'?",
        ),
        (
            "    replicas: 1",
            "    max_num_seqs: 1",
            "bad.yaml:7: pools.reasoning.max_num_seqs: unknown key here; it belongs at "
            "'pools.reasoning.engine.max_num_seqs'",
        ),
        (
            "seed: 0",
            "colour: red",
            "bad.yaml:2: colour: unknown key; known: name, seed, pools, router, predictor",
        ),
        (
            "    replicas: 1",
            "    replicas: two",
            "bad.yaml:7: pools.reasoning.replicas: must be a whole number, not 'two'",
        ),
        (
            "    replicas: 1",
            "    replicas: true",
            "bad.yaml:7: pools.reasoning.replicas: must be a whole number, not true",
        ),
        (
            "    replicas: 1",
            "    replicas: 1.5",
            "bad.yaml:7: pools.reasoning.replicas: must be a whole number, not 1.5",
        ),
        (
            "    replicas: 1",
            "    replicas: 0",
            "bad.yaml:7: pools.reasoning.replicas: must be at least 1, not 0",
        ),
        (
            "rate_rps: 4.0",
            "rate_rps: -4.0",
            "bad.yaml:16: workload.arrivals.rate_rps: must be greater than 0, not -4.0",
        ),
        (
            "rate_rps: 4.0",
            "rate_rps: .inf",
            "bad.yaml:16: workload.arrivals.rate_rps: must be a number, not '.inf'",
        ),
        (
            "kind: poisson",
            "kind: poison",
            "bad.yaml:16: workload.arrivals.kind: must be one of poisson, deterministic, "
            "gamma, weibull, mmpp, piecewise, diurnal, bursts, batched, trace_times, all_at_once, "
            "closed_loop, not 'poison'; did you mean 'poisson'?",
        ),
        (
            "kind: poisson, ",
            "",
            "bad.yaml:16: workload.arrivals.kind: is required",
        ),
        (
            "{kind: poisson, rate_rps: 4.0}",
            "4.0",
            "bad.yaml:16: workload.arrivals: must be a mapping, not 4.0",
        ),
        (
            ", rate_rps: 4.0",
            "",
            "bad.yaml:16: workload.arrivals.rate_rps: is required",
        ),
        (
            "name: small\n",
            "",
            "bad.yaml:1: name: is required",
        ),
        (
            "name: small",
            "name: a/b",
            "bad.yaml:1: name: has characters that a name here cannot have: 'a/b'",
        ),
        (
            "preset: vllm-0.33",
            "preset: vllm-0.3",
            "bad.yaml:10: pools.reasoning.engine.preset: must be one of vllm-0.11, vllm-0.33, "
            "not 'vllm-0.3'; did you mean 'vllm-0.33'?",
        ),
        (
            "ttft_s: 2.0",
            "ttft_s: 0",
            "bad.yaml:21: slo.ttft_s: must be greater than 0, not 0",
        ),
        (
            "  num_requests: 40\n",
            "",
            "bad.yaml:14: workload: must say how much",
        ),
        (
            "slo: {",
            "measure: {window_s: 1, window_requests: 2}\nslo: {",
            "bad.yaml:21: measure: give either warmup_s and window_s or",
        ),
        (
            "seed: 0",
            "name: again",
            "bad.yaml:2: name: duplicate key, first given on line 1",
        ),
        (
            "    model: llama-3.1-8b",
            "    model: llama-9",
            "bad.yaml:5: pools.reasoning.model: ",
        ),
        (
            "    gpu: h100-sxm",
            "    gpu: h1000",
            "bad.yaml:6: pools.reasoning.gpu: ",
        ),
        (
            "    gpu: h100-sxm",
            "    gpu: ./no-such.yaml",
            "bad.yaml:6: pools.reasoning.gpu: ",
        ),
        (
            "    tensor_parallel_size: 1",
            "    tensor_parallel_size: 3",
            "bad.yaml:8: pools.reasoning.tensor_parallel_size: tensor_parallel_size must be one "
            "of 1, 2, 4, 8, not 3",
        ),
        (
            "model: llama-3.1-8b",
            "model: llama-3.3-70b",
            "bad.yaml:5: pools.reasoning.model: ",
        ),
        (
            "max_model_len: 16384",
            "max_model_len: 200000",
            "bad.yaml:13: pools.reasoning.engine.max_model_len: 200000 is more than the model can",
        ),
        (
            "max_model_len: 16384",
            "num_gpu_blocks: 101\n      max_model_len: 1601",
            "bad.yaml:14: pools.reasoning.engine.max_model_len: 1601 tokens do not fit",
        ),
        (
            "max_num_batched_tokens: 2048",
            "max_num_batched_tokens: 20480000",
            "bad.yaml:12: pools.reasoning.engine.max_num_batched_tokens: must be at most 1048576, "
            "not 20480000",
        ),
        (
            "max_num_batched_tokens: 2048",
            "max_num_batched_tokens: 32",
            "bad.yaml:12: pools.reasoning.engine.max_num_batched_tokens: 32 is below max_num_seqs",
        ),
        (
            "max_model_len: 16384",
            "enable_chunked_prefill: false",
            "bad.yaml:12: pools.reasoning.engine.max_num_batched_tokens: 2048 is below "
            "max_model_len",
        ),
        (
            "max_model_len: 16384",
            "kv_compression: {interval_iterations: 10}",
            "bad.yaml:13: pools.reasoning.engine.kv_compression: give either budget_tokens or",
        ),
    ],
)
def test_one_thing_wrong(workdir: Path, ponder: Ponder, old: str, new: str, expected: str) -> None:
    assert old in GOOD
    (workdir / "bad.yaml").write_text(GOOD.replace(old, new, 1))
    _expect(ponder("run", "bad.yaml"), workdir, expected)


@pytest.mark.parametrize(
    ("law", "expected"),
    [
        (
            "{kind: gama, shape: 2.0, scale: 100}",
            ["kind: must be one of constant, uniform, lognormal, lognormal_mixture, gamma, "],
        ),
        (
            "{kind: weibull, shape: 2.0, scal: 100}",
            ["scale: is required", "scal: unknown key; did you mean 'scale'?"],
        ),
        (
            "{kind: burr, c: 2.0, d: 0.9, scale: 5, threshold: 4}",
            ["threshold: unknown key; known: "],
        ),
        (
            "{kind: spliced, body: {kind: lognormal, mu: 5.0, sigm: 1.0}, threshold: 90, xi: 0.1, "
            "scale: 50}",
            ["body.sigma: is required", "body.sigm: unknown key; did you mean 'sigma'?"],
        ),
        (
            "{kind: quantiles, probabilities: [0, 1], tokens: [1, -2]}",
            ["tokens.1: must be at least 0, not -2"],
        ),
        ("{kind: empirical, tokens: []}", ["tokens: must have at least 1 item, not 0"]),
    ],
)
def test_a_wrong_length_law(workdir: Path, ponder: Ponder, law: str, expected: list[str]) -> None:
    old = "{kind: lognormal, mu: 4.0, sigma: 0.5, max: 512}"
    assert old in GOOD
    (workdir / "bad.yaml").write_text(GOOD.replace(old, law))
    place = "bad.yaml:19: workload.answer_tokens."
    _expect(ponder("run", "bad.yaml"), workdir, *(place + words for words in expected))


def test_everything_wrong_is_said_at_once(workdir: Path, ponder: Ponder) -> None:
    text = GOOD.replace("model: llama-3.1-8b", "model: llama-3.3-70b")  # too large for one GPU
    text = text.replace("rate_rps: 4.0", "rate_rps: -4.0").replace("ttft_s: 2.0", "ttft: 2.0")
    (workdir / "bad.yaml").write_text(text + "seed: 1\n")
    _expect(
        ponder("run", "bad.yaml", "--set", "measure.windows=3", "--set", "oops"),
        workdir,
        "bad.yaml:5: pools.reasoning.model: ",
        "bad.yaml:16: workload.arrivals.rate_rps: must be greater than 0",
        "bad.yaml:21: slo.ttft: unknown key; did you mean 'ttft_s'?",
        "bad.yaml:22: seed: duplicate key, first given on line 2",
        "--set measure.windows=3: measure.windows: unknown key; did you mean",
        "--set oops: must have the form path.to.key=value",
    )


def test_a_misspelt_key_does_not_raise_a_second_problem(workdir: Path, ponder: Ponder) -> None:
    """Without its tensor_parallel_size the model would not fit, but that is not what is wrong."""
    text = GOOD.replace("model: llama-3.1-8b", "model: llama-3.3-70b")
    text = text.replace("tensor_parallel_size: 1", "tensor_paralel_size: 4")
    (workdir / "bad.yaml").write_text(text)
    _expect(
        ponder("run", "bad.yaml"),
        workdir,
        "bad.yaml:8: pools.reasoning.tensor_paralel_size: unknown key; did you mean "
        "'tensor_parallel_size'?",
    )


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("seeds=3", "seeds: unknown key; did you mean 'seed'?"),
        ("slow.ttft_s=3", "slow: no such path; did you mean 'slo'?"),
        ("pools.main.replicas=3", "pools.main: no such path; known: reasoning"),
        ("workload.arrivals.rate_rps=-1", "workload.arrivals.rate_rps: must be greater than 0"),
        ("workload.arrivals={kind: poisson}", "workload.arrivals.rate_rps: is required"),
        ("pools.reasoning.replicas=[1", "not valid YAML"),
        ("pools.reasoning.model=llama-3.3-70b", "pools.reasoning.model: "),
        ("name.x=1", "name: is the single value 'small'"),
    ],
)
def test_bad_override(workdir: Path, ponder: Ponder, change: str, expected: str) -> None:
    _expect(ponder("run", "good.yaml", "--set", change), workdir, f"--set {change}: {expected}")


def test_missing_file(workdir: Path, ponder: Ponder) -> None:
    _expect(ponder("run", "nowhere.yaml"), workdir, "nowhere.yaml: no such file")


def test_yaml_syntax(workdir: Path, ponder: Ponder) -> None:
    (workdir / "bad.yaml").write_text(GOOD.replace("rate_rps: 4.0}", "rate_rps: 4.0"))
    _expect(ponder("run", "bad.yaml"), workdir, "bad.yaml:17: not valid YAML: while parsing")


def test_missing_trace(workdir: Path, ponder: Ponder) -> None:
    (workdir / "bad.yaml").write_text(TRACE)
    _expect(ponder("run", "bad.yaml"), workdir, "bad.yaml:5: workload.path: no such file")


def test_trace_of_an_override_is_relative_to_the_cwd(workdir: Path, ponder: Ponder) -> None:
    (workdir / "bad.yaml").write_text(TRACE)
    change = "workload.path=elsewhere.csv"
    _expect(
        ponder("run", "bad.yaml", "--set", change),
        workdir,
        f"--set {change}: workload.path: no such file: {workdir / 'elsewhere.csv'}",
    )


ROWS = """\
TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:15:46.6805900,374,44
2023-11-16 18:15:50.9951690,many,109
2023-11-16 18:15:51.2224670,91
"""


def test_malformed_trace_rows(workdir: Path, ponder: Ponder) -> None:
    (workdir / "trace.csv").write_text(ROWS)
    (workdir / "bad.yaml").write_text(TRACE)
    trace = workdir / "trace.csv"
    _expect(
        ponder("run", "bad.yaml"),
        workdir,
        f"{trace}:3: ContextTokens: ",
        f"{trace}:4: ",
    )


def test_malformed_trace_rows_show_beside_other_problems(workdir: Path, ponder: Ponder) -> None:
    (workdir / "trace.csv").write_text(ROWS)
    (workdir / "bad.yaml").write_text(TRACE.replace("llama-3.1-8b", "llama-3.3-70b"))
    trace = workdir / "trace.csv"
    _expect(
        ponder("run", "bad.yaml"),
        workdir,
        "bad.yaml:2: pools.reasoning.model: ",
        f"{trace}:3: ContextTokens: ",
        f"{trace}:4: ",
    )


def test_out_directory_with_other_files_is_left_alone(workdir: Path, ponder: Ponder) -> None:
    thesis = workdir / "thesis"
    thesis.mkdir()
    (thesis / "chapter.txt").write_text("words")
    outcome = ponder("run", "good.yaml", "--out", "thesis")
    assert outcome.code == 2
    assert outcome.errors == [
        "error: thesis: is not empty and not an earlier result of ponder; choose another directory"
    ]
    assert [path.name for path in thesis.iterdir()] == ["chapter.txt"]


@pytest.mark.parametrize("args", [("run",), ("run", "good.yaml", "--seed", "-1"), ("rum",)])
def test_bad_usage(workdir: Path, ponder: Ponder, args: tuple[str, ...]) -> None:
    outcome = ponder(*args)
    assert outcome.code == 2
    assert "Usage: ponder" in outcome.err


def test_exit_code_of_the_real_process(workdir: Path) -> None:
    (workdir / "bad.yaml").write_text(GOOD.replace("replicas: 1", "replicas: 0"))
    ended = subprocess.run(
        [sys.executable, "-m", "simulator.cli.main", "run", "bad.yaml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert ended.stdout == ""
    [line] = ended.stderr.splitlines()
    assert line.startswith("error: bad.yaml:7: pools.reasoning.replicas: ")
