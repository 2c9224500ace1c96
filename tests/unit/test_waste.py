"""Tokens in vain and tokens found in the prefix cache, counted by hand."""

import numpy as np
import pandas as pd
import pytest
from fake_record import fake_record

from simulator.metrics.prefix_cache import prefix_summary
from simulator.metrics.waste import waste

NAN = np.nan


@pytest.fixture
def requests() -> pd.DataFrame:
    """Completed, preempted twice, cancelled, unfinished in prefill, rejected, never started."""
    return fake_record(6).requests.assign(
        status=["completed", "completed", "cancelled", "unfinished", "rejected", "unfinished"],
        first_scheduled_s=[1.0, 1.0, 1.0, 1.0, NAN, NAN],
        first_token_s=[2.0, 2.0, 2.0, NAN, NAN, NAN],
        prompt_tokens=[100, 200, 300, 400, 500, 600],
        generated_tokens=[10, 20, 30, 0, 0, 0],
        preemptions=[0, 2, 0, 1, 0, 0],
        recomputed_tokens=[0, 415, 0, 64, 0, 0],
    )


def test_waste_by_hand(requests):
    found = waste(requests)
    assert found.preemptions == 3
    assert found.recomputed_tokens == 479
    assert found.output_tokens == 30
    assert found.prompt_tokens == 300
    assert found.computed_tokens == 600 + 60 + 479
    assert found.tokens == 479 + 30 + 300
    assert found.share == pytest.approx(809 / 1139)


def test_what_the_cache_held_was_not_computed(requests):
    found = waste(requests.assign(cached_tokens=[0, 160, 288, 0, 0, 0]))
    assert found.prompt_tokens == 12
    assert found.computed_tokens == (100 + 40 + 12) + 60 + 479


def test_nothing_computed_no_share(requests):
    assert waste(requests.iloc[4:]).share is None


def test_a_share_of_everything_and_of_nothing(requests):
    assert waste(requests.iloc[[0]]).share == 0.0
    assert waste(requests.iloc[[2]]).share == 1.0


def test_hit_ratio_is_over_admitted_requests(requests):
    frame = requests.assign(cached_tokens=[0, 160, 288, 48, 0, 0])
    shown = prefix_summary(frame, query_tokens=1200, hit_tokens=600)
    assert shown["prefix_hit_ratio"] == pytest.approx(496 / 1000)
    assert shown["prefix_cached_tokens"] == 496
    assert shown["prefix_query_tokens"] == 1200
    assert shown["prefix_hit_tokens"] == 600


def test_without_a_cache_or_admissions_there_is_no_ratio(requests):
    shown = prefix_summary(requests, query_tokens=0, hit_tokens=0)
    assert shown["prefix_hit_ratio"] is None
    assert shown["prefix_cached_tokens"] == 0
    waiting = requests[requests["first_scheduled_s"].isna()]
    assert prefix_summary(waiting, query_tokens=10, hit_tokens=0)["prefix_hit_ratio"] is None
    assert prefix_summary(requests, query_tokens=10, hit_tokens=0)["prefix_hit_ratio"] == 0.0
