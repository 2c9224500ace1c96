import io

import pytest
from fake_record import fake_record
from rich.console import Console

from simulator.report import units
from simulator.report.table import SummaryTable
from simulator.result import Result


def printed(result: Result, width: int = 80, *, styled: bool = False) -> str:
    return rendered(result.table(), width, styled=styled)


def rendered(table: SummaryTable, width: int, *, styled: bool = False) -> str:
    file = io.StringIO()
    colours = "standard" if styled else None
    Console(file=file, width=width, force_terminal=styled, color_system=colours).print(table)
    return file.getvalue()


@pytest.fixture(scope="module")
def calm() -> Result:
    return Result(fake_record(1_000, load=0.6), {})


@pytest.fixture(scope="module")
def choked() -> Result:
    return Result(fake_record(1_000, load=1.6), {})


def test_everything_asked_for_is_there(calm):
    text = printed(calm)
    for word in ("ttft", "ttfo", "tpot", "itl", "e2el", "tta", "p50", "p90", "p95", "p99"):
        assert word in text
    for word in ("± 95 %", "goodput", "preemptions", "recomputed", "GPU-hours", "KV cache", "$"):
        assert word in text
    for word in ("queue", "prefill", "thinking", "answer", "preempted", "offered", "SLO"):
        assert word in text
    assert "Thinking lengths were drawn" in text


def test_numbers_are_those_of_the_summary(calm):
    text, summary = printed(calm), calm.summary
    row = next(line for line in text.splitlines() if "│ e2el" in line)
    assert units.duration(summary["mean_e2el_ms"], summary["mean_e2el_ci95_ms"]) in row
    for percent in (50, 90, 95, 99):
        assert units.duration(summary[f"p{percent}_e2el_ms"]) in row
    assert f"= {summary['offered_load']:.2f}" in text


@pytest.mark.parametrize("width", [80, 100, 160])
def test_it_fits_the_terminal_without_cutting_words(calm, choked, width):
    for result in (calm, choked):
        lines = printed(result, width).splitlines()
        assert max(map(len, lines)) <= width
        assert not any("…" in line for line in lines)


def test_large_numbers_still_fit(calm):
    large = {
        "num_prompts": 1_000_000,
        "completed": 987_654,
        "run_requests": 1_234_567,
        "max_concurrent_requests": 99_999,
        "duration": 86_399.0,
        "end_s": 90_000.0,
        "output_throughput": 1_234_567.0,
        "max_output_tokens_per_s": 1_534_567.0,
        "total_token_throughput": 21_234_567.0,
        "total_thinking_tokens": 12_345_678_901,
        "kv_blocks_per_replica": 123_456,
        "recomputed_tokens": 912_345_678,
        "gpu_hours": 12_345.678,
        "cost_usd": 41_234.5,
        "mean_ttft_ms": 123_456.0,
        "mean_ttft_ci95_ms": 1_234_560.0,
    }
    lines = rendered(SummaryTable({**calm.summary, **large}), 80).splitlines()
    assert max(map(len, lines)) <= 80
    assert not any("…" in line for line in lines)


def test_a_wide_terminal_shows_every_half_width(calm):
    summary = calm.summary
    tail = units.duration(summary["p90_ttft_ms"], summary["p90_ttft_ci95_ms"])
    assert tail in printed(calm, 120)
    assert tail not in printed(calm, 80)


def test_overload_is_red_and_bold(calm, choked):
    assert "\x1b[1;31mOVERLOADED" in printed(choked, styled=True)
    assert "OVERLOADED" not in printed(calm, styled=True)
    assert "\x1b[32mOK" in printed(calm, styled=True)


def test_lost_requests_are_listed():
    cut = Result(fake_record(600, load=1.5, cut_at_s=60.0), {})
    assert f"{cut.summary['unfinished']:,}" in next(
        line for line in printed(cut).splitlines() if "unfinished" in line
    )


def test_text_in_brackets_is_not_taken_for_markup():
    odd = Result(fake_record(60, notes=["see [bold]here[/bold] and [/]"]), {})
    assert "[bold]here[/bold] and [/]" in printed(odd)


def test_a_run_that_measured_nothing_still_prints():
    text = printed(Result(fake_record(50, window_s=(1e6, 2e6), slo={}), {}))
    assert units.NOTHING in text
    assert "UNKNOWN" in text


@pytest.mark.parametrize(
    ("ms", "half", "text"),
    [
        (None, None, "–"),
        (0.0, None, "0 ms"),
        (7.318, None, "7.32 ms"),
        (412.3, 13.2, "412 ± 13 ms"),
        (999.4, None, "999 ms"),
        (1_000.0, None, "1.00 s"),
        (12_340.0, 1_000.0, "12.3 ± 1.0 s"),
        (119_000.0, None, "119 s"),
        (125_000.0, None, "2.08 min"),
        (4e7, None, "11.1 h"),
    ],
)
def test_times_come_in_units_people_use(ms, half, text):
    assert units.duration(ms, half) == text


def test_other_units():
    assert units.limit(0.05) == "50 ms"
    assert units.limit(120.0) == "2 min"
    assert units.count(48_685) == "48,685"
    assert units.count(1_080_000) == "1.08 M"
    assert units.rate(3.2149, "req/s") == "3.21 req/s"
    assert units.percent(0.9204) == "92.0 %"
    assert [units.usd(x) for x in (0.0026, 3.08, 1234.5)] == ["$0.0026", "$3.08", "$1,234"]
    assert {units.count(None), units.rate(None, "x"), units.usd(None)} == {units.NOTHING}
