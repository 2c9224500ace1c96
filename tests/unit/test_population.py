"""Populations of clients: what is drawn, and that nobody's draws depend on anybody else."""

import numpy as np
import pytest
from population_files import PDFS, ROWS, pdf, write_chunks, write_table
from pydantic import ValidationError

from simulator.errors import InputError
from workloads.population import PopulationWorkload
from workloads.population.draw import arrival_offsets
from workloads.population.pmf import RatioPmf, TokenPmf

COLUMNS = ("arrival_s", "prompt_tokens", "thinking_tokens", "answer_tokens", "client_id")


def workload(tmp_path, rows=ROWS, pdfs=PDFS, **settings):
    path = write_table(tmp_path, rows, pdfs)
    return PopulationWorkload(windows_path=str(path), **settings)


def of_client(batch, name):
    """What one client sent, (time, prompt, thinking, answer) each."""
    own = batch.client_id == batch.client_names.index(name)
    return np.column_stack([getattr(batch, column)[own] for column in COLUMNS[:-1]])


def same(one, other):
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in COLUMNS)


def test_a_day_is_a_valid_batch_with_its_clients_and_sources(tmp_path):
    batch = workload(tmp_path, class_name="api", max_tokens=150).generate(0)
    assert batch.client_names == ("0", "7")
    assert batch.class_names == ("api",)
    assert set(batch.max_tokens) == {150}
    # Lengths of the time: 1,000-token prompts at first, 3-token ones from noon on.
    seven = of_client(batch, "7")
    noon = seven[:, 0] >= 43200
    assert set(seven[~noon, 1]) == {1000.0}
    assert set(seven[noon, 1]) == {3.0}
    assert set(batch.prompt_tokens[batch.client_id == 0]) == {10, 20}
    output = batch.thinking_tokens + batch.answer_tokens
    assert set(output[batch.client_id == 0]) == {100, 200}
    # An output of 1 token is an answer, whatever the ratio.
    assert batch.answer_tokens.min() == 1
    assert (batch.thinking_tokens[output == 1] == 0).all()
    assert "2 clients of x_windows.csv" in batch.provenance["arrival_s"]
    assert "x_pdfs.jsonl.gz" in batch.provenance["prompt_tokens"]
    assert "independently as no joint is published" in batch.provenance["thinking_tokens"]


def test_both_layouts_draw_the_same(tmp_path):
    table = workload(tmp_path).generate(3)
    chunks = PopulationWorkload(windows_path=str(write_chunks(tmp_path))).generate(3)
    assert same(table, chunks)


def test_a_longer_run_begins_with_the_same_requests(tmp_path):
    whole = workload(tmp_path).generate(0)
    for duration_s in (500.0, 600.0, 1100.5, 50_000.0):
        part = workload(tmp_path).generate(0, duration_s=duration_s)
        n = len(part)
        assert n == (whole.arrival_s < duration_s).sum()
        assert all(np.array_equal(getattr(part, c), getattr(whole, c)[:n]) for c in COLUMNS)


def test_a_run_may_start_at_any_time(tmp_path):
    whole = workload(tmp_path).generate(0)
    late = workload(tmp_path, start_s=700.0, duration_s=300.0).generate(0)
    within = (whole.arrival_s >= 700) & (whole.arrival_s < 1000)
    assert len(late) == within.sum() > 100
    assert np.array_equal(late.arrival_s, whole.arrival_s[within] - 700.0)
    assert np.array_equal(late.thinking_tokens, whole.thinking_tokens[within])


def test_past_its_end_the_day_begins_anew_with_other_draws(tmp_path):
    days = workload(tmp_path, duration_s=2 * 86400.0).generate(0)
    first, second = days.arrival_s[days.arrival_s < 86400], days.arrival_s[days.arrival_s >= 86400]
    assert np.array_equal(first, workload(tmp_path).generate(0).arrival_s)
    assert len(second) == pytest.approx(len(first), rel=0.2)
    assert len(np.intersect1d(first, second - 86400)) == 0
    whole_day = workload(tmp_path, start_s=43200.0).generate(0)
    assert np.array_equal(
        whole_day.arrival_s,
        days.arrival_s[(days.arrival_s >= 43200) & (days.arrival_s < 129600)] - 43200,
    )


def test_another_client_changes_nobody_elses_draws(tmp_path):
    both = workload(tmp_path).generate(5)
    (tmp_path / "more").mkdir()
    rows = "3,0,2.0,1.2,Gamma,0.7,0.7\n" + ROWS
    three = workload(tmp_path / "more", rows, [*PDFS, pdf(3, 0)]).generate(5)
    assert three.client_names == ("0", "3", "7")
    for name in ("0", "7"):
        assert np.array_equal(of_client(both, name), of_client(three, name))


def test_another_window_changes_no_other_windows_draws(tmp_path):
    one = of_client(workload(tmp_path).generate(5), "7")
    (tmp_path / "more").mkdir()
    more = of_client(workload(tmp_path / "more", "7,0,3,1,Gamma,1,1\n" + ROWS).generate(5), "7")
    assert np.array_equal(one, more[more[:, 0] >= 600])


def test_copies_leave_the_first_alone_and_are_independent(tmp_path):
    once = workload(tmp_path).generate(5)
    twice = workload(tmp_path, scale=2.0).generate(5)
    assert twice.client_names == ("0", "7", "0#2", "7#2")
    for name in ("0", "7"):
        assert np.array_equal(of_client(once, name), of_client(twice, name))
        times = of_client(twice, name)[:, 0], of_client(twice, f"{name}#2")[:, 0]
        assert len(np.intersect1d(*times)) == 0


@pytest.mark.parametrize(("scale", "copies"), [(0.4, 1), (1.0, 1), (1.5, 2), (3.25, 4)])
def test_scale_scales_the_traffic(tmp_path, scale, copies):
    rows = "0,0,5.0,1.0,Gamma,1.0,0.2\n0,600,5.0,1.0,Gamma,1.0,0.2"
    sizes = [len(workload(tmp_path, rows, scale=scale).generate(seed)) for seed in range(20)]
    expected = 6000 * scale
    assert np.mean(sizes) == pytest.approx(expected, abs=4 * np.sqrt(expected / 20))
    assert len(workload(tmp_path, rows, scale=scale).generate(0).client_names) == copies


def test_a_part_of_a_copy_is_that_copy_slowed_down(tmp_path):
    rows = "0,0,5.0,2.0,Gamma,0.25,0.8"
    whole = of_client(workload(tmp_path, rows, scale=2.0).generate(0), "0#2")[:, 0]
    half = of_client(workload(tmp_path, rows, scale=1.5).generate(0), "0#2")[:, 0]
    assert 0 < len(half) < len(whole)
    assert np.allclose(half, 2 * whole[: len(half)], rtol=1e-12)


@pytest.mark.parametrize("family", ["gamma", "weibull"])
@pytest.mark.parametrize(("mean", "cv"), [(51, 6.7), (10, 3.0), (200, 0.4)])
def test_as_many_requests_as_expected_arrive_whatever_the_cv(family, mean, cv):
    counts = np.array(
        [
            len(arrival_offsets(0, f"{family}/{run}", 0, mean / 600, cv, family))
            for run in range(1500)
        ]
    )
    assert counts.mean() == pytest.approx(mean, abs=4 * counts.std() / np.sqrt(1500))


def test_arrivals_are_stationary_within_a_window():
    """Neither thinner nor denser at the start, which an ordinary renewal process would be."""
    offsets = np.concatenate(
        [arrival_offsets(1, str(run), 0, 50 / 600, 3.0, "gamma") for run in range(2000)]
    )
    share = np.histogram(offsets, bins=10, range=(0, 600))[0] / len(offsets)
    # 2,000 x 5 a bin, clumped: a variance of up to cv^2 a request.
    assert np.abs(share - 0.1).max() < 4 * 0.1 * 3.0 / np.sqrt(2000 * 5)
    assert offsets.min() >= 0
    assert offsets.max() < 600


def test_streaming_gives_the_same_requests_window_by_window(tmp_path):
    made = workload(tmp_path, start_s=600.0, duration_s=43_000.0)
    batches = list(made.batches(0))
    sizes = [len(batch) for batch in batches]
    assert sizes[0] > 500
    assert sizes[1:71] == [0] * 70  # nobody sends between 1,200 s and 43,200 s
    assert sizes[71] > 0
    assert len(sizes) == 72
    for number, batch in enumerate(batches):
        assert (batch.arrival_s // 600 == number).all()
    whole = made.generate(0)
    for name in COLUMNS:
        together = np.concatenate([getattr(batch, name) for batch in batches])
        assert np.array_equal(together, getattr(whole, name))


def test_the_limit_takes_the_first_requests(tmp_path):
    whole = workload(tmp_path).generate(2)
    for limit in (1, 300, 10**6):
        some = workload(tmp_path, limit=limit).generate(2)
        assert len(some) == min(limit, len(whole))
        assert np.array_equal(some.arrival_s, whole.arrival_s[:limit])
    assert np.array_equal(
        workload(tmp_path).limited(300).generate(2).arrival_s, whole.arrival_s[:300]
    )


def test_seeds_decide_everything(tmp_path):
    made = workload(tmp_path)
    assert same(made.generate(1), made.generate(1))
    assert not np.array_equal(made.generate(1).arrival_s[:50], made.generate(2).arrival_s[:50])


def test_borrowed_lengths_and_ignored_shapes_are_said(tmp_path):
    batch = workload(tmp_path, ROWS + "\n7,30000,0.1,9.0,Weibull,1.0,10.0").generate(0)
    assert "1 windows' shape is at odds with their CV" in batch.provenance["arrival_s"]
    assert "1 windows have none and take the nearest" in batch.provenance["prompt_tokens"]


def test_without_ratios_there_is_no_thinking(tmp_path):
    pdfs = [dict(one, reason_ratio=None) for one in PDFS]
    batch = workload(tmp_path, pdfs=pdfs).generate(0)
    assert not batch.thinking_tokens.any()
    assert set(batch.answer_tokens[batch.client_id == 0]) == {100, 200}
    assert batch.provenance["thinking_tokens"] == "none: the PDFs know no thinking"


def test_token_quantiles_are_the_inverse_cdf():
    pmf = TokenPmf.of([30, 10, 20, 10, 0], [2, 1, 0, 3, 4])
    assert pmf.tokens.tolist() == [1, 10, 20, 30]
    assert pmf.share.tolist() == [0.4, 0.4, 0.0, 0.2]
    u = np.array([1e-16, 0.4, 0.4000001, 0.8, 0.8000001, 1 - 1e-16])
    assert pmf.quantile(u).tolist() == [1, 1, 10, 10, 30, 30]


def test_ratios_are_spread_evenly_within_their_bins():
    pmf = RatioPmf.of([0, 1, 0, 3])
    u = np.array([1e-9, 0.125, 0.25, 0.250001, 0.625, 1 - 1e-16])
    assert pmf.quantile(u) == pytest.approx([0.25, 0.375, 0.5, 0.75, 0.875, 1.0], abs=1e-5)


def test_nothing_arrives_and_too_much_arrives(tmp_path):
    with pytest.raises(InputError, match=r"workload.duration_s: no request arrives in this time"):
        workload(tmp_path, start_s=6000.0, duration_s=60.0).generate(0)
    with pytest.raises(InputError, match=r"workload.scale: 1.69e\+08 requests would arrive"):
        workload(tmp_path, scale=1e4, duration_s=1e6).generate(0)
    assert len(workload(tmp_path, scale=1e3, limit=10).generate(0)) == 10


def test_paths_are_checked_without_reading(tmp_path):
    made = workload(tmp_path)
    assert made.check() == []
    assert made.inputs() == [tmp_path / "x_windows.csv", tmp_path / "x_pdfs.jsonl.gz"]
    relative = PopulationWorkload(windows_path="x_windows.csv", lengths_path="nowhere")
    (problem,) = relative.check(tmp_path)
    assert str(problem) == f"workload.lengths_path: no such file: {tmp_path / 'nowhere'}"
    assert relative.inputs(tmp_path) == [tmp_path / "x_windows.csv", tmp_path / "nowhere"]
    (tmp_path / "x_pdfs.jsonl.gz").unlink()
    (problem,) = made.check()
    assert "the lengths of these clients are missing" in str(problem)

    for name in ("x" * 5000, "a\0b"):
        odd = PopulationWorkload(windows_path=name)
        assert len(odd.check()) == 1
        assert len(odd.inputs()) == 1
        with pytest.raises(InputError):
            odd.generate(0)

    chunks = PopulationWorkload(windows_path="deepseek-r1", lengths_path="x")
    directory = write_chunks(tmp_path)
    (problem,) = chunks.check(tmp_path)
    assert problem.field == "workload.lengths_path"
    assert chunks.model_copy(update={"lengths_path": None}).check(tmp_path) == []
    assert chunks.inputs(tmp_path) == [
        directory / f"chunk-{client}-{kind}"
        for client in (0, 7)
        for kind in ("trace.csv", "dataset.json")
    ]


@pytest.mark.parametrize(
    "wrong",
    [{"scale": 0}, {"scale": 2e4}, {"start_s": -1}, {"duration_s": 0}, {"limit": 0}, {"rate": 1}],
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ValidationError):
        PopulationWorkload(windows_path="x", **wrong)
