"""Plots and the HTML page: that they show what they should and survive odd results."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest
from fake_record import fake_record
from matplotlib.figure import Figure

from simulator.metrics.record import LATENCY_PARTS
from simulator.report.html import render_html
from simulator.report.plots import (
    PLOTS,
    latency_cdf,
    latency_parts,
    lengths,
    render_plots,
    timeline,
)
from simulator.result import Result


@pytest.fixture(scope="module")
def result() -> Result:
    return Result(fake_record(400, load=1.2, window_s=(20.0, 120.0)), {"name": "quickstart"})


def axes():
    return Figure().add_subplot()


@pytest.mark.parametrize("name", PLOTS)
def test_a_plot_draws_on_the_axes_it_is_given(result, name):
    ax = axes()
    assert PLOTS[name](result, ax) is ax
    assert ax.get_title(loc="left")
    assert ax.get_xlabel() or ax.child_axes[0].get_xlabel()


@pytest.mark.parametrize("name", PLOTS)
@pytest.mark.parametrize(
    "fields",
    [
        {"window_s": (1e6, 2e6)},
        {"cut_at_s": 1e-9},
        {"count": 1},
        {"count": 3, "timeline_rows": 1},
    ],
)
def test_a_plot_of_nothing_does_not_fail(name, fields):
    figure = Figure()
    PLOTS[name](Result(fake_record(**({"count": 50} | fields)), {}), figure.add_subplot())
    figure.canvas.draw()


def test_distribution_reaches_one_at_the_slowest_request(result):
    ax = latency_cdf(result, axes())
    requests = result.requests[result.requests["measured"]]
    line = next(line for line in ax.lines if line.get_label().startswith("ttft"))
    x, y = line.get_data()
    assert x[-1] == requests["ttft_s"].max()
    assert y[-1] == 1.0
    middle = np.searchsorted(y, 0.5)
    assert x[middle] == pytest.approx(requests["ttft_s"].median(), rel=0.02)


def test_bars_add_up_to_the_mean_latency(result):
    ax = latency_parts(result, axes())
    assert len(ax.containers) == len(LATENCY_PARTS)
    widths = np.array([[bar.get_width() for bar in bars] for bars in ax.containers])
    measured = result.requests[result.requests["measured"]]
    quarters = np.array_split(np.sort(measured["generated_tokens"]), 4)
    sizes = np.array([len(quarter) for quarter in quarters])
    mean = (widths.sum(axis=0) * sizes).sum() / sizes.sum()
    assert mean == pytest.approx(measured["e2el_s"].mean())


def test_histograms_hold_every_request_once(result):
    ax = lengths(result, axes())
    outlines = [patch for patch in ax.patches if not patch.get_fill()]
    assert len(outlines) == 3
    for patch in outlines:
        total = patch.get_data().values.sum()
        assert total == pytest.approx(100) or "without" in patch.get_label()


def test_timeline_sums_replicas_and_marks_the_window(result):
    ax = timeline(result, axes())
    running = next(line for line in ax.lines if line.get_label() == "running")
    expected = result.timeline.groupby("t_s")["running"].sum()
    assert running.get_ydata().tolist() == expected.tolist()
    assert "outside the measuring window" in ax.child_axes[0].get_xlabel()


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.links += [value for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_needs_no_other_file(result):
    plots = render_plots(result)
    page = render_html(result, plots)
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    assert len(tags.links) == len(PLOTS)
    assert all(link.startswith("data:image/png;base64,") for link in tags.links)
    assert all(image.startswith(b"\x89PNG") for image in plots.values())
    assert result.summary["verdict"] in page
    assert "Thinking lengths were drawn" in page
    assert not re.search(r"\b(None|nan)\b", page)


def test_text_of_the_user_is_escaped():
    odd = Result(fake_record(60, name="<script>alert(1)</script>"), {"name": "<b>"})
    page = render_html(odd, {})
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
