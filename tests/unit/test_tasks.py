"""Classes of queries: presets, what problems decide, mixes of classes."""

import re
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from simulator.errors import InputError
from workloads.mix import MixWorkload
from workloads.tasks import TaskClass, task_presets

ARTICLES = Path(__file__).parents[2] / "../shared/articles"
ROWS = {  # row of the articles' table of token counts -> preset
    "Simple factual question": "chat",
    "Coding task (medium)": "coding",
    "Math word problem": "math_word_problem",
    "Competition math": "competition_math",
    "Complex proof": "complex_proof",
}
RANGES = {  # answer and thinking tokens as the table gives them
    "chat": ((50, 100), (200, 500)),
    "coding": ((200, 500), (2_000, 8_000)),
    "math_word_problem": ((100, 200), (3_000, 15_000)),
    "competition_math": ((200, 500), (10_000, 50_000)),
    "complex_proof": ((500, 1_000), (20_000, 100_000)),
}
POISSON = {"kind": "poisson", "rate_rps": 5.0}


OUTPUT = {
    "prompt_tokens": {"kind": "constant", "tokens": 10},
    "output_tokens": {"kind": "lognormal", "mu": 7, "sigma": 1},
    "thinking_ratio": {"kind": "constant", "ratio": 0.75},
}


def preset(name, **changes):
    return TaskClass.model_validate({"preset": name, **changes})


def mix(classes, **changes):
    content = {"kind": "mix", "arrivals": POISSON, "classes": classes, **changes}
    return MixWorkload.model_validate(content)


@pytest.mark.parametrize("name", [*task_presets()])
def test_every_preset_generates(name):
    batch = mix({"c": {"preset": name}}).generate(0, duration_s=100.0)
    assert len(batch) > 300
    assert batch.class_names == batch.client_names == ("c",)
    assert np.unique(batch.thinking_tokens).size > 100


def test_all_named_presets_are_there():
    named = {*RANGES, "gpqa", "deepseek_r1_api", "multi_turn_chat", "agentic_coding"}
    assert named <= set(task_presets())


@pytest.mark.parametrize("name", RANGES)
def test_presets_have_the_token_ranges_of_the_table(name):
    """The range is where the middle four fifths of the lengths lie."""
    drawn = preset(name).draw(0, name, 40_000)
    for column, (low, high) in zip(
        (drawn.answer_tokens, drawn.thinking_tokens), RANGES[name], strict=True
    ):
        p10, p90 = np.quantile(column, [0.1, 0.9])
        assert p10 == pytest.approx(low, rel=0.04)
        assert p90 == pytest.approx(high, rel=0.04)


def test_the_ranges_are_those_of_the_articles():
    if not ARTICLES.is_dir():
        pytest.skip("needs ../shared/articles, which is absent")
    text = "".join(path.read_text(encoding="utf-8") for path in ARTICLES.glob("*.txt"))
    for row, name in ROWS.items():
        found = re.search(rf"\| {re.escape(row)} \| ([\d,]+)-([\d,]+) \| ([\d,]+)-([\d,]+)", text)
        numbers = [int(number.replace(",", "")) for number in found.groups()]
        assert (tuple(numbers[:2]), tuple(numbers[2:])) == RANGES[name], row


def test_the_problem_decides_most_of_the_length():
    task = preset("competition_math", thinking_tokens={"kind": "lognormal", "mu": 8, "sigma": 1.1})
    first, second = (
        np.log(task.draw(3, "math", 40_000, sample=sample).thinking_tokens) for sample in (0, 1)
    )
    within = np.std(first - second) / np.sqrt(2)
    assert within == pytest.approx(0.3, rel=0.02)
    assert np.corrcoef(first, second)[0, 1] == pytest.approx(1 - (0.3 / 1.1) ** 2, abs=0.01)
    for attempt in (first, second):  # and each attempt keeps the law
        assert attempt.mean() == pytest.approx(8, abs=0.03)
        assert attempt.std() == pytest.approx(1.1, rel=0.02)


@pytest.mark.parametrize("name", ["deepseek_r1_api", "gpqa"])
def test_the_sigma_within_problems_is_about_right_for_any_law(name):
    task = preset(name)
    first, second = (task.draw(3, "c", 40_000, sample=sample) for sample in (0, 1))
    logs = [np.log(np.maximum(d.thinking_tokens + d.answer_tokens * (name == "gpqa"), 1))
            for d in (first, second)]  # fmt: skip
    assert np.std(logs[0] - logs[1]) / np.sqrt(2) == pytest.approx(0.3, rel=0.25)


def test_samples_share_the_prompt_and_the_difficulty():
    task = preset("competition_math")
    first, second = task.draw(0, "c", 500), task.draw(0, "c", 500, sample=1)
    assert np.array_equal(first.prompt_tokens, second.prompt_tokens)
    assert np.array_equal(first.difficulty, second.difficulty)
    assert (first.thinking_tokens != second.thinking_tokens).mean() > 0.9
    assert (first.answer_tokens != second.answer_tokens).mean() > 0.9


def test_difficulty_has_its_law_and_correlation():
    task = preset("coding", difficulty={"a": 2.0, "b": 5.0, "thinking_correlation": 0.6})
    drawn = task.draw(0, "c", 40_000)
    assert drawn.difficulty.mean() == pytest.approx(2 / 7, abs=0.005)
    independent = preset("coding").draw(0, "c", 40_000)
    ranks = [np.argsort(np.argsort(c)) for c in (drawn.difficulty, drawn.thinking_tokens)]
    sigma = 0.541  # of the thinking law, 0.3 of it within problems
    expected = 6 / np.pi * np.arcsin(0.6 * np.sqrt(1 - (0.3 / sigma) ** 2) / 2)
    assert np.corrcoef(ranks)[0, 1] == pytest.approx(expected, abs=0.02)
    ranks = [np.argsort(np.argsort(c))
             for c in (independent.difficulty, independent.thinking_tokens)]  # fmt: skip
    assert abs(np.corrcoef(ranks)[0, 1]) < 0.02


def test_difficulty_keeps_its_correlation_beside_that_of_the_prompt():
    task = preset(
        "coding",
        within_problem_sigma=0.0,
        difficulty={"thinking_correlation": 0.6},
        correlation={"prompt_thinking": 0.7},
    )
    drawn = task.draw(0, "c", 40_000)
    ranks = [np.argsort(np.argsort(column)) for column in
             (drawn.difficulty, drawn.thinking_tokens, drawn.prompt_tokens)]  # fmt: skip
    expected = [6 / np.pi * np.arcsin(r / 2) for r in (0.6, 0.7, 0.0)]
    found = np.corrcoef(ranks)
    assert [found[0, 1], found[1, 2], found[0, 2]] == pytest.approx(expected, abs=0.02)


def test_draws_are_the_same_however_they_are_cut(monkeypatch):
    task = preset("competition_math", correlation={"prompt_thinking": 0.3})
    whole = task.draw(1, "c", 1000)
    monkeypatch.setattr("workloads.queries.CHUNK_ROWS", 77)
    pieces, tail = task.draw(1, "c", 1000), task.draw(1, "c", 100, 900)
    for name in ("prompt_tokens", "thinking_tokens", "answer_tokens", "difficulty"):
        assert np.array_equal(getattr(whole, name), getattr(pieces, name))
        assert np.array_equal(getattr(whole, name)[900:], getattr(tail, name))


def test_an_output_is_split_by_a_ratio():
    task = TaskClass.model_validate(
        {
            "prompt_tokens": {"kind": "constant", "tokens": 10},
            "output_tokens": {"kind": "uniform", "min": 1, "max": 999},
            "thinking_ratio": {"kind": "constant", "ratio": 0.75},
        }
    )
    drawn = task.draw(0, "c", 5000)
    output = drawn.thinking_tokens + drawn.answer_tokens
    assert output.min() == 1
    assert output.max() == 999
    expected = np.minimum(np.rint(output * 0.75), output - 1)
    assert np.array_equal(drawn.thinking_tokens, expected)


def columns(batch, name):
    rows = batch.class_id == batch.class_names.index(name)
    return {
        column: getattr(batch, column)[rows]
        for column in ("arrival_s", "prompt_tokens", "thinking_tokens", "answer_tokens")
    }


def test_another_class_changes_nothing_for_the_others():
    own = {"arrivals": {"kind": "poisson", "rate_rps": 2.0}}
    alone = mix({"a": {"preset": "coding", **own}}, arrivals=None).generate(7, duration_s=200.0)
    both = mix(
        {
            "b": {"preset": "agentic_coding", **own},
            "a": {"preset": "coding", **own},
            "c": {"preset": "chat"},
        }
    ).generate(7, duration_s=200.0)
    for name, column in columns(both, "a").items():
        assert np.array_equal(column, getattr(alone, name)), name
    # With shares the arrivals are shared; the draws of a class's j-th query stay.
    shared = mix({"a": {"preset": "coding", "share": 1.0}, "b": {"preset": "chat", "share": 3.0}})
    whole = mix({"a": {"preset": "coding"}})
    half, full = (columns(w.generate(7, duration_s=400.0), "a") for w in (shared, whole))
    n = len(half["arrival_s"])
    assert n < 0.4 * len(full["arrival_s"])
    assert np.isin(half["arrival_s"], full["arrival_s"]).all()
    for name in ("prompt_tokens", "thinking_tokens", "answer_tokens"):
        assert np.array_equal(half[name], full[name][:n]), name


@pytest.mark.parametrize(
    "arrivals",
    [
        {"kind": "gamma", "rate_rps": 5.0, "cv": 3.0},
        {"kind": "deterministic", "rate_rps": 5.0},
        {"kind": "bursts", "rate_rps": 5.0, "mean_size": 9},
    ],
)
def test_classes_that_share_arrivals_arrive_by_them_together(arrivals):
    classes = {
        name: {"preset": "chat", "share": share} for name, share in (("a", 1), ("b", 2), ("c", 5))
    }
    batch = mix(classes, arrivals=arrivals).generate(3, duration_s=2000.0)
    alone = mix({"a": {"preset": "chat"}}, arrivals=arrivals).generate(3, duration_s=2000.0)
    assert np.array_equal(batch.arrival_s, alone.arrival_s)
    share = np.bincount(batch.class_id) / len(batch)
    assert share == pytest.approx([0.125, 0.25, 0.625], abs=4 * 0.5 / np.sqrt(len(batch)))


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ({"a": {"preset": "chat", "share": 2, "arrivals": POISSON}}, "it takes no share"),
        ({"a": {"preset": "chat", "arrivals": POISSON}}, "nobody takes those of the mix"),
    ],
)
def test_arrivals_that_would_be_passed_over_are_refused(classes, message):
    with pytest.raises(ValidationError, match=message):
        mix(classes)


def test_shares_and_the_end_of_a_mix():
    workload = mix(
        {"a": {"preset": "chat", "share": 3.0}, "b": {"preset": "coding", "share": 1.0}},
        num_requests=4000,
    )
    batch = workload.generate(0)
    assert len(batch) == 4000
    share = (batch.class_id == 0).mean()
    assert share == pytest.approx(0.75, abs=4 * np.sqrt(0.75 * 0.25 / 4000))
    assert batch.arrival_s[-1] == pytest.approx(800, rel=0.08)
    longer = mix({"a": {"preset": "chat", "share": 3.0}, "b": {"preset": "coding"}})
    again = longer.generate(0, duration_s=2000.0)
    assert np.array_equal(again.thinking_tokens[:4000], batch.thinking_tokens)
    with pytest.raises(InputError, match="no request arrives"):
        longer.generate(0, duration_s=1e-9)


def test_all_at_once_is_divided_by_share():
    classes = {"a": {"preset": "chat", "share": 3.0}, "b": {"preset": "coding", "share": 1.0}}
    batch = mix(classes, arrivals={"kind": "all_at_once"}, num_requests=1000).generate(0)
    assert (batch.arrival_s == 0).all()
    assert len(batch) == 1000
    assert (batch.class_id == 0).mean() == pytest.approx(0.75, abs=0.05)
    with pytest.raises(ValidationError, match="all_at_once is for the whole mix"):
        mix({"a": {"preset": "chat", "arrivals": {"kind": "all_at_once"}}})


def test_clients_values_and_targets_travel_along():
    batch = mix(
        {
            "a": {"preset": "chat", "client": "acme", "value_usd": 0.01, "slo": {"ttft_s": 1.0}},
            "b": {"preset": "coding", "client": "acme"},
            "c": {"preset": "gpqa"},
        }
    ).generate(0, duration_s=50.0)
    assert batch.client_names == ("acme", "c")
    assert np.array_equal(batch.client_id == 1, batch.class_id == 2)
    assert batch.class_slo == {"a": {"ttft_s": 1.0}}
    assert batch.class_value_usd == {"a": 0.01}
    assert batch.provenance["a: queries"] == "drawn: 0.333 of poisson, 5 requests/s"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"preset": "poetry"}, "unknown preset 'poetry'; known: agentic_coding"),
        ({"preset": 5}, "unknown preset 5"),
        ({"preset": "chat", "output_tokens": {"kind": "constant", "tokens": 5}}, "go together"),
        ({"prompt_tokens": {"kind": "constant", "tokens": 5}}, "either answer_tokens or output"),
        ({"preset": "chat", "prompt_tokens": {"kind": "constant", "tokens": 0}}, "at least 1"),
        (
            {"thinking_tokens": {"kind": "constant", "tokens": 9}, **OUTPUT},
            "thinking_tokens follow from",
        ),
        ({"preset": "gpqa", "answer_tokens": {"kind": "constant", "tokens": 9}}, "thinking_tokens"),
        (
            {
                "preset": "chat",
                "correlation": {"prompt_thinking": 0.9},
                "difficulty": {"thinking_correlation": 0.6},
            },
            "contradict each other",
        ),
        ({"preset": "chat", "difficulty": {"a": 0}}, "greater than 0"),
        (
            {"preset": "chat", "session": {"requests_per_turn": {"kind": "geometric", "mean": 2}}},
            "need tool_result_tokens",
        ),
    ],
)
def test_contradictions_are_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        TaskClass.model_validate(changes)


def test_a_preset_can_be_freed_of_its_limit():
    free = preset("agentic_coding", session={"max_context_tokens": None}).session
    assert free.max_context_tokens is None
    assert free.compacted_tokens is None
    assert free.tool_result_tokens is not None


def test_a_mix_must_be_able_to_arrive():
    with pytest.raises(ValidationError, match="class a needs arrivals"):
        MixWorkload.model_validate({"kind": "mix", "classes": {"a": {"preset": "chat"}}})
    with pytest.raises(ValidationError, match="no closed loop"):
        mix({"a": {"preset": "chat"}}, arrivals={"kind": "closed_loop", "concurrency": 3})


def test_a_mix_dumped_and_read_again_is_the_same():
    workload = mix(
        {"a": {"preset": "agentic_coding", "session": {"turns": {"kind": "constant", "count": 2}}},
         "b": {"preset": "gpqa", "answer_tokens": {"kind": "constant", "tokens": 3},
               "thinking_tokens": {"kind": "constant", "tokens": 9}},
         "c": {"preset": "chat", **OUTPUT}},
    )  # fmt: skip
    again = MixWorkload.model_validate_json(workload.model_dump_json())
    assert again == workload
    assert workload.classes["a"].session.tool_result_tokens is not None  # the preset's
    assert workload.classes["b"].output_tokens is None  # replaced by parts of its own
    assert workload.classes["c"].answer_tokens is None


def test_an_empty_class_keeps_the_segments_of_its_neighbours_apart():
    own = {"arrivals": {"kind": "poisson", "rate_rps": 1.0}, "shared_prefix_tokens": 50}
    rare = {"preset": "chat", "arrivals": {"kind": "poisson", "rate_rps": 1e-8}}
    classes = {"a": {"preset": "chat", **own}, "rare": rare, "b": {"preset": "chat", **own}}
    batch = mix(classes, arrivals=None).generate(0, duration_s=50.0)
    segments = [
        set(batch.segments.take(np.flatnonzero(batch.class_id == k)).segment_id.tolist())
        for k in (0, 2)
    ]
    assert segments[0].isdisjoint(segments[1])
    assert len(segments[0]) == (batch.class_id == 0).sum() + 1
