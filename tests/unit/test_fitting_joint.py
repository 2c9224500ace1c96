"""Generated lengths have the rank correlations of the rows, or it is said that they have not."""

from typing import Any

import numpy as np
import pytest
import yaml
from pydantic import TypeAdapter

from workloads.fitting.dependence import spearman
from workloads.fitting.joint import WITHIN_SIGMA
from workloads.fitting.workload import fit_workload
from workloads.kinds import AnyWorkload
from workloads.traces import TraceRows

COLUMNS = ("prompt_tokens", "thinking_tokens", "answer_tokens")
PAIRS = ((0, 1), (0, 2), (1, 2))


def made_rows(sigma: float, shared: float, n: int = 5_000, **changes: Any) -> TraceRows:
    """Thinking of this log standard deviation, normal scores correlated with the prompt's."""
    rng = np.random.default_rng(0)
    prompt = rng.normal(size=n)
    thinking = shared * prompt + np.sqrt(1 - shared**2) * rng.normal(size=n)

    def tokens(score: np.ndarray) -> np.ndarray:
        return np.maximum(np.rint(np.exp(score)), 1).astype(np.int64)

    columns = {
        "prompt_tokens": tokens(6 + prompt),
        "thinking_tokens": tokens(7 + sigma * thinking),
        "answer_tokens": tokens(5 + 0.5 * rng.normal(size=n)),
    }
    return TraceRows(arrival_s=np.cumsum(rng.exponential(0.5, n)), **(columns | changes))


def generated(text: str) -> Any:
    workload = TypeAdapter(AnyWorkload).validate_python(yaml.safe_load(text)["workload"])
    return workload.generate(1)


def ranks(rows: Any) -> list[float]:
    return [spearman(getattr(rows, COLUMNS[i]), getattr(rows, COLUMNS[j])) for i, j in PAIRS]


@pytest.mark.parametrize(
    ("sigma", "shared"), [(0.25, 0.735), (0.25, 0.95), (0.1, -0.6), (0.35, 0.9)]
)
def test_narrow_thinking_keeps_its_correlation(sigma: float, shared: float) -> None:
    rows = made_rows(sigma, shared)
    fitted = fit_workload(rows)
    text = fitted.to_yaml([])
    assert 0 < fitted.fields["within_problem_sigma"] <= sigma / 2 * 1.02
    assert "a trace shows one attempt" in text
    batch = generated(text)
    assert ranks(batch) == pytest.approx(ranks(rows), abs=0.04)
    assert np.log(batch.thinking_tokens).std() == pytest.approx(sigma, rel=0.05)
    assert "rank correlation of" not in text
    assert max(len(line) for line in text.splitlines()) <= 110


def test_wide_thinking_has_the_usual_sigma() -> None:
    fitted = fit_workload(made_rows(1.0, 0.7))
    assert "within_problem_sigma" not in fitted.fields
    larger = 1 / np.sqrt(1 - WITHIN_SIGMA**2)
    assert fitted.fields["correlation"]["prompt_thinking"] == pytest.approx(0.7 * larger, abs=0.02)


@pytest.mark.parametrize(("sigma", "n"), [(0.0, 5_000), (0.2, 5_000), (0.2, 150)])
def test_narrow_thinking_that_depends_on_nothing_is_left_alone(sigma: float, n: int) -> None:
    fitted = fit_workload(made_rows(sigma, 0.0, n))
    assert "within_problem_sigma" not in fitted.fields
    assert not any("thinking" in pair for pair in fitted.fields.get("correlation", {}))
    assert not any("rank" in line or "attempts" in line for line in fitted.lost)


def test_ties_weaken_ranks_and_are_made_up_for() -> None:
    rows = made_rows(1.0, 0.8)
    thinking = np.where(rows.thinking_tokens < 1_300, 0, rows.thinking_tokens)
    prompt = np.where(rows.prompt_tokens < 500, 100, 1_000)
    rows = made_rows(1.0, 0.8, thinking_tokens=thinking, prompt_tokens=prompt)
    batch = generated(fit_workload(rows).to_yaml([]))
    assert ranks(batch) == pytest.approx(ranks(rows), abs=0.04)


def test_attempts_think_alike_where_nothing_else_gives_the_correlation() -> None:
    rows = made_rows(0.25, 0.985)
    fitted = fit_workload(rows)
    assert fitted.fields["within_problem_sigma"] == 0
    assert any("they think alike" in line for line in fitted.lost)
    assert ranks(generated(fitted.to_yaml([]))) == pytest.approx(ranks(rows), abs=0.03)


def test_what_cannot_be_kept_is_said() -> None:
    rows = made_rows(1.0, 0.0)
    high = rows.prompt_tokens > np.median(rows.prompt_tokens)
    changes = {"prompt_tokens": np.where(high, 900, 100), "thinking_tokens": np.where(high, 50, 10)}
    text = fit_workload(made_rows(1.0, 0.0, **changes)).to_yaml([])
    lost = text[: text.index("workload:")]
    assert "#   - the rank correlation of prompt and thinking, 1.00: drawn ones have 0.9" in lost
    few = fit_workload(made_rows(1.0, 0.9, n=60)).to_yaml([])
    assert "how lengths depend on each other" in few[: few.index("workload:")]


def test_a_class_says_what_it_loses() -> None:
    rows = made_rows(0.25, 0.7, n=4_000)
    kinds = np.random.default_rng(1).random(4_000) < 0.02  # 80 of them
    fitted = fit_workload(
        made_rows(0.25, 0.7, n=4_000, class_id=kinds.astype(np.int32), class_names=("chat", "rare"))
    )
    assert fitted.fields["classes"]["chat"]["within_problem_sigma"] < 0.15
    assert any(line.startswith("class other: how lengths") for line in fitted.lost)
    batch = generated(fitted.to_yaml([]))
    assert ranks(batch)[0] == pytest.approx(ranks(rows)[0], abs=0.05)
