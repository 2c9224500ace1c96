"""A scheduler that decides whatever it can, at random: spans and iterations still agree at 1e-9.

What it is asked, when and about whom is the same in both, and the engine's own books are in order
at every boundary.
"""

import dataclasses

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simulator.schedulers import Action, Scheduler
from tests.properties.test_scheduling_engine import shared_prompts
from tests.properties.test_span_engine import check_spans_and_iterations, configs, costs, workloads

ACTIONS = (Action.KEEP, Action.PARK, Action.RECOMPUTE, Action.OFFLOAD)

METHODS = (
    "victim",
    "displace",
    "select",
    "review_tokens",
    "review_at",
    "on_review",
    "reserve_tokens",
    "on_arrival",
    "on_progress",
    "on_finish",
)
PATIENCE = 40  # decisions after which it lets things take their course


class Meddler:
    """Answers by a hash of what it sees; `asked` is what it was asked."""

    def start(self, facts, config):
        self.asked = []
        self.left = PATIENCE

    def note(self, method, view, now_s, *more):
        seen = (view.generated_tokens, view.answer_tokens, view.kv_tokens, view.preemptions)
        columns = tuple(tuple(column.tolist()) for column in (view.ids, *seen))
        self.asked.append((method, now_s, columns, *more))

    def hash(self, view, salt):
        mixed = (view.ids + 1) * 7919 + view.generated_tokens * 104_729 + view.preemptions * 31
        return (mixed * 2_654_435_761 + self.seed + salt * 97) // 64 % 10_007

    def meddles(self):
        self.left -= 1
        return self.left > 0

    def rank(self, view, now_s):
        self.note("rank", view, now_s)
        return self.hash(view, 0) % 5.0 if self.left > 0 else view.arrival_s

    def victim(self, running, now_s):
        self.note("victim", running, now_s)
        return int(self.hash(running, 1)[0] % len(running)) if self.meddles() else len(running) - 1

    def displace(self, candidate, running, now_s):
        self.note("displace", running, now_s, candidate.ids.tolist())
        place = int(self.hash(candidate, 2)[0] % (len(running) + 1))
        return place if place < len(running) and self.meddles() else None

    def select(self, waiting, running, now_s):
        self.note("select", running, now_s, sorted(waiting.ids.tolist()))
        ids = np.concatenate((running.ids, np.sort(waiting.ids)))
        if not self.meddles():
            return ids
        keep = self.hash(running, 3) % 3 > 0
        chosen = self.hash(waiting, 3) % 2 > 0
        return np.concatenate((np.sort(waiting.ids[chosen])[:2], running.ids[keep]))

    def review_tokens(self, view, now_s):
        self.note("review_tokens", view, now_s)
        turns = self.hash(view, 4) % 12
        return np.where((turns < 9) & (self.left > 0), turns, np.inf)

    def review_at(self, view, now_s):
        self.note("review_at", view, now_s)
        after_s = (self.hash(view, 5) % 12) * 0.0937
        return np.where((after_s < 0.9) & (self.left > 0), now_s + after_s, np.inf)

    def on_review(self, view, now_s):
        self.note("on_review", view, now_s)
        return self.hash(view, 6) % len(ACTIONS) if self.meddles() else Action.KEEP

    def reserve_tokens(self, view):
        self.note("reserve_tokens", view, 0.0)
        return self.hash(view, 7) % 40

    def on_arrival(self, view, now_s):
        self.note("on_arrival", view, now_s)

    def on_progress(self, view, tokens):
        self.note("on_progress", view, 0.0, tokens.tolist())
        assert (tokens >= 0).all()

    def on_finish(self, view, now_s):
        self.note("on_finish", view, now_s)


@st.composite
def meddlers(draw):
    """A class with some of the methods, and the attributes that go with them."""
    methods = draw(st.sets(st.sampled_from(METHODS), min_size=1))
    body = {name: getattr(Meddler, name) for name in ("start", "note", "hash", "meddles")}
    body |= {name: getattr(Meddler, name) for name in sorted(methods)}
    body["keeps_arrival_order"] = "select" not in methods and draw(st.booleans())
    body["rank"] = Meddler.rank  # who keeps the order of arrival is asked only at reviews
    body["rank_changes"] = draw(st.sampled_from(["never", "running", "always"]))
    phases = {"phase_change"} if "on_review" in methods and draw(st.booleans()) else set()
    body["reviews_on"] = frozenset(phases)
    body["when_displaced"] = draw(st.sampled_from(ACTIONS[1:]))
    body["seed"] = draw(st.integers(0, 1000))
    return type("Meddling", (Scheduler,), body)


@st.composite
def engines(draw):
    config = draw(configs())
    options = {
        "async_scheduling": draw(st.booleans()),
        "batching": draw(
            st.sampled_from(["chunked_prefill", "chunked_prefill", "prefill_first", "static"])
        ),
        "preemption": draw(st.sampled_from(["recompute", "swap", "checkpoint"])),
        "checkpoint_tokens": draw(st.integers(1, 20)),
        "host_kv_tokens": draw(st.sampled_from([0, 50, 10_000])),
        "host_token_s": draw(st.sampled_from([0.0, 1e-3])),
    }
    if options["batching"] == "prefill_first":
        options["enable_chunked_prefill"] = False
        options["max_num_batched_tokens"] = max(config.max_num_batched_tokens, config.max_model_len)
    one_group = (config.kv_groups_full, config.kv_groups_window) == (1, 0)
    if one_group and options["batching"] != "static":
        options["enable_prefix_caching"] = draw(st.booleans())
    compresses = options["preemption"] != "checkpoint" and config.window_tokens == 0
    if compresses and not options.get("enable_prefix_caching"):
        options |= draw(st.sampled_from([{}, {"kv_budget_tokens": 12}, {"kv_budget_frac": 0.4}]))
        options["kv_compression_interval"] = draw(st.sampled_from([1, 4, 9]))
        options["kv_compression_token_s"] = draw(st.sampled_from([0.0, 1e-4]))
    return dataclasses.replace(config, **options)


@given(data=st.data())
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_a_scheduler_decides(data):
    config = data.draw(engines())
    load = data.draw(workloads(config.max_model_len))
    if config.enable_prefix_caching:
        load = data.draw(shared_prompts(load))
    kind = data.draw(meddlers())
    made = []

    def make():
        made.append(kind())
        return made[-1]

    _, replica = check_spans_and_iterations(config, load, data.draw(costs()), make)
    in_spans, in_steps = (scheduler.asked for scheduler in made)
    for one, other in zip(in_spans, in_steps, strict=False):
        assert (one[0], *one[2:]) == (other[0], *other[2:])
        np.testing.assert_allclose(one[1], other[1], rtol=1e-9, atol=1e-9)
    assert len(in_spans) == len(in_steps)
    state = replica.arrays.state[0]
    assert state["free_blocks"] == config.usable_blocks
    assert state["reserved_blocks"] == state["parked_blocks"] == 0
    assert state["host_tokens_left"] == config.host_kv_tokens
