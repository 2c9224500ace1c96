"""A trace becomes a workload whose requests are like the trace's; the bars on public traces."""

import gzip
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from pydantic import TypeAdapter
from scipy.stats import ks_2samp

from simulator.prefix import PromptSegments
from workloads.batch import Sessions
from workloads.fitting.choice import fit_lengths, quantile_misses
from workloads.fitting.dependence import spearman
from workloads.fitting.gap_statistics import gap_cv, tie_share
from workloads.fitting.sample import LengthSample
from workloads.fitting.workload import fit_workload
from workloads.kinds import AnyWorkload
from workloads.traces import TraceRows, read_trace

SHARED = Path(__file__).parents[2] / "../shared/data/workloads"
LONGER = 8
"""So many times the trace's length is drawn: alone, p99 of 12,000 lengths varies by 4 %."""


def made_rows(n: int = 6_000, seed: int = 0, **columns: Any) -> TraceRows:
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=n)

    def tokens(mu: float, sigma: float, weight: float) -> np.ndarray:
        score = weight * shared + np.sqrt(1 - weight**2) * rng.normal(size=n)
        return np.maximum(np.rint(np.exp(mu + sigma * score)), 1).astype(np.int64)

    return TraceRows(
        arrival_s=np.cumsum(rng.exponential(0.5, n)),
        prompt_tokens=tokens(6, 1, 0.7),
        thinking_tokens=tokens(7, 1, 0.7),
        answer_tokens=tokens(5, 0.7, 0.4),
        **columns,
    )


def loaded(text: str) -> Any:
    """The workload in a YAML document, as the configuration of an experiment reads it."""
    document = yaml.safe_load(text)
    assert list(document) == ["workload"]
    return TypeAdapter(AnyWorkload).validate_python(document["workload"])


def test_lengths_and_their_dependence_are_reproduced() -> None:
    rows = made_rows()
    fitted = fit_workload(rows)
    text = fitted.to_yaml(["from a test"])
    assert text.startswith("# from a test\n")
    batch = loaded(text).generate(3)
    assert len(batch) == pytest.approx(len(rows), rel=0.05)
    columns = ("prompt_tokens", "thinking_tokens", "answer_tokens")
    for column in columns:
        ours, theirs = getattr(batch, column), getattr(rows, column)
        np.testing.assert_allclose(
            np.quantile(ours, [0.5, 0.9]), np.quantile(theirs, [0.5, 0.9]), rtol=0.08
        )
    for first, second in ((0, 1), (0, 2), (1, 2)):
        ours = spearman(getattr(batch, columns[first]), getattr(batch, columns[second]))
        theirs = spearman(getattr(rows, columns[first]), getattr(rows, columns[second]))
        assert ours == pytest.approx(theirs, abs=0.04)


def test_the_yaml_holds_what_was_fitted() -> None:
    fitted = fit_workload(made_rows(2_000))
    written = yaml.safe_load(fitted.to_yaml([]))["workload"]
    assert written == fitted.fields
    assert fitted.to_yaml([]) == fit_workload(made_rows(2_000)).to_yaml([])


def test_comments_say_how_good_it_is_and_what_is_lost() -> None:
    n = 500
    sessions = Sessions(
        session_id=np.arange(n) // 2,
        turn=(np.arange(n) % 2).astype(np.int32),
        after=np.where(np.arange(n) % 2, np.arange(n) - 1, -1),
        pause_s=np.zeros(n),
    )
    rows = made_rows(
        n,
        sessions=sessions,
        segments=PromptSegments.from_lists([[(i, 1)] for i in range(n)]),
        client_id=(np.arange(n) % 3).astype(np.int32),
        client_names=("a", "b", "c"),
        estimated=("prompt_tokens",),
    )
    text = fit_workload(rows).to_yaml([])
    for words in (
        "# Not reproduced:",
        "sessions: turns arrive as requests of their own",
        "prefixes that prompts share",
        "which of 3 clients",
        "estimated in the trace itself: prompt_tokens",
        "CV of their gaps",
        "KS 0.0",
        "AIC",
        "of normal scores",
    ):
        assert words in text
    assert max(len(line) for line in text.splitlines()) <= 110


def test_no_thinking_is_said_and_left_out() -> None:
    rows = made_rows(500)
    plain = TraceRows(rows.arrival_s, rows.prompt_tokens, rows.answer_tokens)
    fitted = fit_workload(plain)
    assert "thinking_tokens" not in fitted.fields
    assert list(fitted.fields["correlation"]) == ["prompt_answer"]
    assert "thinking: none is recorded" in fitted.to_yaml([])


def test_a_request_alone_and_all_at_once() -> None:
    for n in (1, 5):
        ones = np.full(n, 7, dtype=np.int64)
        workload = loaded(fit_workload(TraceRows(np.zeros(n), ones, ones)).to_yaml([]))
        batch = workload.generate(0)
        assert batch.prompt_tokens.tolist() == [7] * n
        assert batch.arrival_s.tolist() == [0] * n
    with pytest.raises(ValueError, match="no rows"):
        fit_workload(TraceRows(np.zeros(0), ones[:0], ones[:0]))


def classed(kinds: np.ndarray, names: tuple[str, ...], **changes: Any) -> TraceRows:
    return made_rows(len(kinds), class_id=kinds.astype(np.int32), class_names=names, **changes)


def test_classes_become_a_mix_with_laws_of_their_own() -> None:
    kinds = (np.random.default_rng(1).random(4_000) < 0.25).astype(int)
    rows = classed(kinds, ("chat", "long form"))
    long = rows.prompt_tokens * np.where(kinds == 1, 10, 1)
    rows = TraceRows(**(vars(rows) | {"prompt_tokens": long}))
    workload = loaded(fit_workload(rows).to_yaml([]))
    assert workload.kind == "mix"
    batch = workload.generate(0)
    assert batch.class_names == ("chat", "long_form")
    assert gap_cv(batch.arrival_s) == pytest.approx(gap_cv(rows.arrival_s), rel=0.08)
    assert (batch.class_id == 1).mean() == pytest.approx(0.25, abs=0.03)
    for i in (0, 1):
        ours = np.median(batch.prompt_tokens[batch.class_id == i])
        assert ours == pytest.approx(np.median(long[kinds == i]), rel=0.1)


def test_classes_that_take_turns_share_one_process() -> None:
    kinds = np.arange(4_000) % 3 == 0  # each alone is more regular than both together
    rows = classed(kinds.astype(int), ("chat", "code"))
    fitted = fit_workload(rows)
    assert fitted.fields["classes"]["code"]["share"] == pytest.approx(1 / 3, abs=1e-3)
    batch = loaded(fitted.to_yaml([])).generate(0)
    assert gap_cv(batch.arrival_s) == pytest.approx(gap_cv(rows.arrival_s), rel=0.08)


def test_small_classes_are_put_together() -> None:
    kinds = np.concatenate((np.zeros(2_000), np.ones(60), np.full(70, 2)))
    kinds = np.random.default_rng(0).permutation(kinds)
    fitted = fit_workload(classed(kinds, ("chat", "rare", "other")))
    assert list(fitted.fields["classes"]) == ["chat", "other"]
    assert loaded(fitted.to_yaml([])).generate(0).class_names == ("chat", "other")


@pytest.mark.parametrize("times", [np.zeros(600), np.arange(600.0)])
def test_classes_share_arrivals_that_cannot_be_taken_apart(times: np.ndarray) -> None:
    kinds = np.concatenate((np.zeros(200), np.ones(400)))
    rows = classed(kinds, ("a", "b"))
    rows = TraceRows(**(vars(rows) | {"arrival_s": times}))
    fitted = fit_workload(rows)
    assert fitted.fields["kind"] == "mix"
    assert "which class comes when" in fitted.to_yaml([])
    batch = loaded(fitted.to_yaml([])).generate(0)
    assert len(batch) == 600
    assert (batch.class_id == 1).mean() == pytest.approx(2 / 3, abs=0.08)


@pytest.mark.parametrize(
    ("name", "ties"),
    [
        ("AzureLLMInferenceTrace_conv.csv.gz", 0.0),
        ("mooncake_conversation_trace.jsonl.gz", 0.902),
    ],
)
@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the shared workload data")
def test_public_traces_are_reproduced(name: str, ties: float) -> None:
    rows, _ = read_trace(SHARED / name)
    workload = loaded(fit_workload(rows).to_yaml([]))
    once = workload.generate(0)
    assert len(once) == pytest.approx(len(rows), rel=0.03)
    assert gap_cv(once.arrival_s) == pytest.approx(gap_cv(rows.arrival_s), rel=0.1)
    for column in ("prompt_tokens", "answer_tokens"):
        # p99 of one run has a standard deviation of 4 %: that of the law itself has none.
        law = getattr(workload, column)
        wanted = np.quantile(getattr(rows, column), [0.5, 0.9, 0.99])
        np.testing.assert_allclose(law.quantile(np.array([0.5, 0.9, 0.99])), wanted, rtol=0.05)
        assert ks_2samp(getattr(once, column), getattr(rows, column)).statistic < 0.03
    longer = workload.model_copy(update={"duration_s": LONGER * workload.duration_s}).generate(1)
    for batch in (once, longer):
        assert tie_share(batch.arrival_s) == pytest.approx(ties, abs=0.01)
    assert gap_cv(longer.arrival_s) == pytest.approx(gap_cv(rows.arrival_s), rel=0.1)
    for column in ("prompt_tokens", "answer_tokens"):
        wanted = np.quantile(getattr(rows, column), [0.5, 0.9, 0.99])
        found = np.quantile(getattr(longer, column), [0.5, 0.9, 0.99])
        np.testing.assert_allclose(found, wanted, rtol=0.05)
    ours = spearman(longer.prompt_tokens, longer.answer_tokens)
    assert ours == pytest.approx(spearman(rows.prompt_tokens, rows.answer_tokens), abs=0.02)


@lru_cache
def thinking_lengths() -> LengthSample:
    """ServeGen's thinking: output x share, drawn independently within client and window."""
    total = np.zeros(1 << 16)
    with gzip.open(SHARED / "servegen_r1_pdfs.jsonl.gz", "rt") as lines:
        for line in lines:
            window = json.loads(line)
            output = np.array(window["output_tokens"]["value"])
            share = np.array(window["reason_ratio"]["prob"])
            used = np.flatnonzero(share)
            tokens = np.rint(output[:, None] * (used / len(share))).astype(np.int64)
            weight = np.outer(window["output_tokens"]["prob"], share[used])
            weight *= window["n_requests"] / weight.sum()
            total += np.bincount(tokens.ravel(), weight.ravel(), len(total))
    values = np.flatnonzero(total)
    return LengthSample.of(values, total[values])


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the shared workload data")
def test_r1_thinking_is_a_mixture_not_a_pareto() -> None:
    sample = thinking_lengths()
    fitted = fit_lengths(sample)
    assert fitted.best is not None
    assert fitted.best is fitted.ranked[0]
    assert fitted.best.title == "log-normal mixture of 3"
    assert fitted.best.ks <= 0.0125
    assert fitted.fields["kind"] == "lognormal_mixture"
    assert max(abs(miss) for miss in quantile_misses(sample, fitted.law).values()) < 0.05
    reference = json.loads((SHARED / "fits.json").read_text())["servegen_r1_thinking"]
    by_title = {law.title: law for law in fitted.ranked}
    pairs = {
        "log-normal mixture of 2": "mix2",
        "Burr XII": "burr12",
        "log-normal": "lognormal",
        "generalised Pareto (Lomax)": "lomax_gpd",
        "Weibull": "weibull",
        "gamma": "gamma",
    }
    for title, key in pairs.items():
        assert by_title[title].ks == pytest.approx(reference[key]["ks"], abs=0.001)
        assert by_title[title].aic / sample.total == pytest.approx(
            reference[key]["aic_per_n"], abs=0.006
        )


@pytest.mark.parametrize(("n", "cap"), [(1_700, 20_000), (1_700, None), (50_000, None)])
@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the shared workload data")
def test_samples_of_r1_thinking_are_mixtures_too(n: int, cap: int | None) -> None:
    sample = thinking_lengths()
    luck = (np.arange(n) + np.random.default_rng(n).random(n)) / n
    drawn = sample.quantile(luck)
    fitted = fit_lengths(LengthSample.of(drawn if cap is None else np.minimum(drawn, cap)))
    assert fitted.best is not None
    assert fitted.best.fields["kind"] == "lognormal_mixture"
    assert fitted.best.ks <= 0.02
