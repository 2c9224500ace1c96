"""Attainment and goodput of classes: all requests sent are the denominator."""

from dataclasses import replace

import numpy as np
import pytest
from fake_record import fake_record

from simulator.metrics.classes import classes
from simulator.metrics.latency import query_table
from simulator.metrics.slo import goodput


@pytest.fixture(scope="module")
def record():
    """Some of each class were rejected, cancelled or never finished."""
    base = fake_record(600, load=1.2, cut_at_s=150.0)
    requests = base.requests.copy()
    requests.loc[::17, ["status", "finish_s"]] = ["rejected", np.nan]
    requests.loc[::23, ["status", "finish_s"]] = ["cancelled", np.nan]
    limits = {"maths": {"e2el_s": 30.0}}
    return replace(base, requests=requests, slo={"ttft_s": 2.0, "e2el_s": 20.0}, class_slo=limits)


def test_by_hand(record):
    shown = classes(record, query_table(record.requests))
    assert list(shown) == ["chat", "maths"]
    requests = record.requests
    e2el_s, ttft_s = (
        requests[end] - requests["arrival_s"] for end in ("finish_s", "first_token_s")
    )
    done = requests["status"] == "completed"
    good = {"maths": e2el_s <= 30.0, "chat": (ttft_s <= 2.0) & (e2el_s <= 20.0)}
    for name, met in good.items():
        own = requests["class"] == name
        count = int((own & done & met).sum())
        assert 0 < count < (own & done).sum() < own.sum()
        assert shown[name]["num_prompts"] == own.sum()
        assert shown[name]["slo_attainment"] == pytest.approx(count / own.sum())
        assert shown[name]["request_goodput"] == pytest.approx(count / record.end_s)
    chat = shown["chat"]["slo_attainment_by_objective"]
    own = requests["class"] == "chat"
    assert chat["ttft_s"] == pytest.approx((own & done & (ttft_s <= 2.0)).sum() / own.sum())
    assert set(shown["maths"]["slo_attainment_by_objective"]) == {"e2el_s"}


def test_classes_share_the_goodput_of_all(record):
    shown = classes(record, query_table(record.requests))
    total = goodput(record.measured, record.slo, record.class_slo)
    shared = sum(each["request_goodput"] for each in shown.values())
    assert shared * record.window_length_s == pytest.approx(total.good)
    met = sum(each["slo_attainment"] * each["num_prompts"] for each in shown.values())
    assert met == pytest.approx(total.good)


def test_a_class_without_objectives_has_no_goodput(record):
    free = replace(record, slo={})
    shown = classes(free, query_table(free.requests))
    assert shown["chat"]["request_goodput"] is None
    assert shown["chat"]["slo_attainment_by_objective"] == {}
    assert shown["maths"]["request_goodput"] > 0


def test_a_window_without_length_has_no_rates(record):
    moment = replace(record, window_s=(5.0, 5.0))
    assert classes(moment, query_table(moment.requests))["chat"]["request_goodput"] is None
