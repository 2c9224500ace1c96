"""Admission control: the arithmetic of each policy, on hand-made sights of replicas."""

from dataclasses import dataclass

import numpy as np
import pytest
from pydantic import ValidationError

from simulator.admission import ADMISSIONS
from simulator.admission.bookkeeping import Answers, LetIn, Pace
from simulator.errors import InputError
from simulator.policy import build
from tests.admission_cluster import facts_of, predicted


@dataclass
class Seen:
    num_waiting: np.ndarray
    num_running: np.ndarray


def seen(waiting, running):
    return Seen(np.array(waiting), np.array(running))


def started(kind, facts, **parameters):
    admission = build(ADMISSIONS[kind], parameters)
    admission.start(facts)
    return admission


def let_in(admission, rows, now_s=0.0):
    for row in rows:
        admission.admitted(row, now_s)


def answer(admission, row, tokens, first_token_s, finish_s):
    admission.answered(
        np.array([row]), np.array([tokens]), np.array([first_token_s]), np.array([finish_s])
    )


# -- bookkeeping


def test_the_last_that_were_let_in():
    gate = LetIn()
    assert gate.last(5) == 0.0
    assert gate.since_s(3) == np.inf
    for amount, now_s in ((10.0, 1.0), (20.0, 2.0), (5.0, 4.0)):
        gate.add(amount, now_s)
    assert [gate.last(k) for k in range(5)] == [0.0, 5.0, 25.0, 35.0, 35.0]
    assert [gate.since_s(k) for k in (1, 2, 3, 9)] == [4.0, 2.0, 1.0, 1.0]


def test_answers_come_when_they_are_due():
    answers = Answers()
    answers.add(np.array([7, 8]), np.array([3, 4]), np.array([1.0, 1.5]), np.array([9.0, 2.0]))
    assert list(answers.until(1.9)) == []
    assert list(answers.until(5.0)) == [(2.0, 8, 4, 1.5)]
    assert list(answers.until(9.0)) == [(9.0, 7, 3, 1.0)]


def test_pace():
    pace = Pace(remembered=2.0)
    assert np.isnan(pace.seconds_per_token)
    pace.learn(0, 0.0)
    assert np.isnan(pace.seconds_per_token)
    pace.learn(10, 1.0)
    assert pace.seconds_per_token == pytest.approx(0.1)
    pace.learn(10, 3.0)
    kept = np.exp(-0.5)
    assert pace.seconds_per_token == pytest.approx((kept * 1 + 3) / (kept * 10 + 10))


# -- none


def test_everybody_is_let_in():
    admission = started("none", facts_of(1))
    assert admission.refusal(0, 0.0, None) is None
    assert not admission.needs_snapshot
    assert not admission.watches_answers


# -- queue_cap


@pytest.mark.parametrize(("in_flight", "full"), [(9, False), (10, True), (11, True)])
def test_requests_in_flight(in_flight, full):
    cap = started("queue_cap", facts_of(1), max_num_queued_reqs=10)
    reason = cap.refusal(0, 0.0, seen([1, 2], [in_flight - 5, 2]))
    assert reason == ("too many requests in flight" if full else None)


def test_a_cap_of_nothing_rejects_everybody():
    idle = seen([0, 0], [0, 0])
    for limit in ("max_num_queued_reqs", "max_num_queued_tokens", "max_waiting_per_replica"):
        assert started("queue_cap", facts_of(1), **{limit: 0}).refusal(0, 0.0, idle) is not None
    assert started("queue_cap", facts_of(1)).refusal(0, 0.0, seen([99], [99])) is None


def test_prompt_tokens_of_those_who_wait():
    cap = started(
        "queue_cap", facts_of(4, prompt_tokens=[100, 200, 700, 50]), max_num_queued_tokens=900
    )
    let_in(cap, [0, 1, 2])
    assert cap.refusal(3, 1.0, seen([1, 1], [1, 0])) == "too many prompt tokens queued"
    assert cap.refusal(3, 1.0, seen([0, 1], [1, 1])) is None, "200 and 700, then only 700"


def test_a_queue_that_is_not_full_lets_in():
    cap = started("queue_cap", facts_of(1), max_waiting_per_replica=3)
    assert cap.refusal(0, 0.0, seen([3, 2], [9, 9])) is None
    assert cap.refusal(0, 0.0, seen([3, 4], [9, 9])) == "every queue is full"


# -- token_bucket


def ask(bucket, row, now_s):
    """Whether the request passes; if so it is let in."""
    passes = bucket.refusal(row, now_s, None) is None
    if passes:
        bucket.admitted(row, now_s)
    return passes


def test_a_burst_then_the_rate():
    bucket = started("token_bucket", facts_of(99), rate_per_s=2.0, burst=3.0)
    assert [ask(bucket, 0, 10.0) for _ in range(4)] == [True] * 3 + [False]
    assert not ask(bucket, 0, 10.4)
    assert ask(bucket, 0, 10.5)
    assert not ask(bucket, 0, 10.9), "being rejected costs nothing, waiting is not lost"
    assert ask(bucket, 0, 11.0)
    assert [ask(bucket, 0, 99.0) for _ in range(4)] == [True] * 3 + [False], "no more than the brim"


def test_a_steady_flow_at_the_rate_passes_for_ever():
    bucket = started("token_bucket", facts_of(1), rate_per_s=10.0, burst=1.0)
    assert all(ask(bucket, 0, 0.1 * k) for k in range(5000))


def test_a_minutes_worth_unless_said_otherwise():
    bucket = started("token_bucket", facts_of(1), rate_per_s=0.05)
    assert [ask(bucket, 0, 0.0) for _ in range(4)] == [True] * 3 + [False]
    slow = started("token_bucket", facts_of(1), rate_per_s=0.001)
    assert [ask(slow, 0, 0.0) for _ in range(2)] == [True, False], "at least one"


def test_each_client_has_a_bucket():
    facts = facts_of(3, client_id=[0, 1, 0], clients=2)
    bucket = started("token_bucket", facts, rate_per_s=1.0, burst=1.0)
    assert [ask(bucket, row, 0.0) for row in (0, 1, 2)] == [True, True, False]
    shared = started("token_bucket", facts, rate_per_s=1.0, burst=1.0, per="cluster")
    assert [ask(shared, row, 0.0) for row in (0, 1, 2)] == [True, False, False]


def test_tokens_are_taken_out_when_they_are_known():
    facts = facts_of(9, prompt_tokens=100)
    bucket = started("token_bucket", facts, rate_per_s=10.0, burst=150.0, unit="tokens")
    assert bucket.watches_answers
    assert ask(bucket, 0, 0.0), "50 left"
    assert ask(bucket, 1, 0.0), "any at all will do: -50 now"
    assert not ask(bucket, 2, 5.0), "0 is not enough"
    assert ask(bucket, 2, 5.1), "1, so -99 now"
    answer(bucket, 0, 30, 6.0, 15.1)
    assert not ask(bucket, 3, 15.0), "0 again, and the answer is not there yet"
    assert not ask(bucket, 3, 18.0), "-99 + 129 - 30"
    assert ask(bucket, 3, 18.2)


def test_an_answer_is_charged_to_its_own_client():
    facts = facts_of(9, prompt_tokens=1, client_id=[0, 1] + 7 * [1], clients=2)
    bucket = started("token_bucket", facts, rate_per_s=1.0, burst=10.0, unit="tokens")
    assert ask(bucket, 0, 0.0)
    answer(bucket, 0, 100, 1.0, 2.0)
    assert ask(bucket, 1, 3.0)
    assert not ask(bucket, 0, 3.0)


# -- slo_reject


def test_nothing_is_known_before_the_first_answer():
    facts = facts_of(5, predicted("oracle", [1000] * 5))
    admission = started("slo_reject", facts, e2el_s=0.001)
    let_in(admission, [0, 1])
    assert admission.refusal(2, 60.0, seen([2], [1])) is None


def test_the_estimate_of_the_whole_latency():
    """v = 10 tokens a second; 2 in service; 300 tokens wait: ttft 15 s, and 4 s for 40 tokens."""
    facts = facts_of(4, predicted("oracle", [500, 100, 200, 40]))
    for e2el_s, slack, late in ((18.9, 1.0, True), (19.1, 1.0, False), (10.0, 2.0, False)):
        admission = started("slo_reject", facts, e2el_s=e2el_s, slack=slack)
        let_in(admission, [0, 1, 2])
        answer(admission, 0, 101, 0.0, 10.0)
        reason = admission.refusal(3, 20.0, seen([1, 1], [1, 1]))
        assert reason == ("e2el target out of reach" if late else None)


def test_the_estimate_of_the_first_token():
    facts = facts_of(4, predicted("oracle", [500, 100, 200, 40]))
    for ttft_s, slack, late in ((14.9, 1.0, True), (15.1, 1.0, False), (10.0, 1.6, False)):
        admission = started("slo_reject", facts, ttft_s=ttft_s, slack=slack)
        let_in(admission, [0, 1, 2])
        answer(admission, 0, 101, 0.0, 10.0)
        reason = admission.refusal(3, 20.0, seen([1, 1], [1, 1]))
        assert reason == ("ttft target out of reach" if late else None)


def test_an_answer_teaches_when_it_is_there():
    facts = facts_of(4, predicted("oracle", [1000] * 4))
    admission = started("slo_reject", facts, e2el_s=20.0)
    answer(admission, 0, 101, 0.0, 10.0)
    assert admission.refusal(1, 9.9, seen([0], [1])) is None
    assert admission.refusal(1, 10.0, seen([0], [1])) == "e2el target out of reach"


def test_arrivals_between_two_iterations_are_no_queue():
    facts = facts_of(4, predicted("oracle", [500, 100, 200, 40]))
    admission = started("slo_reject", facts, ttft_s=1.0, settled_s=2.0)
    answer(admission, 0, 101, 0.0, 10.0)
    admission.admitted(1, 20.0)
    admission.admitted(2, 21.0)
    assert admission.refusal(3, 21.9, seen([2], [3])) is None
    assert admission.refusal(3, 22.1, seen([1], [3])) is None, "the one that waits came at 21"
    assert admission.refusal(3, 22.1, seen([2], [3])) == "ttft target out of reach"


def test_requests_have_targets_of_their_own():
    facts = facts_of(2, predicted("oracle", [40, 40]), due_s=[3.9, 4.1])
    admission = started("slo_reject", facts)
    answer(admission, 0, 101, 0.0, 10.0)
    idle = seen([0], [0])
    assert admission.refusal(0, 20.0, idle) == "e2el target out of reach"
    assert admission.refusal(1, 20.0, idle) is None
    strict = started("slo_reject", facts, e2el_s=3.0)
    answer(strict, 0, 101, 0.0, 10.0)
    assert strict.refusal(1, 20.0, idle) == "e2el target out of reach"


def test_without_a_target_or_a_prediction_it_refuses_to_start():
    with pytest.raises(InputError, match="no target"):
        started("slo_reject", facts_of(1, predicted("oracle", [5])))
    with pytest.raises(InputError, match="needs a predictor"):
        started("slo_reject", facts_of(1), ttft_s=1.0)


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        ("none", {"limit": 3}),
        ("queue_cap", {"max_num_queued_reqs": -1}),
        ("queue_cap", {"max_waiting_per_replica": 1.5}),
        ("token_bucket", {"rate_per_s": 0.0}),
        ("token_bucket", {"burst": 0.5}),
        ("token_bucket", {"unit": "bytes"}),
        ("slo_reject", {"e2el_s": 0.0}),
        ("slo_reject", {"remembered_requests": 0.5}),
    ],
)
def test_bad_parameters(kind, wrong):
    with pytest.raises(ValidationError):
        build(ADMISSIONS[kind], wrong)
