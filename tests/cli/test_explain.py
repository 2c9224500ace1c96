"""`ponder explain`: its numbers add up, its advice fits, and impossible batches are refused."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .support import GOOD, Outcome

Ponder = Callable[..., Outcome]


@pytest.fixture
def explained(ponder: Ponder, workdir: Path) -> Callable[..., Any]:
    """What `ponder explain good.yaml ARGS --json` prints."""

    def call(*args: str) -> Any:
        outcome = ponder("explain", "good.yaml", *args, "--json")
        assert outcome.code == 0, outcome.err
        return json.loads(outcome.out)

    return call


def test_tables_say_what_an_iteration_and_the_memory_are_made_of(
    ponder: Ponder, workdir: Path
) -> None:
    outcome = ponder("explain", "good.yaml", "--batch", "8", "--context", "1000")
    assert outcome.code == 0
    assert outcome.err == ""
    for words in (
        "llama-3.1-8b on h100-sxm, vllm-0.33 (asynchronous), weights bf16",
        "8 requests decoding at 1,000 tokens",
        "decode attention",
        "gate_up_proj",
        "memory",
        "CUDA graphs",
        "blocks of 16 tokens",
        "max_num_seqs",
        "MBU",
    ):
        assert words in outcome.out
    assert all(len(line) <= 120 for line in outcome.out.splitlines())


def test_parts_add_up_to_the_iteration(explained: Callable[..., Any]) -> None:
    found = explained("--batch", "8", "--context", "1000", "--prefill", "300")
    assert found["decodes"] == 8
    assert found["prefill_tokens"] == 300
    shares = found["shares"]
    assert sum(part["seconds"] for part in shares) == pytest.approx(found["iteration_s"])
    assert sum(part["share"] for part in shares) == pytest.approx(1)
    seconds = [part["seconds"] for part in shares]
    assert seconds == sorted(seconds, reverse=True)
    names = {part["name"] for part in shares}
    assert {"prefill attention", "decode attention", "lm_head", "host"} <= names
    moved_s = sum(part["gigabytes"] for part in shares) / 3350
    assert found["mbu"] == pytest.approx(moved_s / found["iteration_s"])
    assert 0 < found["mfu"] < 1
    assert found["iteration_s"] > explained("--batch", "8", "--context", "1000")["iteration_s"]


def test_memory_adds_up(explained: Callable[..., Any]) -> None:
    found = explained()
    lines = found["memory"]
    spent = sum(lines[name] for name in ("weights", "activations", "CUDA graphs", "other", "KV"))
    assert spent == lines["utilisation"]
    block = found["block_size"] * found["kv_bytes_per_token"]
    assert lines["KV"] == found["num_gpu_blocks"] * block + lines["unused"]


def test_batches_that_fit_do_and_one_more_would_not(
    explained: Callable[..., Any], ponder: Ponder, workdir: Path
) -> None:
    rows = explained()["fitting"]
    assert [row["context_tokens"] for row in rows] == [1024, 2048, 4096, 8192, 16384]
    requests = [row["requests"] for row in rows]
    assert requests == sorted(requests, reverse=True)
    assert {row["limit"] for row in rows} == {"KV cache", "max_num_seqs"}
    tight = next(row for row in rows if row["limit"] == "KV cache")
    batch, context = tight["requests"], str(tight["context_tokens"])
    found = explained("--batch", str(batch), "--context", context)
    assert found["iteration_s"] == pytest.approx(tight["iteration_s"])
    assert tight["output_tokens_per_s"] == pytest.approx(batch / tight["iteration_s"])
    refused = ponder("explain", "good.yaml", "--batch", str(batch + 1), "--context", context)
    assert refused.code == 2
    assert f"--batch: {batch + 1} requests with {context} tokens each do not fit" in refused.err
    assert f"at most {batch}" in refused.err


def test_the_default_batch_is_the_largest(explained: Callable[..., Any]) -> None:
    found = explained()
    row = next(row for row in found["fitting"] if row["context_tokens"] == 4096)
    assert (found["context_tokens"], found["decodes"]) == (4096, row["requests"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--context", "16385"], "--context: 16385 is more than max_model_len 16384"),
        (["--prefill", "3000"], "--prefill: .* more than max_num_batched_tokens 2048"),
        (["--batch", "0"], "--batch: there is nothing to do"),
        (["--batch", "65", "--context", "10"], "--batch: 65 requests .* at most 64"),
    ],
)
def test_impossible_batches_are_refused(
    ponder: Ponder, workdir: Path, arguments: list[str], message: str
) -> None:
    outcome = ponder("explain", "good.yaml", *arguments)
    assert outcome.code == 2
    assert len(outcome.errors) == 1
    assert re.search(message, outcome.err)


def test_a_prompt_alone(explained: Callable[..., Any]) -> None:
    found = explained("--batch", "0", "--prefill", "2048")
    assert "decode attention" not in {part["name"] for part in found["shares"]}
    assert found["shares"][0]["bound"] == "compute"


def test_given_blocks_leave_no_memory_to_explain(ponder: Ponder, workdir: Path) -> None:
    given = ("--set", "pools.reasoning.engine.num_gpu_blocks=2000")
    outcome = ponder("explain", "good.yaml", *given)
    assert outcome.code == 0
    assert "num_gpu_blocks 2,000 is given" in outcome.out
    assert json.loads(ponder("explain", "good.yaml", *given, "--json").out)["memory"] is None


def test_experts_windows_and_several_gpus(explained: Callable[..., Any]) -> None:
    found = explained("--set", "pools.reasoning.model=gpt-oss-20b")
    names = {part["name"] for part in found["shares"]}
    assert {"experts", "router", "window decode attention"} <= names
    assert found["weights"] == ["bf16", "mxfp4"]
    spread = explained(
        "--set", "pools.reasoning.model=mixtral-8x7b",
        "--set", "pools.reasoning.tensor_parallel_size=4",
        "--set", "pools.reasoning.enable_expert_parallel=true",
    )  # fmt: skip
    assert spread["num_gpus"] == 4
    network = [part["name"] for part in spread["shares"] if part["bound"] == "network"]
    assert sorted(network) == ["all-gather", "all-reduce"]


def test_a_bad_experiment_says_where(ponder: Ponder, workdir: Path) -> None:
    (workdir / "bad.yaml").write_text(GOOD.replace("llama-3.1-8b", "llama-9"))
    outcome = ponder("explain", "bad.yaml")
    assert outcome.code == 2
    assert outcome.errors[0].startswith("error: bad.yaml:5: pools.reasoning.model: unknown model")


def test_what_weakens_the_figures_is_noted(explained: Callable[..., Any]) -> None:
    notes = " ".join(explained("--set", "pools.reasoning.gpu=l40s")["notes"])
    assert "l40s is not calibrated" in notes
    assert "not measured on l40s" in notes
    assert "calibrated" not in " ".join(explained()["notes"])


def test_mxfp4_needs_experts(ponder: Ponder, workdir: Path) -> None:
    outcome = ponder("explain", "good.yaml", "--set", "pools.reasoning.weight_dtype=mxfp4")
    assert outcome.code == 2
    assert "mxfp4 is a format of experts, and llama-3.1-8b has none" in outcome.err


@pytest.mark.parametrize("batch", [(), ("--batch", "8")])
def test_a_prompt_beyond_the_budget_is_refused_as_such(
    ponder: Ponder, workdir: Path, batch: tuple[str, ...]
) -> None:
    outcome = ponder("explain", "good.yaml", "--prefill", "1000000", *batch)
    assert outcome.code == 2
    assert "--prefill: 1000000 tokens are more than max_num_batched_tokens" in outcome.err
    assert len(outcome.errors) == 1
