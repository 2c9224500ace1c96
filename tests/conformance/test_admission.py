"""What must hold of every admission control, in a small cluster that has too much to do."""

import numpy as np
import pytest

from simulator.admission import ADMISSIONS, Admission
from simulator.engine.request import COMPLETED, REJECTED
from simulator.labels import Labels
from simulator.metrics.recorder import request_frame
from simulator.metrics.slo import goodput
from simulator.policy import build, find, parameters_of
from tests.admission_cluster import SEATS, STEP_S, facts_of, predicted, run, traffic
from workloads.batch import ClosedLoop, Sessions

THEIR_OWN = '''\
"""An admission control as a newcomer writes it."""

from dataclasses import dataclass

from simulator.admission import Admission


@dataclass(eq=False)
class OneInTwo(Admission):
    """Lets every other request in."""

    first: bool = True
    """Whether the first one is let in."""

    def start(self, facts):
        self._next = self.first

    def refusal(self, row, now_s, replicas):
        self._next = not self._next
        return "not your turn" if self._next else None
'''

PARAMETERS = {
    "none": [{}],
    "queue_cap": [
        {"max_num_queued_reqs": 2 * SEATS + 3},
        {"max_num_queued_tokens": 170},
        {"max_waiting_per_replica": 2},
    ],
    "token_bucket": [
        {"rate_per_s": 0.5, "burst": 5.0},
        {"rate_per_s": 100.0, "burst": 500.0, "unit": "tokens", "per": "cluster"},
    ],
    "slo_reject": [{"e2el_s": 8.0}, {"ttft_s": 3.0, "remembered_requests": 20.0}],
    "their own": [{"first": False}],
}
CASES = [(kind, each) for kind in (*ADMISSIONS, "their own") for each in PARAMETERS[kind]]
every_case = pytest.mark.parametrize(("kind", "parameters"), CASES)


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    path = tmp_path_factory.mktemp("admission") / "their_own.py"
    path.write_text(THEIR_OWN)

    def made(kind, parameters):
        name = f"{path}:OneInTwo" if kind == "their own" else kind
        return build(find(ADMISSIONS, Admission, name), parameters)

    return made


def facts_with(kind, lengths):
    return facts_of(
        len(lengths),
        predicted(kind, lengths, sigma=0.3) if kind == "noisy" else predicted(kind, lengths),
        client_id=np.arange(len(lengths)) % 3,
        clients=3,
    )


@every_case
@pytest.mark.parametrize("asynchronous", [False, True])
def test_whoever_is_let_in_is_served_and_the_others_leave_at_once(
    make, kind, parameters, asynchronous
):
    arrival_s, lengths = traffic()
    admission = make(kind, parameters)
    requests, outcome = run(
        admission, facts_with("noisy", lengths), arrival_s, lengths, asynchronous=asynchronous
    )
    rejected = requests["status"] == REJECTED
    assert list(outcome.refused) == np.flatnonzero(rejected).tolist()
    assert (kind == "none") == (not rejected.any())
    assert not rejected.all()
    assert (requests["status"][~rejected] == COMPLETED).all()
    np.testing.assert_array_equal(requests["generated_tokens"], np.where(rejected, 0, lengths))
    np.testing.assert_array_equal(requests["finish_s"][rejected], arrival_s[rejected])
    assert np.isnan(requests["first_scheduled_s"][rejected]).all()
    assert (requests["replica"][rejected] == -1).all()
    assert outcome.states["output_tokens"].sum() == lengths[~rejected].sum()
    assert all(reason and len(reason) < 60 for reason in outcome.refused.values())


@every_case
def test_same_seed_same_bytes_in_either_stepping(make, kind, parameters):
    arrival_s, lengths = traffic()
    facts = facts_with("noisy", lengths)
    admission = make(kind, parameters)
    requests, outcome = run(admission, facts, arrival_s, lengths)
    again, same = run(admission, facts, arrival_s, lengths)  # started anew, nothing remembered
    assert again.tobytes() == requests.tobytes()
    assert same.refused == outcome.refused
    steps, stepped = run(make(kind, parameters), facts, arrival_s, lengths, stepping="iteration")
    assert stepped.refused == outcome.refused
    np.testing.assert_allclose(steps["finish_s"], requests["finish_s"], rtol=1e-9)


@every_case
def test_it_is_blind_to_lengths(make, kind, parameters):
    """With the same predictions, lengths nobody has seen the end of change no decision."""
    arrival_s, _ = traffic(60, rate_rps=30.0)
    guess = np.full(60, 100)
    decided = []
    for length in (200, 300):
        lengths = np.where(np.arange(60) < SEATS, 20, length)
        facts = facts_with("oracle", guess)
        _, outcome = run(make(kind, parameters), facts, arrival_s, lengths)
        assert arrival_s[-1] < 100 * STEP_S, "long before the first of the others is answered"
        decided.append(outcome.refused)
    assert decided[0] == decided[1]


@every_case
def test_when_the_run_begins_does_not_matter(make, kind, parameters):
    arrival_s, lengths = traffic()
    arrival_s = np.round(arrival_s * 64) / 64  # so that the shift is exact
    facts = facts_with("noisy", lengths)
    _, now = run(make(kind, parameters), facts, arrival_s, lengths)
    _, later = run(make(kind, parameters), facts, arrival_s + 4096, lengths)
    assert now.refused == later.refused


@every_case
def test_rejected_requests_count_as_sent(make, kind, parameters):
    arrival_s, lengths = traffic()
    facts = facts_with("noisy", lengths)
    _, outcome = run(make(kind, parameters), facts, arrival_s, lengths)
    frame = request_frame(outcome, Labels(("all",)))
    judged = goodput(frame, {"e2el_s": 1e9})
    assert judged.sent == len(lengths)
    assert judged.good == len(lengths) - len(outcome.refused)
    assert (frame["status"] == "rejected").sum() == len(outcome.refused)


@every_case
def test_a_closed_loop_goes_on(make, kind, parameters):
    _, lengths = traffic(200)
    loop = ClosedLoop(30, np.full(200, 0.5))
    facts = facts_with("noisy", lengths)
    requests, outcome = run(make(kind, parameters), facts, np.zeros(200), lengths, closed_loop=loop)
    assert np.isin(requests["status"], (COMPLETED, REJECTED)).all()
    assert len(outcome.rows) == 200
    assert (np.diff(requests["arrival_s"]) >= 0).all()


@every_case
def test_after_a_rejected_turn_a_session_sends_no_more(make, kind, parameters):
    _, lengths = traffic(120)
    arrival_s = np.repeat(np.arange(40) * 0.2, 3)
    turn = np.tile(np.arange(3, dtype=np.int32), 40)
    after = np.where(turn > 0, np.arange(120) - 1, -1)
    sessions = Sessions(np.repeat(np.arange(40), 3), turn, after, np.full(120, 0.1))
    facts = facts_with("noisy", lengths)
    requests, outcome = run(make(kind, parameters), facts, arrival_s, lengths, sessions=sessions)
    sent = np.zeros(120, dtype=bool)
    sent[outcome.rows] = True
    completed = requests["status"] == COMPLETED
    np.testing.assert_array_equal(sent[turn > 0], completed[np.flatnonzero(turn > 0) - 1])


@every_case
def test_it_explains_itself(make, kind, parameters):
    cls = type(make(kind, parameters))
    assert cls.__doc__
    assert all(parameter.description.endswith(".") for parameter in parameters_of(cls))


def test_to_let_all_in_is_to_have_no_admission_control(make):
    arrival_s, lengths = traffic()
    facts = facts_of(len(lengths))
    with_it, _ = run(make("none", {}), facts, arrival_s, lengths)
    without, _ = run(None, facts, arrival_s, lengths)
    assert with_it.tobytes() == without.tobytes()


def test_what_no_replica_could_serve_is_not_let_in(make):
    """Nor does it count as waiting."""
    facts = facts_of(4, prompt_tokens=[50, 5000, 50, 50])
    cap = make("queue_cap", {"max_num_queued_tokens": 1000})
    _, outcome = run(cap, facts, [0.0, 0.0, 0.0, 0.0], [5, 5, 5, 5])
    assert list(outcome.refused) == [1]
    assert "max_model_len" in outcome.refused[1]


class Listener(Admission):
    """Notes what it is told."""

    watches_answers = True

    def start(self, facts):
        self.told = []

    def refusal(self, row, now_s, replicas):
        assert replicas is None, "it did not ask to see them"
        return None

    def answered(self, rows, output_tokens, first_token_s, finish_s):
        self.told += zip(rows, output_tokens, first_token_s, finish_s, strict=True)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_answers_are_told_as_they_were(asynchronous):
    arrival_s, lengths = traffic(50)
    lengths[7] = 9000  # cut by max_model_len
    listener = Listener()
    requests, _ = run(listener, facts_of(50), arrival_s, lengths, asynchronous=asynchronous)
    names = ("generated_tokens", "first_token_s", "finish_s")
    expected = [(row, *(requests[name][row] for name in names)) for row in range(50)]
    assert sorted(listener.told) == expected
    assert requests["generated_tokens"][7] == 3950


def test_no_more_in_flight_than_the_cap(make):
    arrival_s, lengths = traffic()
    cap = 2 * SEATS + 3
    admission = make("queue_cap", {"max_num_queued_reqs": cap})
    requests, _ = run(admission, facts_of(len(lengths)), arrival_s, lengths)
    served = requests[requests["status"] == COMPLETED]
    inside = [
        ((served["arrival_s"] <= t_s) & (served["finish_s"] > t_s)).sum()
        for t_s in requests["arrival_s"]
    ]
    assert max(inside) == cap
    full = np.array(inside)[requests["status"] == REJECTED]
    assert full.min() >= cap - 1, "a seat may fall free between this look and the boundary"


def test_no_more_than_the_bucket_gives(make):
    arrival_s, lengths = traffic(rate_rps=10.0)
    bucket = make("token_bucket", {"rate_per_s": 1.0, "burst": 5.0, "per": "cluster"})
    requests, _ = run(bucket, facts_of(len(lengths)), arrival_s, lengths)
    came_s = requests["arrival_s"][requests["status"] == COMPLETED]
    k = np.arange(len(came_s))
    apart_s = came_s[None, :] - came_s[:, None]
    assert (k[None, :] - k[:, None] + 1 <= 5.0 + apart_s + 1e-6)[apart_s >= 0].all()
    assert len(came_s) == pytest.approx(5 + arrival_s[-1], abs=1.5), "and all of it is used"


def test_tokens_served_follow_the_rate(make):
    arrival_s, lengths = traffic(600, rate_rps=3.0)
    parameters = {"rate_per_s": 80.0, "burst": 400.0, "unit": "tokens", "per": "cluster"}
    bucket = make("token_bucket", parameters)
    requests, _ = run(bucket, facts_of(len(lengths)), arrival_s, lengths, replicas=4)
    served = requests[requests["status"] == COMPLETED]
    tokens = served["prompt_tokens"].sum() + served["generated_tokens"].sum()
    assert tokens == pytest.approx(400 + 80.0 * arrival_s[-1], rel=0.1)
    assert 0.1 < (requests["status"] == REJECTED).mean() < 0.9


@pytest.mark.parametrize("e2el_s", [6.0, 10.0])
def test_early_rejection_keeps_the_promise_to_those_let_in(make, e2el_s):
    """Twice the load that can be served: without it next to nobody is answered in time."""
    arrival_s, lengths = traffic(600)
    facts = facts_with("oracle", lengths)

    def in_time(admission):
        requests, _ = run(admission, facts, arrival_s, lengths)
        served = requests["status"] == COMPLETED
        met = served & (requests["finish_s"] - requests["arrival_s"] <= e2el_s)
        return met.sum(), served.sum()

    met, served = in_time(make("slo_reject", {"e2el_s": e2el_s}))
    met_without, served_without = in_time(None)
    assert served_without == 600
    assert met / served > 0.85
    assert met > 2 * met_without
