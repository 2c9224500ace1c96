"""Ranks, reservations and batchings: spans, iterations and the naive reference agree at 1e-9."""

import dataclasses

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simulator.schedulers import Scheduler
from tests.conformance.reference_engine import Scheduling
from tests.properties.test_span_engine import check_agreement, configs, costs, workloads

MANY = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))


class Told(Scheduler):
    """Ranks (by request and how often it was preempted) and reservations from a table."""

    def __init__(self, ranks, reserved):
        self.ranks, self.reserved = ranks, reserved

    def rank(self, view, now_s):
        return self.ranks[view.ids, np.minimum(view.preemptions, self.ranks.shape[1] - 1)]

    def reserve_tokens(self, view):
        return self.reserved[view.ids]


class Moving(Told):
    rank_changes = "running"


class AlwaysAsked(Told):
    rank_changes = "always"


class InOrder(Scheduler):
    """Arrival order with reservations."""

    keeps_arrival_order = True

    def __init__(self, reserved):
        self.reserved = reserved

    def reserve_tokens(self, view):
        return self.reserved[view.ids]


@st.composite
def told(draw, count, capacity_tokens):
    """A maker of schedulers for the engine, and the same as the reference is told it."""
    largest = draw(st.sampled_from([0, 0, capacity_tokens // 3, capacity_tokens]))
    reserved = np.array(
        draw(st.lists(st.integers(0, largest), min_size=count, max_size=count)), dtype=np.int64
    )
    kind = draw(st.sampled_from([InOrder, Told, Moving, AlwaysAsked]))
    if kind is InOrder:
        return lambda: InOrder(reserved), Scheduling(
            reserve_tokens=lambda state: int(reserved[state.position])
        )
    columns = 1 if kind is Told else 3
    values = st.lists(st.integers(0, 4), min_size=count * columns, max_size=count * columns)
    ranks = np.array(draw(values), dtype=np.float64).reshape(count, columns)
    return lambda: kind(ranks, reserved), Scheduling(
        "ranked",
        rank=lambda state: ranks[state.position, min(len(state.evictions), columns - 1)],
        reserve_tokens=lambda state: int(reserved[state.position]),
    )


def usable_tokens(config):
    """Tokens that a reservation can be of: what the blocks hold of one request."""
    return min(config.longest_request or config.max_model_len, 10 * config.max_model_len)


@st.composite
def cases(draw, batching):
    config = draw(configs())
    options = {"async_scheduling": draw(st.booleans()), "batching": batching}
    if batching == "prefill_first":
        options["enable_chunked_prefill"] = False
        options["max_num_batched_tokens"] = max(config.max_num_batched_tokens, config.max_model_len)
    config = dataclasses.replace(config, **options)
    load = draw(workloads(config.max_model_len))
    make, scheduling = draw(told(len(load["arrival_s"]), usable_tokens(config)))
    scheduling = dataclasses.replace(scheduling, batching=batching)
    return config, load, draw(costs()), make, scheduling


@given(cases("chunked_prefill"))
@MANY
def test_ranks_and_reservations(case):
    check_agreement(*case)


@given(cases("prefill_first"))
@MANY
def test_prefill_first(case):
    check_agreement(*case)


@given(cases("static"))
@MANY
def test_static(case):
    check_agreement(*case)
