"""Ranks, reservations and batchings: spans, iterations and the naive reference agree at 1e-9."""

import dataclasses

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simulator.prefix import PromptSegments
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


@st.composite
def shared_prompts(draw, load):
    """The same requests, with prompts that begin alike or go on from what others were answered."""
    prompts, outputs = [], []
    for i, tokens in enumerate(load["prompt_tokens"].tolist()):
        parts, left = [], tokens
        for segment in draw(
            st.sampled_from([(), (0,), (0, 1), (0, 100 + i // 2), (100 + i // 3,)])
        ):
            length = draw(st.integers(0, left))
            if length:
                parts.append((segment, length))
            left -= length
        if left:
            parts.append((200 + i, left))
        prompts.append(parts)
        answer = draw(st.sampled_from([-1, 100 + i, 200 + i]))
        outputs.append((draw(st.sampled_from([-1, answer])), answer))
    segments = PromptSegments.from_lists(prompts, np.array(outputs, dtype=np.int64))
    return {**load, "segments": segments}


@st.composite
def caching_cases(draw):
    batching = draw(st.sampled_from(["chunked_prefill", "chunked_prefill", "prefill_first"]))
    config, load, *rest = draw(cases(batching))
    groups = {"window_tokens": 0, "kv_groups_full": 1, "kv_groups_window": 0}
    blocks = max(config.num_gpu_blocks, -(-config.max_model_len // config.block_size) + 1)
    config = dataclasses.replace(
        config, enable_prefix_caching=True, num_gpu_blocks=blocks, **groups
    )
    return config, draw(shared_prompts(load)), *rest


@given(caching_cases())
@MANY
def test_prefix_caching(case):
    check_agreement(*case)


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
