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
from simulator.predictors import PREDICTORS, Predictor, checked
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


def leaving():
    raise SystemExit(3)


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
        ({"rank": np.zeros((1, 1))}, r"float\[1\] or a single number, not .* shape \(1, 1\)"),
        ({"rank": np.zeros(7)}, r"not an array of shape \(7,\)"),
        ({"review_tokens": 5, "on_review": np.zeros((1, 1))}, r"of shape \(1, 1\)"),
        ({"start": failing}, "failed: KeyError: 'oops'"),
        ({"rank": leaving}, "failed: SystemExit: 3"),
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

    with pytest.raises(IntegrityError, match="router Mine chose replica"):
        cluster(Mine()).run()


@pytest.mark.parametrize("reason", [False, True, "", 5])
def test_an_admission_control_gives_a_reason_or_none(reason):
    @dataclass(eq=False)
    class Mine(Admission):
        def refusal(self, row, now_s, replicas):
            return reason

    with pytest.raises(
        IntegrityError, match="admission control Mine: refusal must return a reason or None"
    ):
        cluster(admission=Mine()).run()


@pytest.mark.parametrize("method", ["start", "choose"])
@pytest.mark.parametrize("error", [KeyError("oops"), SystemExit(0)])
def test_a_router_that_fails_is_named(method, error):
    @dataclass(eq=False, kw_only=True)
    class Mine(Router):
        def choose(self, request, replicas):
            return 0

    def fail(*_):
        raise error

    setattr(Mine, method, fail)
    with pytest.raises(IntegrityError, match=f"router Mine failed: {type(error).__name__}"):
        cluster(Mine()).run()


@pytest.mark.parametrize("method", ["refusal", "admitted", "answered"])
def test_an_admission_control_that_fails_is_named(method):
    @dataclass(eq=False)
    class Mine(Admission):
        watches_answers = True

        def refusal(self, row, now_s, replicas):
            return None

    def fail(*_):
        raise KeyError("oops")

    setattr(Mine, method, fail)
    with pytest.raises(IntegrityError, match="admission control Mine failed: KeyError: 'oops'"):
        cluster(admission=Mine()).run()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda rows: np.full(len(rows), np.nan), "tokens, 0 or more, not .*nan"),
        (lambda rows: np.full(len(rows), -1.0), "tokens, 0 or more, not .*-1.0"),
        (lambda rows: np.ones((len(rows), 1)), r"one guess for each of 3 requests, not \(3, 1\)"),
        (lambda rows: 5.0, r"one guess for each of 3 requests, not \(\)"),
        (lambda rows: failing(), "failed: KeyError: 'oops'"),
        (lambda rows: ["many"] * len(rows), "failed: ValueError"),
    ],
)
def test_a_predictor_is_told_what_it_did_wrong(answer, message):
    @dataclass(eq=False)
    class Mine(Predictor):
        def total_tokens(self, rows, generated):
            return answer(rows)

    with pytest.raises(IntegrityError, match=f"predictor Mine.*{message}"):
        checked(Mine()).total_tokens(np.arange(3), np.zeros(3, dtype=np.int64))


def test_a_predictor_that_answers_well_is_left_alone():
    @dataclass(eq=False)
    class Mine(Predictor):
        def total_tokens(self, rows, generated):
            return generated + np.array([0, np.inf, 2])

    guesses = checked(Mine()).total_tokens(np.arange(3), np.zeros(3, dtype=np.int64))
    assert guesses.tolist() == [0.0, np.inf, 2.0]
    silent = PREDICTORS["none"]()
    assert checked(silent) is silent
