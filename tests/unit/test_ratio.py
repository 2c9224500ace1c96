"""The share of an output that is thinking."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from scipy import stats

from workloads.laws.ratio import (
    BetaMixtureRatio,
    ConstantRatio,
    HistogramRatio,
    RatioLaw,
    split_output,
)

ADAPTER = TypeAdapter(RatioLaw)
SHARED = Path(__file__).parents[2] / "../shared/data/workloads"
R1 = BetaMixtureRatio(weights=[0.22, 0.78], a=[16.33, 4.59], b=[26.40, 1.21])


def grid(n):
    return (np.arange(n) + 0.5) / n


def test_a_beta_mixture_is_the_sum_of_scipys_betas():
    ratio = R1.quantile(grid(100_000))
    assert (np.diff(ratio) >= 0).all()
    exact = 0.22 * stats.beta(16.33, 26.40).cdf(ratio) + 0.78 * stats.beta(4.59, 1.21).cdf(ratio)
    assert np.abs(exact - grid(100_000)).max() < 1e-6
    assert ratio.mean() == pytest.approx(R1.mean(), abs=1e-6)


@settings(deadline=None, max_examples=50)
@given(
    a=st.floats(0.05, 5000), b=st.floats(0.05, 5000), other=st.floats(0.05, 50), u=st.floats(0, 1)
)
def test_any_beta_mixture_keeps_its_mean_and_its_order(a, b, other, u):
    law = BetaMixtureRatio(weights=[0.4, 0.6], a=[a, other], b=[b, 2.0])
    ratio = law.quantile(np.sort(np.append(grid(20_000), u)))
    assert ratio.min() >= 0
    assert ratio.max() <= 1
    assert (np.diff(ratio) >= 0).all()
    assert ratio.mean() == pytest.approx(law.mean(), abs=2e-4)


def test_the_published_mixture_is_that_of_deepseek_r1():
    """Against the 501 bins of the published histograms, each client weighted by its requests."""
    if not (SHARED / "servegen_r1_pdfs.jsonl.gz").is_file():
        pytest.skip("needs ../shared/data/workloads/servegen_r1_pdfs.jsonl.gz, which is absent")
    edges, total = np.linspace(0, 1, 502), np.zeros(501)
    with gzip.open(SHARED / "servegen_r1_pdfs.jsonl.gz", "rt") as lines:
        for row in map(json.loads, lines):
            total += row["n_requests"] * np.array(row["reason_ratio"]["prob"])
    below = np.cumsum(total) / total.sum()
    assert np.abs(R1.cdf(edges[1:]) - below).max() <= 0.02
    published = json.loads((SHARED / "fits.json").read_text())["servegen_r1_reason_ratio"]
    fit = published["beta_mix2"]
    assert (R1.weights, R1.a, R1.b) == (tuple(fit["w"]), tuple(fit["a"]), tuple(fit["b"]))
    measured = HistogramRatio(edges=edges.tolist(), counts=total.tolist())
    assert measured.mean() == pytest.approx(R1.mean(), abs=0.01)


def test_a_histogram_of_ratios():
    law = HistogramRatio(edges=[0, 0.5, 0.6, 1], counts=[1, 0, 3])
    ratio = law.quantile(grid(4000))
    assert (ratio <= 0.5).sum() == 1000
    assert not ((ratio > 0.5) & (ratio < 0.6)).any()
    assert ratio.mean() == pytest.approx(law.mean(), abs=1e-9)
    assert law.mean() == pytest.approx(0.25 * 0.25 + 0.75 * 0.8)


def test_a_constant_ratio():
    law = ConstantRatio(ratio=0.7)
    assert law.quantile(grid(3)).tolist() == [0.7] * 3
    assert law.mean() == 0.7


def test_an_output_is_split_so_that_an_answer_is_left():
    output = np.array([1, 2, 10, 10, 10, 1000])
    thinking, answer = split_output(output, np.array([1.0, 0.5, 0.0, 0.96, 0.72, 0.7123]))
    assert thinking.tolist() == [0, 1, 0, 9, 7, 712]
    assert answer.tolist() == [1, 1, 10, 1, 3, 288]
    assert thinking.dtype == answer.dtype == np.int64


@given(
    st.lists(st.tuples(st.integers(1, 2**31 - 1), st.floats(0, 1)), min_size=1, max_size=20),
)
def test_thinking_and_answer_are_the_output(pairs):
    output = np.array([tokens for tokens, _ in pairs])
    ratio = np.array([ratio for _, ratio in pairs])
    thinking, answer = split_output(output, ratio)
    assert np.array_equal(thinking + answer, output)
    assert thinking.min() >= 0
    assert answer.min() >= 1
    off = np.abs(thinking - output * ratio)
    assert (off <= np.maximum(0.5, 1 - (1 - ratio) * output) + 1e-15 * output).all()


@pytest.mark.parametrize(
    "law", [ConstantRatio(ratio=0.5), R1, HistogramRatio(edges=[0, 1], counts=[1])]
)
def test_a_law_survives_being_written_down(law):
    assert ADAPTER.validate_python(law.model_dump(mode="json")) == law
    assert law.describe()


BETA = {"kind": "beta_mixture", "weights": [0.5, 0.5], "a": [1.0, 2.0], "b": [3.0, 1.0]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"kind": "constant", "ratio": 1.1}, "less than or equal to 1"),
        ({**BETA, "weights": [0.5, 0.4]}, "sum to 0.9"),
        ({**BETA, "a": [1.0]}, "2, 1 and 2"),
        ({**BETA, "b": [1.0, 0.0]}, "greater than or equal to 0.01"),
        ({"kind": "histogram", "edges": [0, 1, 2], "counts": [1, 1]}, "less than or equal to 1"),
        ({"kind": "histogram", "edges": [0, 0.5, 0.5], "counts": [1, 1]}, "ascending"),
        ({"kind": "histogram", "edges": [0, 1], "counts": [1, 1]}, "2 counts need 3 edges"),
        ({"kind": "histogram", "edges": [0, 1], "counts": [0]}, "must not all be 0"),
        ({"kind": "normal"}, "beta_mixture"),
    ],
)
def test_bad_ratios_are_refused(content, message):
    with pytest.raises(ValidationError, match=message):
        ADAPTER.validate_python(content)
