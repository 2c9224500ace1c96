"""Correlated lengths keep their laws; a problem and its samples share what they should."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import stats

from simulator.rng import uniforms
from workloads.laws.copula import Correlation, problem_and_sample_uniforms, split_variance
from workloads.laws.families import GammaLength, WeibullLength
from workloads.lengths import (
    ConstantLength,
    LognormalLength,
    LognormalMixtureLength,
    PresetLength,
    UniformLength,
)

PROMPT = PresetLength(name="deepseek_r1_api.prompt")
THINKING = PresetLength(name="deepseek_r1_api.thinking")
ANSWER = PresetLength(name="deepseek_r1_api.answer")
MLPERF_R1 = LognormalMixtureLength(
    weights=[0.2984, 0.4349, 0.2667],
    mu=[6.2699, 7.3849, 8.8739],
    sigma=[0.3337, 0.6482, 0.5849],
    max=20_000,
)
N = 100_000


def luck(seed, count=N):
    """Independent uniforms of prompt, thinking and answer."""
    streams = ("prompt", "thinking", "answer")
    return np.column_stack([uniforms(seed, name, "default", count)[:, 0] for name in streams])


def lengths(u):
    laws = (PROMPT, THINKING, ANSWER)
    return [law.quantile(u[:, column]) for column, law in enumerate(laws)]


def spearman(columns):
    return stats.spearmanr(np.column_stack(columns)).statistic[np.triu_indices(3, 1)]


def test_without_correlation_the_three_are_independent():
    u = luck(0)
    same = Correlation().correlate(u)
    assert same is u
    assert np.abs(spearman(lengths(same))).max() < 4 / np.sqrt(N)


@pytest.mark.parametrize(
    ("pt", "pa", "ta"), [(0.5, 0.0, 0.0), (0.0, 0.3, 0.0), (0.0, 0.0, -0.6), (0.4, 0.2, 0.7)]
)
def test_ranks_follow_the_correlation_and_every_mean_stays(pt, pa, ta):
    correlation = Correlation(prompt_thinking=pt, prompt_answer=pa, thinking_answer=ta)
    drawn = lengths(correlation.correlate(luck(1)))
    expected = 6 / np.pi * np.arcsin(np.array([pt, pa, ta]) / 2)
    assert spearman(drawn) == pytest.approx(expected, abs=4 / np.sqrt(N))
    for column, law in zip(drawn, (PROMPT, THINKING, ANSWER), strict=True):
        assert abs(column.mean() - law.mean()) < 4 * column.std() / np.sqrt(N)


@settings(deadline=None, max_examples=20)
@given(
    ta=st.floats(-0.99, 0.99),
    pt=st.floats(-0.1, 0.1),
    seed=st.integers(0, 2**40),
)
def test_no_correlation_moves_the_mean_of_answers(ta, pt, seed):
    correlation = Correlation(prompt_thinking=pt, thinking_answer=ta)
    u = correlation.correlate(luck(seed, 20_000))
    answer = ANSWER.quantile(u[:, 2])
    assert abs(answer.mean() - ANSWER.mean()) < 6 * answer.std() / np.sqrt(20_000)
    assert stats.kstest(u[:, 2], "uniform").pvalue > 1e-9
    assert u.min() > 0
    assert u.max() < 1


def test_a_column_that_depends_on_nothing_is_left_alone():
    u = luck(2, 1000)
    only_last = Correlation(prompt_answer=0.5).correlate(u)
    assert np.array_equal(only_last[:, :2], u[:, :2])
    only_second = Correlation(prompt_thinking=0.5).correlate(u)
    assert np.array_equal(only_second[:, [0, 2]], u[:, [0, 2]])
    assert not np.array_equal(only_second[:, 1], u[:, 1])


def test_a_row_depends_on_itself_alone():
    correlation = Correlation(prompt_thinking=0.4, prompt_answer=0.2, thinking_answer=0.7)
    u = luck(3, 1000)
    whole = correlation.correlate(u)
    for start, stop in [(0, 1), (0, 17), (13, 14), (500, 1000)]:
        assert np.array_equal(correlation.correlate(u[start:stop]), whole[start:stop])
    assert np.array_equal(u, luck(3, 1000))  # the argument is not written to


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"prompt_thinking": 1.0}, "less than 1"),
        ({"thinking_answer": -1.0}, "greater than -1"),
        ({"prompt": 0.5}, "Extra inputs"),
        (
            {"prompt_thinking": 0.9, "prompt_answer": 0.9, "thinking_answer": -0.9},
            "contradict each other",
        ),
    ],
)
def test_impossible_correlations_are_refused(content, message):
    with pytest.raises(ValidationError, match=message):
        Correlation.model_validate(content)


@given(*[st.floats(-0.999, 0.999)] * 3)
def test_correlations_are_refused_exactly_where_no_three_numbers_have_them(pt, pa, ta):
    smallest = np.linalg.eigvalsh([[1, pt, pa], [pt, 1, ta], [pa, ta, 1]])[0]
    if abs(smallest) < 1e-6:
        return
    try:
        correlation = Correlation(prompt_thinking=pt, prompt_answer=pa, thinking_answer=ta)
    except ValidationError:
        assert smallest < 0
    else:
        assert smallest > 0
        assert np.isfinite(correlation.correlate(luck(0, 10))).all()


@pytest.mark.parametrize(
    ("sigma", "within"), [(1.084, 0.293), (0.628, 0.3), (1.5, 0.6), (0.301, 0.3), (2.0, 0.01)]
)
def test_the_part_of_the_problem_of_a_lognormal(sigma, within):
    law = LognormalLength(mu=12, sigma=sigma)
    assert split_variance(law, within) == pytest.approx(1 - (within / sigma) ** 2, abs=2e-6)


def test_the_part_of_the_problem_where_one_decides_it_all():
    assert split_variance(LognormalLength(mu=8, sigma=0.3), 0.3) == pytest.approx(0, abs=1e-5)
    assert split_variance(LognormalLength(mu=8, sigma=0.2), 0.3) == 0
    assert split_variance(ConstantLength(tokens=500), 0.3) == 0
    assert split_variance(ConstantLength(tokens=0), 0.3) == 0
    assert split_variance(LognormalLength(mu=8, sigma=1.0), 0.0) == 1


def attempts(law, within_sigma, problems=20_000, samples=8):
    """Lengths int64[problems, samples] of repeated attempts."""
    problem = uniforms(5, "thinking", "default", problems)[:, 0]
    icc = split_variance(law, within_sigma)
    drawn = [
        problem_and_sample_uniforms(
            problem, uniforms(5, "within", "default", problems, sample=j)[:, 0], icc
        )
        for j in range(samples)
    ]
    return np.column_stack([law.quantile(u) for u in drawn])


@pytest.mark.parametrize(("sigma", "within"), [(1.084, 0.293), (0.8, 0.3), (1.5, 0.6)])
def test_attempts_at_one_problem_differ_by_the_sigma_asked_for(sigma, within):
    law = LognormalLength(mu=8.0, sigma=sigma)
    drawn = attempts(law, within)
    spread = np.sqrt(np.log(drawn).var(axis=1, ddof=1).mean())
    assert spread == pytest.approx(within, rel=0.01)
    assert np.log(drawn).std() == pytest.approx(sigma, rel=0.02)


@pytest.mark.parametrize("within", [0.293, 0.6])
@pytest.mark.parametrize(
    "law",
    [
        MLPERF_R1,
        THINKING,
        GammaLength(shape=2.274, scale=3103, max=32768),
        WeibullLength(shape=1.931, scale=12849, max=32768),
        UniformLength(max=2000),
        LognormalLength(mu=1.0, sigma=0.7),
    ],
    ids=lambda law: law.describe(),
)
def test_any_law_is_kept_and_has_the_sigma_asked_for_within_a_problem(law, within):
    drawn = attempts(law, within)
    spread = np.sqrt(np.log(drawn).var(axis=1, ddof=1).mean())
    assert spread == pytest.approx(within, rel=0.02)
    for column in drawn[:, ::4].T:  # each attempt by itself is a draw of the law
        assert abs(column.mean() - law.mean()) < 4 * column.std() / np.sqrt(len(column))
        below = 1 - law.survival(np.sort(column))
        gap = np.abs(
            below - np.searchsorted(np.sort(column), np.sort(column), "right") / len(column)
        )
        assert gap.max() < 2 / np.sqrt(len(column))


@pytest.mark.parametrize("within", [0.3, 0.5, 1.0])
@pytest.mark.parametrize("mu", [(4, 8), (3, 8), (3, 10)])
@pytest.mark.parametrize("weights", [(0.5, 0.5), (0.9, 0.1)])
def test_modes_that_lie_far_apart_have_the_sigma_asked_for(mu, within, weights):
    law = LognormalMixtureLength(weights=weights, mu=mu, sigma=(0.3, 0.3))
    icc, n = split_variance(law, within), 400_000
    problem = (np.arange(n) + 0.5) / n
    first, second = (
        np.log(law.quantile(problem_and_sample_uniforms(problem, luck(seed, n)[:, 0], icc)))
        for seed in (0, 1)
    )
    assert np.sqrt(((first - second) ** 2).mean() / 2) == pytest.approx(within, rel=0.03)


def test_the_problem_decides_as_much_as_was_measured():
    """Deepseek-R1 on the MLPerf problems: intraclass correlation 0.932 of the log of thinking."""
    assert split_variance(MLPERF_R1, 0.293) == pytest.approx(0.932, abs=0.006)


def test_all_or_nothing_of_the_problem():
    problem, sample = uniforms(0, "thinking", "", 100)[:, 0], uniforms(0, "within", "", 100)[:, 0]
    assert problem_and_sample_uniforms(problem, sample, 0.0) is sample
    assert problem_and_sample_uniforms(problem, sample, 1.0) is problem
