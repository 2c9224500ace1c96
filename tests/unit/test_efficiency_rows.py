"""What a report says of GPUs and fairness, and when it says nothing."""

import io
from dataclasses import replace

import numpy as np
import pytest
from fake_record import fake_record
from rich.console import Console

from simulator.metrics.efficiency import PoolUse
from simulator.report import units
from simulator.report.efficiency_rows import efficiency_rows, fairness_rows
from simulator.report.html import render_html
from simulator.result import Result


def result_of(*, clients: int = 1, overtaken: bool = False, energy_j: float | None = 9e6) -> Result:
    record = fake_record(400, load=1.3, num_gpus=8)
    requests = record.requests.copy()
    requests["client"] = [f"client {i % clients}" for i in range(len(requests))]
    if overtaken:
        requests.loc[300, "first_scheduled_s"] = requests["arrival_s"].iloc[300]
    gpu_s = 8 * record.window_length_s
    use = PoolUse(gpu_s, 0.45 * gpu_s, 0.03 * gpu_s, 1e15, 1e17, energy_j)
    [pool] = record.pools
    return Result(replace(record, requests=requests, pools=(replace(pool, use=use),)), {})


def printed(result: Result, width: int) -> str:
    file = io.StringIO()
    Console(file=file, width=width, color_system=None).print(result.table())
    return file.getvalue()


def test_use_of_gpus_is_shown_in_every_report():
    result = result_of()
    rows = {label: (value, remark) for label, value, remark in efficiency_rows(result.summary)}
    assert rows["MBU"] == ("45.0 %", "of bandwidth")
    assert rows["MFU"] == ("3.0 %", "of peak FLOP/s")
    power_w = 9e6 / (8 * result.record.window_length_s)
    assert rows["power"][0] == units.rate(power_w, "W")
    energy_j = 9e6 / result.record.window_output_tokens
    assert rows["energy"] == (units.rate(energy_j, "J"), "output token")
    assert rows["wasted"][0] == units.percent(result.summary["wasted_token_share"])
    for text in (printed(result, 80), render_html(result, {})):
        assert "MBU" in text
        assert "45.0 %" in text


def test_unknown_energy_is_a_dash():
    summary = result_of(energy_j=None).summary
    rows = {label: value for label, value, _ in efficiency_rows(summary)}
    assert rows["power"] == rows["energy"] == units.NOTHING
    assert rows["MBU"] == "45.0 %"


def test_nothing_wasted_nothing_said():
    summary = {**result_of().summary, "wasted_tokens": 0, "wasted_token_share": 0.0}
    assert "wasted" not in {label for label, _, _ in efficiency_rows(summary)}


def test_one_client_served_in_order_needs_no_fairness():
    result = result_of()
    assert fairness_rows(result.summary) == ()
    assert "Fairness" not in printed(result, 80)
    assert "Fairness" not in render_html(result, {})


def test_several_clients_are_compared():
    result = result_of(clients=3)
    summary = result.summary
    rows = {label: (value, remark) for label, value, remark in fairness_rows(summary)}
    assert rows["Jain, service"] == (f"{summary['jain_service']:.3f}", "3 clients")
    assert rows["Jain, tta"][0] == f"{summary['jain_mean_tta']:.3f}"
    assert rows["overtaken"] == ("0", "")
    assert rows["service gap"][1] == "tokens"
    assert rows["· long"][0] == units.rate(summary["slowdown_by_length"]["long"]["mean"], "×")
    for width in (80, 120):
        text = printed(result, width)
        assert "Fairness" in text
        assert max(map(len, text.splitlines())) <= width
        assert "…" not in text


def test_overtaking_shows_even_with_one_client():
    summary = result_of(overtaken=True).summary
    rows = {label: (value, remark) for label, value, remark in fairness_rows(summary)}
    assert summary["overtaken_requests"] > 1
    waited = units.seconds(summary["longest_overtaken_wait_s"])
    assert rows["overtaken"] == (units.count(summary["overtaken_requests"]), f"≤ {waited}")
    assert "Jain, service" not in rows


@pytest.mark.parametrize("ratio", [None, 0.347])
def test_prefix_hits_show_where_there_is_a_cache(ratio):
    result = result_of()
    result.summary["prefix_hit_ratio"] = ratio
    assert ("34.7 %" in printed(result, 80)) == (ratio is not None)


def test_a_run_that_measured_nothing_still_has_its_rows():
    record = fake_record(50, window_s=(1e6, 2e6), slo={})
    requests = record.requests.assign(client=np.where(record.requests["turn"] == 0, "a", "b"))
    summary = Result(replace(record, requests=requests), {}).summary
    assert summary["mean_slowdown"] is None
    assert dict(row[:2] for row in efficiency_rows(summary))["MBU"] == units.NOTHING
