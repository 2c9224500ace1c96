"""What must hold of every schedule of the reference engine, on random workloads.

The checks follow the steps and use none of the engine's own state.
"""

import itertools
import math
from collections import Counter
from math import ceil

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from .reference_engine import EngineConfig, Request, Scheduling, simulate, token_names
from .reference_scheduler import BATCHINGS, ORDERS


@st.composite
def configs(draw):
    """Engines under pressure: few blocks, few seats, small budgets."""
    block_size = draw(st.sampled_from([1, 4]))
    usable = draw(st.integers(5, 40)) * 4 // block_size
    max_model_len = draw(st.integers(2, usable * block_size + 1))
    batching = draw(st.sampled_from(BATCHINGS))
    budget = draw(st.integers(1, 8) | st.integers(1, 60))
    chunked = draw(st.sampled_from([True, True, False]))
    if batching == "prefill_first" or not chunked:
        budget = max(budget, max_model_len)
    config = EngineConfig(
        max_num_seqs=draw(st.integers(1, 10)),
        max_num_batched_tokens=budget,
        num_gpu_blocks=usable + 1,
        max_model_len=max_model_len,
        block_size=block_size,
        enable_chunked_prefill=chunked,
        watermark=draw(st.sampled_from([0.0, 0.0, 0.2])),
        scheduler_reserve_full_isl=draw(st.booleans()),
        long_prefill_token_threshold=draw(st.sampled_from([0, 0, 5])),
        prefill_schedule_interval=draw(st.sampled_from([1, 1, 3])),
        async_scheduling=draw(st.booleans()),
    )
    return config, batching


@st.composite
def workloads(draw, config):
    """Requests that fit; some share the start of their prompts, some go on from another's end."""
    requests = []
    t_s = 0.0
    for i in range(draw(st.integers(1, 16))):
        t_s += draw(st.sampled_from([0.0, 0.0, 1.0, 2.5, 9.0]))
        prompt = draw(st.integers(1, config.max_model_len - 1))
        output = draw(st.integers(1, config.max_model_len - prompt))
        shared = draw(st.integers(0, prompt))
        segment = draw(st.sampled_from(["system", *(f"out{j}" for j in range(i))]))
        parts = [(segment, shared), (f"prompt{i}", prompt - shared)]
        requests.append(
            Request(
                id=str(i),
                arrival_s=t_s,
                prompt_tokens=prompt,
                thinking_tokens=0,
                output_tokens=output,
                # A stop token may end it before its `max_tokens`.
                max_tokens=draw(st.sampled_from([output, config.max_model_len - prompt])),
                priority=draw(st.integers(0, 2)),
                tokens=token_names(parts, [(f"out{i}", output)]),
            )
        )
    return requests


class Endless(Exception):
    """Requests that evict each other in turn need not come to an end."""


def one_second(most=5000):
    """The cost of an iteration; raises `Endless` beyond so many of them."""
    calls = itertools.count()

    def time_s(chunks):
        if next(calls) == most:
            raise Endless
        return 1.0

    return time_s


class Follower:
    """What the steps say of each request as the next one is decided."""

    def __init__(self, config, requests, outcomes):
        self.config = config
        self.requests = {request.id: request for request in requests}
        self.ends = {outcome.id: outcome.finish_s for outcome in outcomes}
        self.tokens_s = {}
        for outcome in outcomes:
            gaps = [outcome.first_token_s, *outcome.inter_token_gaps_s]
            self.tokens_s[outcome.id] = list(itertools.accumulate(gaps))
        self.running = {}  # C
        self.reached = Counter()  # the highest C
        self.lost = Counter()
        self.spared = Counter()
        self.found = Counter()
        self.twice = Counter()  # lost and computed anew or found; the last token may be in flight
        self.total = Counter()
        self.last_lost = Counter()

    def known(self, name, now_s):
        emitted = sum(token_s <= now_s for token_s in self.tokens_s[name])
        return self.requests[name].prompt_tokens + emitted

    def waiting(self, now_s):
        return [
            name
            for name, request in self.requests.items()
            if request.arrival_s <= now_s < self.ends[name] and name not in self.running
        ]

    def evict(self, name):
        self.last_lost[name] = self.running.pop(name)
        self.lost[name] += self.last_lost[name]

    def follow(self, step):
        for name in [name for name in self.running if self.ends[name] <= step.sched_s]:
            del self.running[name]
        for name in step.preempted:
            self.evict(name)
        for name in step.scheduled | step.admitted:  # those admitted without a token come last
            n = step.scheduled.get(name, 0)
            if name in step.admitted:
                if name in self.running:  # evicted by a call that scheduled nothing
                    self.evict(name)
                found = step.admitted[name]
                assert found == 0 or self.was_computed(name, found, step.sched_s)
                self.spared[name] += min(found, self.last_lost[name])
                self.twice[name] += self.last_lost[name]
                self.found[name] += found
                self.running[name] = found
            self.running[name] += n
            self.total[name] += n
            self.reached[name] = max(self.reached[name], self.running[name])

    def was_computed(self, name, count, now_s):
        """Whether somebody has computed these tokens, knowing them."""
        tokens = self.requests[name].tokens[:count]
        return any(
            self.requests[other].tokens[:count] == tokens
            and min(self.reached[other], self.known(other, now_s)) >= count
            for other in self.requests
        )

    def check_end(self, outcomes):
        for outcome in outcomes:
            name, request = outcome.id, self.requests[outcome.id]
            assert outcome.status == "completed"
            assert outcome.generated_tokens == request.output_tokens
            assert outcome.recomputed_tokens == self.lost[name] - self.spared[name]
            tokens = request.prompt_tokens + request.output_tokens - 1
            tokens += self.twice[name] - self.found[name]
            stops = self.config.async_scheduling and request.max_tokens > request.output_tokens
            assert self.total[name] - tokens in ((0, 1) if stops else (0,))


def blocks(tokens, config):
    return ceil(tokens / config.block_size)


@given(data=st.data())
@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
def test_schedules_keep_what_they_promise(data):
    config, batching = data.draw(configs())
    requests = data.draw(workloads(config))
    order = data.draw(st.sampled_from(ORDERS))
    caching = data.draw(st.booleans())
    usable = config.num_gpu_blocks - 1
    columns = st.lists(st.integers(0, 3), min_size=len(requests), max_size=len(requests))
    ranks = data.draw(columns)
    some = st.none() | st.lists(
        st.integers(0, usable * config.block_size), min_size=len(requests), max_size=len(requests)
    )
    reserved = data.draw(some)
    scheduling = Scheduling(
        order,
        (lambda state: ranks[state.position]) if order == "ranked" else None,
        (lambda state: reserved[state.position]) if reserved else None,
        batching,
    )
    try:
        outcomes, steps = simulate(config, requests, one_second(), scheduling, caching)
    except Endless:
        assume(False)

    def place(name):
        request = requests[int(name)]
        first = request.priority if order == "priority" else ranks[int(name)]
        return first, request.arrival_s, name if order == "priority" else int(name)

    follower = Follower(config, requests, outcomes)
    for step in steps:
        follower.follow(step)
        assert sum(step.scheduled.values()) <= config.max_num_batched_tokens
        assert min(step.scheduled.values()) > 0
        assert step.num_running <= config.max_num_seqs
        assert not (step.admitted and step.preempted)
        running = follower.running
        if len(running) == step.num_running:  # else some are evicted by a call without a step
            assert len(follower.waiting(step.sched_s)) == step.num_waiting
            if not caching:
                held = sum(blocks(tokens, config) for tokens in running.values())
                assert step.free_blocks == usable - held
            if reserved:
                assert sum(blocks(reserved[int(name)], config) for name in running) <= usable
        if step.admitted and order != "fcfs":
            waiting = map(place, follower.waiting(step.sched_s))
            assert max(map(place, step.admitted)) < min(waiting, default=(math.inf,))
        if step.admitted and batching == "static":
            assert step.num_running == len(step.admitted)
            known = [follower.known(name, step.sched_s) for name in step.admitted]
            assert caching or sum(blocks(tokens, config) for tokens in known) <= usable
        if batching == "prefill_first" and step.admitted:
            assert step.scheduled.keys() == step.admitted.keys()
            for name, n in step.scheduled.items():
                assert n == follower.known(name, step.sched_s) - step.admitted[name]
        elif batching == "prefill_first":
            assert set(step.scheduled.values()) == {1}
    assert steps[-1].free_blocks_end == usable
    follower.check_end(outcomes)
