"""The presets of sessions against the recorded sessions that they stand for."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from workloads.description.reuse import reusable_tokens
from workloads.generate import class_batch
from workloads.tasks import TaskClass

REQUESTS = Path(__file__).parents[2] / "../shared/data/workloads/claudecode_requests.csv.gz"

pytestmark = pytest.mark.skipif(
    not REQUESTS.exists(), reason="needs ../shared/data/workloads/claudecode_requests.csv.gz"
)


def generated(name, sessions):
    task = TaskClass.model_validate({"preset": name})
    return class_batch(task, 0, name, np.arange(float(sessions)), session=task.session)


@pytest.fixture(scope="module")
def recorded():
    requests = pd.read_csv(REQUESTS)
    requests = requests[(requests["depth"] == 0) & requests["input_tokens"].notna()]
    return requests.sort_values(["session", "turn"], kind="stable")


def test_agents_have_the_turns_of_recorded_ones(recorded):
    batch = generated("agentic_coding", 3000)
    per_session = recorded.groupby("session").size()
    assert len(batch) / 3000 == pytest.approx(per_session.mean(), rel=0.1)
    opens = recorded["turn"] == recorded.groupby("session")["turn"].transform("min")
    turn = ((recorded["input_types"] == "text") | opens).groupby(recorded["session"]).cumsum()
    steps = recorded.groupby(["session", turn.rename("user_turn")]).size()
    ours = np.unique(batch.sessions.query_id, return_counts=True)[1]
    assert ours.mean() == pytest.approx(steps.mean(), rel=0.1)
    assert np.quantile(ours, [0.5, 0.9, 0.99]) == pytest.approx(
        steps.quantile([0.5, 0.9, 0.99]).to_numpy(), rel=0.1
    )


def test_agents_pause_like_recorded_ones(recorded):
    batch = generated("agentic_coding", 2000)
    sessions = batch.sessions
    order = np.lexsort((sessions.turn, sessions.session_id))
    pause_s, query = sessions.pause_s[order], sessions.query_id[order]
    waits = sessions.turn[order] > 0
    same_turn = np.concatenate(([False], query[1:] == query[:-1]))
    for kind, rows in (("tool_result", waits & same_turn), ("text", waits & ~same_turn)):
        truth = recorded[(recorded["input_types"] == kind) & (recorded["turn"] > 0)]
        expected = truth["think_time_s"].dropna().quantile([0.25, 0.5, 0.9, 0.99])
        assert np.quantile(pause_s[rows], [0.25, 0.5, 0.9, 0.99]) == pytest.approx(
            expected.to_numpy(), rel=0.15
        )


def test_agents_have_contexts_of_the_recorded_size(recorded):
    """Of those within our cut: the trace also holds sessions that resume longer ones."""
    batch = generated("agentic_coding", 3000)
    theirs = recorded["input_tokens"][recorded["input_tokens"] <= 155_000]
    assert np.quantile(batch.prompt_tokens, [0.25, 0.5, 0.75]) == pytest.approx(
        theirs.quantile([0.25, 0.5, 0.75]).to_numpy(), rel=0.1
    )
    assert np.quantile(batch.answer_tokens, [0.5, 0.9]) == pytest.approx(
        recorded["output_tokens"].quantile([0.5, 0.9]).to_numpy(), rel=0.25
    )


def test_as_much_of_the_prompts_repeats_as_recorded(recorded):
    batch = generated("agentic_coding", 300)
    ours = reusable_tokens(batch).sum() / batch.prompt_tokens.sum()
    shared = recorded["prefix_tokens_shared_with_prev"].sum()
    assert ours == pytest.approx(shared / recorded["input_tokens"].sum(), abs=0.02)
