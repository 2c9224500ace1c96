"""What a policy may answer: everything else is said to be its mistake, by name."""

from dataclasses import dataclass

import numpy as np
import pytest

from simulator.admission import Admission
from simulator.cluster.cluster import Cluster
from simulator.cluster.pool import PoolPlan
from simulator.engine.config import EngineConfig
from simulator.engine.foresight import whole_tokens
from simulator.engine.request import NEVER, new_requests
from simulator.errors import IntegrityError
from simulator.routers.base import Router
from simulator.schedulers.base import Scheduler
from simulator.testing import linear_cost, serve

CONFIG = EngineConfig(num_gpu_blocks=9, max_model_len=100, max_num_seqs=3)
COST = linear_cost(1.0, 0.0, 0.0, max_tokens=8192, max_seqs=3)


def run(answers, **attributes):
    """Serve requests that run short of KV, wait, and are reviewed."""

    @dataclass(eq=False)
    class Mine(Scheduler):
        def rank(self, view, now_s):
            return view.arrival_s

    for name, answer in answers.items():

        def method(self, *_, answer=answer):
            return answer() if callable(answer) else answer

        setattr(Mine, name, method)
    for name, value in attributes.items():
        setattr(Mine, name, value)
    requests = new_requests(np.arange(6) * 0.5, 30, 60)
    serve(CONFIG, COST, requests, scheduler=Mine())


def failing():
    raise KeyError("oops")


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ({"victim": 999}, "victim must return a place from 0 to .*, not 999"),
        ({"victim": -1}, "victim must return a place"),
        ({"victim": 0.7}, "victim must return a place"),
        ({"victim": None}, "victim must return a place"),
        ({"victim": True}, "victim must return a place"),
        ({"displace": -1}, "displace must return a place"),
        ({"displace": 99}, "displace must return a place"),
        ({"select": np.array([10**9])}, "select must return ids"),
        ({"select": np.array([True, False])}, "select must return ids"),
        ({"review_tokens": 5, "on_review": 7}, "on_review must return Actions, not .*7"),
        ({"review_tokens": 5, "on_review": np.nan}, "on_review must return Actions"),
        ({"review_tokens": np.nan}, "review_tokens is not a number"),
        ({"reserve_tokens": -5}, "reserve_tokens must return 0 or more"),
        ({"reserve_tokens": np.nan}, "reserve_tokens must return 0 or more"),
        ({"rank": np.nan}, "a rank is not a number"),
        ({"rank": failing}, "failed: KeyError: 'oops'"),
        ({"victim": failing}, "failed: KeyError: 'oops'"),
    ],
)
def test_a_scheduler_is_told_what_it_did_wrong(answers, message):
    with pytest.raises(IntegrityError, match=f"scheduler Mine.*{message}"):
        run(answers)


def test_numbers_too_large_for_tokens_mean_never():
    assert whole_tokens(np.array([1e30, np.inf, 3.0])).tolist() == [NEVER, NEVER, 3]


def test_a_rounding_error_is_not_a_token():
    more = np.array([29.0, 29.000000000000004, 28.999999999999996, 29.01])
    assert whole_tokens(more).tolist() == [29, 29, 29, 30]


def cluster(router=None, admission=None):
    @dataclass(eq=False, kw_only=True)
    class First(Router):
        def choose(self, request, replicas):
            return 0

    requests = new_requests(np.arange(4.0), 10, 10)
    pools = [PoolPlan("only", CONFIG, COST, 2)]
    mine = router or First()
    return Cluster(requests, mine, pools, sample_interval_s=1e9, admission=admission)


@pytest.mark.parametrize("choice", [0.5, np.float64(1.0), None, "0", 2, -1])
def test_a_router_is_told_what_it_did_wrong(choice):
    @dataclass(eq=False, kw_only=True)
    class Mine(Router):
        def choose(self, request, replicas):
            return choice

    with pytest.raises(IntegrityError, match="Mine chose replica"):
        cluster(Mine()).run()


@pytest.mark.parametrize("reason", [False, True, "", 5])
def test_an_admission_control_gives_a_reason_or_none(reason):
    @dataclass(eq=False)
    class Mine(Admission):
        def refusal(self, row, now_s, replicas):
            return reason

    with pytest.raises(IntegrityError, match="Mine: refusal must return a reason or None"):
        cluster(admission=Mine()).run()
