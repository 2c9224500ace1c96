import numpy as np
import pandas as pd
import pytest

from simulator.metrics.slo import goodput

NAN = np.nan


@pytest.fixture
def measured() -> pd.DataFrame:
    """Six requests that arrive at 0, each with a fate of its own."""
    return pd.DataFrame(
        [
            # good: ttft 1, ttfo 5, tpot 0.1, e2el 11
            ("completed", 1.0, 5.0, 11.0, 101),
            # slow first token
            ("completed", 3.0, 5.0, 11.0, 101),
            # one token: has no tpot, which is no reason to miss
            ("completed", 1.0, 1.0, 1.0, 1),
            # cut while thinking: never showed an answer
            ("completed", 1.0, NAN, 11.0, 101),
            # fast so far, but it never finished
            ("unfinished", 1.0, 5.0, NAN, 40),
            ("rejected", NAN, NAN, NAN, 0),
        ],
        columns=["status", "first_token_s", "first_answer_s", "finish_s", "generated_tokens"],
    ).assign(arrival_s=0.0)


def test_a_good_request_meets_every_objective(measured):
    result = goodput(measured, {"ttft_s": 2.0, "ttfo_s": 6.0, "tpot_s": 0.1, "e2el_s": 20.0})
    assert result.good == 2
    assert result.sent == 6
    assert result.attainment == pytest.approx(2 / 6)
    assert result.by_objective == pytest.approx(
        {"ttft_s": 3 / 6, "ttfo_s": 3 / 6, "tpot_s": 4 / 6, "e2el_s": 4 / 6}
    )


def test_any_subset_of_objectives_will_do(measured):
    assert goodput(measured, {"ttft_s": 2.0}).good == 3
    assert goodput(measured, {"ttfo_s": 6.0}).good == 3
    assert goodput(measured, {"tpot_s": 0.09}).good == 2  # the second is 8 s for 100 gaps


def test_a_limit_counts_as_met_when_just_reached(measured):
    assert goodput(measured, {"e2el_s": 11.0}).good == 4
    assert goodput(measured, {"e2el_s": 10.999}).good == 1


def test_unfinished_and_rejected_requests_missed_even_the_loosest_limit(measured):
    assert goodput(measured, {"e2el_s": 1e9, "ttft_s": 1e9}).attainment == pytest.approx(4 / 6)


def test_no_objectives_no_goodput(measured):
    assert goodput(measured, {}) is None


def test_nothing_sent_nothing_known(measured):
    result = goodput(measured.iloc[:0], {"ttft_s": 1.0})
    assert (result.good, result.sent) == (0, 0)
    assert np.isnan(result.attainment)


def test_unknown_objectives_are_refused(measured):
    with pytest.raises(ValueError, match="itl_s"):
        goodput(measured, {"itl_s": 1.0})
