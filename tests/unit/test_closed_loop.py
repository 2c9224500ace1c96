"""Closed loops: clients that wait for an answer before they send again."""

import numpy as np
import pytest
import simpy
from pydantic import ValidationError

from simulator import InputError, load_experiment, run
from simulator.cluster.source import ClosedLoopSource
from tests.cli.support import GOOD
from workloads import SyntheticWorkload
from workloads.arrivals import ClosedLoopArrivals
from workloads.batch import ClosedLoop

COLUMNS = ["arrival_s", "first_scheduled_s", "first_token_s", "finish_s"]


class Server:
    """Answers request i after `service_s[i]` seconds, refuses those of no length at once."""

    def __init__(self, service_s, concurrency, pause_s=0.0):
        self.env = simpy.Environment()
        self.service_s = service_s
        self.arrival_s = np.full(len(service_s), np.nan)
        self.inside, self.most = 0, 0
        loop = ClosedLoop(concurrency, np.broadcast_to(pause_s, len(service_s)).astype(float))
        self.source = ClosedLoopSource(self.env, self.arrival_s, loop, self.submit)
        self.env.run()

    def submit(self, i):
        if not self.service_s[i]:
            return False
        self.inside += 1
        self.most = max(self.most, self.inside)
        done = self.env.timeout(self.service_s[i])
        done.callbacks.append(lambda _: self.answer(i))
        return True

    def answer(self, i):
        self.inside -= 1
        self.source.answered([0], [self.env.now])


def test_one_client_sends_when_it_is_answered():
    server = Server([2.0, 3.0, 1.0], concurrency=1)
    assert server.arrival_s.tolist() == [0.0, 2.0, 5.0]
    assert server.source.exhausted


def test_whoever_is_free_sends_the_next_request():
    server = Server([5.0, 1.0, 1.0, 10.0, 1.0], concurrency=2)
    assert server.arrival_s.tolist() == [0.0, 0.0, 1.0, 2.0, 5.0]
    assert server.most == 2


def test_pauses_come_between_an_answer_and_the_next_request():
    server = Server([1.0] * 4, concurrency=1, pause_s=[0.5, 0.0, 2.0, 9.0])
    assert server.arrival_s.tolist() == [0.0, 1.5, 2.5, 5.5]
    assert server.env.now == 6.5, "nobody pauses after the last request"


def test_a_refused_request_counts_as_answered():
    server = Server([0.0] * 5000 + [1.0, 1.0], concurrency=1)
    assert server.arrival_s.tolist() == [0.0] * 5001 + [1.0]
    paused = Server([0.0, 0.0, 1.0], concurrency=1, pause_s=3.0)
    assert paused.arrival_s.tolist() == [0.0, 3.0, 6.0]


def test_more_clients_than_requests_send_all_at_once():
    assert Server([1.0, 2.0], concurrency=50).arrival_s.tolist() == [0.0, 0.0]


def test_an_answer_in_the_future_is_waited_for():
    env = simpy.Environment()
    arrival_s, sent = np.full(3, np.nan), []
    loop = ClosedLoop(1, np.zeros(3))
    source = ClosedLoopSource(env, arrival_s, loop, lambda i: not sent.append(env.now))
    env.step()
    source.answered([0], [0.25])
    assert sent == [0.0]
    env.run()
    assert sent == [0.0, 0.25]
    assert arrival_s[1] == 0.25


def test_exponential_pauses_have_their_mean_and_depend_on_the_seed():
    n = 100_000
    law = ClosedLoopArrivals(concurrency=3, think_time_s=4.0, think_time_law="exponential")
    pause_s = law.clients(1, "default", n).pause_s
    assert pause_s.mean() == pytest.approx(4.0, abs=4 * 4.0 / np.sqrt(n))
    assert pause_s.std() == pytest.approx(4.0, rel=0.02)
    np.testing.assert_array_equal(law.clients(1, "default", 100).pause_s, pause_s[:100])
    assert not np.array_equal(law.clients(2, "default", 100).pause_s, pause_s[:100])


def test_every_batch_of_a_closed_loop_names_its_clients():
    arrivals = {"kind": "closed_loop", "concurrency": 7}
    length = {"kind": "constant", "tokens": 5}
    content = {"arrivals": arrivals, "prompt_tokens": length, "answer_tokens": length}
    batch = SyntheticWorkload.model_validate(content | {"num_requests": 20}).generate(0)
    assert batch.closed_loop.concurrency == 7
    assert batch.closed_loop.pause_s.tolist() == [0.0] * 20
    assert not batch.arrival_s.any()
    assert "closed loop, 7 at a time" in batch.provenance["arrival_s"]
    with pytest.raises(InputError, match="how many requests"):
        SyntheticWorkload.model_validate(content).generate(0)
    with pytest.raises(ValidationError, match="duration_s cannot end a closed loop"):
        SyntheticWorkload.model_validate(content | {"duration_s": 5.0})
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        ClosedLoopArrivals(concurrency=0)


@pytest.fixture
def good(tmp_path):
    path = tmp_path / "good.yaml"
    path.write_text(GOOD)
    return path


def simulate(good, arrivals, *overrides, requests=300):
    base = [f"workload.arrivals={{kind: closed_loop, {arrivals}}}"]
    base.append(f"workload.num_requests={requests}")
    return run(load_experiment(good, [*base, *overrides]), check_integrity=True)


def inside(requests):
    """Requests in the pool just after each arrival."""
    arrival_s, finish_s = requests["arrival_s"].to_numpy(), requests["finish_s"].to_numpy()
    at = arrival_s[:, None] + 1e-6
    return ((arrival_s <= at) & (finish_s > at)).sum(axis=1)


@pytest.mark.parametrize("replicas", [1, 3])
@pytest.mark.parametrize("asynchronous", ["false", "true"])
def test_concurrency_is_kept_and_never_exceeded(good, replicas, asynchronous):
    result = simulate(
        good,
        "concurrency: 24",
        f"pools.reasoning.replicas={replicas}",
        f"pools.reasoning.engine.async_scheduling={asynchronous}",
    )
    requests = result.requests
    assert (requests["status"] == "completed").all()
    assert (np.diff(requests["arrival_s"]) >= 0).all()
    assert (requests["arrival_s"][:24] == 0).all()
    assert (requests["arrival_s"][24:] > 0).all()
    assert set(inside(requests)[23:]) == {24}
    finishes = set(requests["finish_s"])
    assert set(requests["arrival_s"][24:]) <= finishes
    assert result.summary["max_concurrent_requests"] == 24


def test_spans_and_single_iterations_send_at_the_same_times(good):
    spans = simulate(good, "concurrency: 24, think_time_s: 0.3")
    steps = simulate(
        good, "concurrency: 24, think_time_s: 0.3", "pools.reasoning.engine.stepping=iteration"
    )
    for column in COLUMNS:
        np.testing.assert_allclose(
            spans.requests[column], steps.requests[column], rtol=1e-9, err_msg=column
        )


def test_interactive_response_time_law(good):
    """Response time is N/X - Z whatever the distributions (Denning and Buzen, 1978)."""
    clients, pause_s = 40, 2.0
    result = simulate(
        good,
        f"concurrency: {clients}, think_time_s: {pause_s}, think_time_law: exponential",
        "measure={warmup_s: 30, window_s: 600}",
        "workload.num_requests=null",
    )
    summary = result.summary
    law = ClosedLoopArrivals(
        concurrency=clients, think_time_s=pause_s, think_time_law="exponential"
    )
    drawn_s = law.clients(0, "default", len(result.requests)).pause_s
    measured = np.flatnonzero(result.requests["measured"])
    law_s = clients / summary["request_throughput"] - drawn_s[measured - clients].mean()
    assert summary["mean_e2el_ms"] / 1e3 == pytest.approx(law_s, rel=0.01)
    assert not any("running empty" in note for note in summary["notes"])


@pytest.mark.parametrize(
    "measure", ["{warmup_s: 5, window_s: 10}", "{warmup_requests: 50, window_requests: 100}"]
)
def test_a_window_measures_part_of_the_same_run(good, measure):
    whole = simulate(good, "concurrency: 16")
    part = simulate(good, "concurrency: 16", f"measure={measure}")
    measured = part.requests[part.requests["measured"]]
    np.testing.assert_array_equal(measured[COLUMNS], whole.requests.loc[measured.index, COLUMNS])
    start_s, end_s = part.record.window_s
    assert measured["arrival_s"].between(start_s, end_s, inclusive="left").all()
    assert len(measured) == part.summary["num_prompts"] > 50
    assert part.record.end_s == measured["finish_s"].max() < whole.record.end_s
    inside_window = whole.requests["arrival_s"].between(start_s, end_s, inclusive="left")
    assert inside_window.sum() == len(measured) or "requests" in measure


def test_a_window_in_seconds_needs_no_number_of_requests(good):
    result = simulate(
        good,
        "concurrency: 2",
        "measure={warmup_s: 2, window_s: 30}",
        "workload.num_requests=null",
    )
    assert result.summary["duration"] == 30
    assert result.record.end_s >= 32
    assert not any("running empty" in note for note in result.summary["notes"])


def test_same_seed_same_bytes(good):
    runs = [
        simulate(good, "concurrency: 9, think_time_s: 1.0, think_time_law: exponential")
        for _ in range(2)
    ]
    assert runs[0].summary == runs[1].summary
    assert runs[0].requests.equals(runs[1].requests)


def test_clients_that_wait_cannot_overload_a_pool(good):
    summary = simulate(good, "concurrency: 200", "pools.reasoning.engine.max_num_seqs=4").summary
    assert summary["verdict"] == "OK"
    assert "wait for their answers" in summary["verdict_reason"]
    assert summary["offered_load"] is None
