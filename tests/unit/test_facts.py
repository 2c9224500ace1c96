"""What policies are shown cannot be changed by them, and what is behind it stays what it was."""

from dataclasses import dataclass, fields, replace

import numpy as np
import pytest

from simulator.engine.config import EngineConfig
from simulator.engine.request import new_requests
from simulator.errors import IntegrityError
from simulator.facts import RequestFacts
from simulator.predictors import Truth
from simulator.schedulers.base import Action, Scheduler
from simulator.testing import linear_cost, serve

CONFIG = EngineConfig(num_gpu_blocks=100, max_model_len=99, max_num_seqs=2)
COST = linear_cost(1.0, 0.0, 0.0, max_tokens=8192, max_seqs=2)


def test_facts_are_read_only_and_what_they_are_made_of_is_not():
    prompts = np.array([3, 4, 5])
    facts = RequestFacts.plain(prompts)
    again = replace(facts, priority=np.array([1, 2, 3]), origin=np.arange(3))
    for each in (facts, again):
        for field in fields(each):
            column = getattr(each, field.name)
            if isinstance(column, np.ndarray):
                with pytest.raises(ValueError, match="read-only"):
                    column[0] = 9
    prompts[0] = 7
    assert prompts.tolist() == [7, 4, 5]


def test_predictors_cannot_change_the_truth():
    lengths = np.array([3, 4])
    truth = Truth(lengths, lengths, lengths, lengths, np.zeros(2, dtype=np.int32))
    with pytest.raises(ValueError, match="read-only"):
        truth.thinking_tokens[:] = 1


def run(method, **attributes):
    """Four requests for two seats, reviewed every five tokens; the table that is left."""

    @dataclass(eq=False)
    class Mine(Scheduler):
        rank_changes = "running"

        def rank(self, view, now_s):
            return view.queued_since_s

        def review_tokens(self, view, now_s):
            return 5

        def on_review(self, view, now_s):
            return Action.PARK

    for name, each in {**method, **attributes}.items():
        setattr(Mine, name, each)
    requests = new_requests(np.arange(4) * 0.5, 5, 20, 10)
    serve(CONFIG, COST, requests, scheduler=Mine())
    return requests


@pytest.mark.parametrize("name", ["ids", "generated_tokens", "answer_tokens", "kv_tokens"])
def test_a_scheduler_cannot_write_into_what_is_looked_up(name):
    def on_review(self, view, now_s):
        getattr(view, name)[:] = 0
        return Action.PARK

    with pytest.raises(IntegrityError, match=r"scheduler Mine failed: ValueError.*read-only"):
        run({"on_review": on_review})


COPIES = ("arrival_s", "queued_since_s", "prompt_tokens", "max_tokens", "priority", "deadline_s")


@pytest.mark.parametrize("name", COPIES)
def test_what_it_writes_into_other_columns_is_lost(name):
    def on_review(self, view, now_s):
        getattr(view, name)[:] = 77
        return Action.PARK

    changed = run({"on_review": on_review})
    assert changed.tobytes() == run({}).tobytes()
