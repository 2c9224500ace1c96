import numpy as np
import pytest
from pydantic import ValidationError

from simulator.errors import InputError
from workloads import RequestBatch, SyntheticWorkload

CONTENT = {
    "kind": "synthetic",
    "arrivals": {"kind": "poisson", "rate_rps": 2.0},
    "prompt_tokens": {"kind": "lognormal", "mu": 6.0, "sigma": 0.8, "min": 8, "max": 8000},
    "thinking_tokens": {"kind": "preset", "name": "deepseek_r1_api.thinking"},
    "answer_tokens": {"kind": "uniform", "min": 1, "max": 500},
}
COLUMNS = ("arrival_s", "prompt_tokens", "thinking_tokens", "answer_tokens", "max_tokens")


def workload(**changes):
    return SyntheticWorkload.model_validate({**CONTENT, **changes})


def test_more_requests_begin_with_the_same_requests(monkeypatch):
    few, many = workload(num_requests=10).generate(4), workload(num_requests=1000).generate(4)
    for name in COLUMNS:
        assert np.array_equal(getattr(few, name), getattr(many, name)[:10]), name
    monkeypatch.setattr("workloads.queries.CHUNK_ROWS", 33)  # however it is cut in pieces
    pieces = workload(num_requests=1000).generate(4)
    for name in COLUMNS:
        assert np.array_equal(getattr(pieces, name), getattr(many, name)), name


def test_seed_and_class_decide_the_draws():
    base = workload(num_requests=100).generate(0)
    other_seed = workload(num_requests=100).generate(1)
    other_class = workload(num_requests=100, class_name="code").generate(0)
    for other in (other_seed, other_class):
        for name in COLUMNS[:-1]:
            assert not np.array_equal(getattr(base, name), getattr(other, name)), name
    assert other_class.class_names == ("code",)


def test_the_streams_are_independent():
    batch = workload(num_requests=20_000, prompt_tokens=CONTENT["thinking_tokens"]).generate(0)
    ranks = [
        np.argsort(np.argsort(column))
        for column in (
            np.diff(batch.arrival_s, prepend=0.0),
            batch.prompt_tokens,
            batch.thinking_tokens,
            batch.answer_tokens,
        )
    ]
    assert np.abs(np.corrcoef(ranks) - np.eye(4)).max() < 5 / np.sqrt(20_000)


def test_where_it_ends():
    assert len(workload(num_requests=5).generate(0, duration_s=1e6)) == 5
    until = workload(duration_s=50.0).generate(0, duration_s=1e6)
    assert until.arrival_s[-1] < 50.0
    default = workload().generate(0, duration_s=50.0)
    assert np.array_equal(default.arrival_s, until.arrival_s)
    with pytest.raises(InputError, match="how many requests"):
        workload().generate(0)
    with pytest.raises(InputError, match="no request arrives"):
        workload(duration_s=1e-6).generate(0)


def test_provenance_and_limits_are_recorded():
    batch = workload(num_requests=3, max_tokens=1000).generate(0)
    assert batch.max_tokens.tolist() == [1000] * 3
    assert set(batch.provenance) == {*COLUMNS[:-1], "lengths"}
    assert batch.provenance["lengths"] == (
        "of prompt, thinking and answer drawn independently of each other"
    )
    tied = workload(num_requests=3, correlation={"prompt_answer": 0.2, "thinking_answer": -0.1})
    assert tied.generate(0).provenance["lengths"] == (
        "correlated, by their normal scores: prompt and answer 0.2, thinking and answer -0.1"
    )
    drawn = [batch.provenance[name] for name in COLUMNS[:-1]]
    assert all(text.startswith("drawn: ") for text in drawn)
    assert "deepseek_r1_api.thinking" in batch.provenance["thinking_tokens"]
    without = workload(num_requests=3, thinking_tokens={"kind": "constant", "tokens": 0})
    assert without.generate(0).thinking_tokens.tolist() == [0, 0, 0]
    assert without.generate(0).max_tokens.tolist() == [0, 0, 0]


def test_all_faults_of_a_workload_are_reported_at_once():
    with pytest.raises(ValidationError) as caught:
        workload(
            arrivals={"kind": "poisson", "rate_rps": -1},
            answer_tokens={"kind": "uniform", "min": 0, "max": 5},
            max_tokens=0,
            num_requests="many",
            rate=3,
        )
    places = {error["loc"][0] for error in caught.value.errors()}
    assert places == {"arrivals", "answer_tokens", "max_tokens", "num_requests", "rate"}


def test_a_batch_refuses_columns_that_break_its_promise():
    good = workload(num_requests=3).generate(0)
    columns = {name: getattr(good, name) for name in (*COLUMNS, "class_id")}
    assert len(RequestBatch(**columns)) == 3
    for name, bad in {
        "arrival_s": good.arrival_s[::-1],
        "prompt_tokens": np.zeros(3, dtype=np.int64),
        "thinking_tokens": np.full(3, -1),
        "answer_tokens": good.answer_tokens.astype(np.float64),
        "max_tokens": good.max_tokens[:2],
        "class_id": np.ones(3, dtype=np.int32),
    }.items():
        with pytest.raises(ValueError, match=name):
            RequestBatch(**{**columns, name: bad})
    with pytest.raises(ValueError, match="arrival_s"):
        RequestBatch(**{**columns, "arrival_s": np.array([0.0, np.nan, 1.0])})
