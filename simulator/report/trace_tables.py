"""What is in a trace, for a terminal: `ponder trace describe`."""

from __future__ import annotations

from itertools import zip_longest

import numpy as np
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from simulator.report import units
from simulator.report.rows import Block
from simulator.report.table import block_table
from workloads.description import Description
from workloads.description.groups import SessionStatistics, ShareStatistics
from workloads.description.lengths import PERCENTS, TAIL_PERCENT, LengthStatistics

MANY_TIES = 0.02
COARSE_TICKS = 0.1  # of the mean gap: from there on a clock changes the CV of gaps
WIDE = 112  # columns that every percentile needs
NARROW_PERCENTS = (10, 50, 90, 95, 99)
BARS = "▁▂▃▄▅▆▇█"


class TraceTables:
    """A description that rich can print."""

    def __init__(self, description: Description) -> None:
        self.description = description

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        found = self.description
        wide = options.max_width >= WIDE
        yield _lengths(found, PERCENTS if wide else NARROW_PERCENTS)
        yield _tails(found.lengths)
        shown = _blocks(found)
        grid = Table.grid(padding=(0, 2, 1, 0))
        for left, right in zip_longest(shown[::2], shown[1::2]):
            grid.add_row(block_table(left), block_table(right) if right else "")
        yield grid
        yield Text.assemble(("Rate over time ", "bold"), rate_line(found))
        for name, each in found.lengths.items():
            if each.fitted.ranked:
                yield _laws(name, each)
        for note in notes(found):
            yield Text.assemble(("note ", "bold"), (note, "dim"))


def _lengths(found: Description, percents: tuple[float, ...]) -> Table:
    table = Table(title=f"{found.file} · {found.title}")
    table.add_column("tokens", style="bold", no_wrap=True)
    table.add_column("mean", justify="right", no_wrap=True)
    for percent in percents:
        table.add_column(f"p{percent:g}", justify="right", no_wrap=True)
    table.add_column("max", justify="right", no_wrap=True)
    for name, each in found.lengths.items():
        cells = [units.count(each.percentiles[percent]) for percent in percents]
        largest = units.count(int(each.sample.values[-1]))
        table.add_row(name, f"{each.sample.mean:,.0f}", *cells, largest)
    return table


def _tails(lengths: dict[str, LengthStatistics]) -> Table:
    table = Table(title="Tails", title_justify="left", title_style="bold", box=None)
    table.add_column("", style="cyan", no_wrap=True)
    for heading in ("Hill α", "k", "above", "GPD ξ", "σ", f"above p{TAIL_PERCENT}", "cap"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, each in lengths.items():
        hill, tail = each.hill, each.tail
        cells = [units.NOTHING] * 3
        if hill is not None:
            cells = [f"{hill.alpha:.2f}", units.count(hill.k), units.count(hill.threshold)]
        cells += (
            [units.NOTHING] * 3
            if tail is None
            else [f"{tail.xi:+.2f}", units.count(tail.scale), units.count(tail.threshold)]
        )
        table.add_row(name, *cells, units.count(each.sample.cap))
    return table


def _laws(name: str, each: LengthStatistics) -> Table:
    """The ranked laws of one column; the AIC per length, which compares across traces."""
    n = each.sample.positive().total
    title = f"Laws of {name} tokens"
    table = Table(title=title, title_justify="left", title_style="bold", box=None)
    for heading, justify in (
        ("", "left"),
        ("KS", "right"),
        ("AIC", "right"),
        ("per length", "right"),
    ):
        table.add_column(heading, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    table.add_column("parameters")
    best = each.fitted.best
    for law in each.fitted.ranked:
        style = "bold" if law is best else ""
        table.add_row(
            law.title,
            f"{law.ks:.4f}",
            f"{law.aic:,.0f}",
            f"{law.aic / n:.4f}",
            Text(parameters(law.fields), style="dim"),
            style=style,
        )
    return table


def parameters(fields: dict[str, object]) -> str:
    """The parameters of a law in a line, without its bounds."""
    parts = []
    for key, value in fields.items():
        if key in ("kind", "min", "max"):
            continue
        if isinstance(value, dict):
            parts.append(parameters(value))
        elif isinstance(value, list):
            parts.append(f"{key} {' '.join(f'{number:.4g}' for number in value)}")
        else:
            parts.append(f"{key} {value:.4g}")
    return ", ".join(parts)


def rate_line(found: Description) -> str:
    """The rate over time as a row of bars, and what a bar is."""
    rates = found.arrivals.rates_rps
    # no more than 60 bars: neighbours are averaged
    groups = np.array_split(rates, min(len(rates), 60))
    heights = np.array([group.mean() for group in groups])
    top = heights.max() or 1.0
    levels = np.minimum((heights / top * len(BARS)).astype(int), len(BARS) - 1)
    bars = "".join(BARS[level] for level in levels)
    each_s = found.arrivals.step_s * len(rates) / len(groups)
    return f"{bars} {units.seconds(each_s)} each, highest {units.rate(float(top), 'req/s')}"


def _blocks(found: Description) -> list[Block]:
    blocks = [Block("Requests", _requests(found)), Block("Arrivals", _arrivals(found))]
    if found.correlations:
        rows = tuple(
            (pair.replace("_", " / "), f"{each['spearman']:+.3f}", "Spearman")
            for pair, each in found.correlations.items()
        )
        blocks.append(Block("Correlations", rows))
    if found.reusable_share is not None:
        rows = (
            ("prompt tokens", units.percent(found.reusable_share), "unlimited cache"),
            ("prompts", units.percent(found.reusing_share), "at least in part"),
        )
        blocks.append(Block("Prefix reuse", rows))
    if found.sessions is not None:
        blocks.append(Block("Sessions", _sessions(found.sessions)))
    for title, shares in (("Clients", found.clients), ("Classes", found.classes)):
        if shares is not None:
            blocks.append(Block(title, _shares(shares)))
    return blocks


def _requests(found: Description) -> tuple[tuple[str, str, str], ...]:
    arrivals = found.arrivals
    rows = [("usable", units.count(arrivals.n), "")]
    rows += [("left out", units.count(count), reason) for reason, count in found.dropped.items()]
    rows.append(("span", units.seconds(arrivals.span_s), ""))
    rows.append(("mean rate", units.rate(arrivals.rate_rps, "req/s"), ""))
    peak = f"per {units.seconds(arrivals.step_s)}"
    rows.append(("peak / mean", f"{arrivals.peak_to_mean:.2f}", peak))
    return tuple(rows)


def _arrivals(found: Description) -> tuple[tuple[str, str, str], ...]:
    arrivals = found.arrivals
    cv = units.NOTHING if arrivals.cv is None else f"{arrivals.cv:.2f}"
    rows = [
        ("CV of gaps", cv, "1: Poisson"),
        ("longest gap", units.seconds(arrivals.longest_gap_s), ""),
        ("simultaneous", units.percent(arrivals.tie_share), ""),
    ]
    rows += [
        (f"dispersion, {units.limit(step)}", f"{value:.2f}", "var / mean" if not i else "")
        for i, (step, value) in enumerate(arrivals.dispersion.items())
    ]
    return tuple(rows)


def _sessions(sessions: SessionStatistics) -> tuple[tuple[str, str, str], ...]:
    rows = [
        ("sessions", units.count(len(sessions.turns)), ""),
        ("of several turns", units.percent(sessions.several_share), ""),
        ("turns", f"{sessions.turns.mean():.2f}", f"at most {units.count(sessions.turns.max())}"),
    ]
    if len(sessions.pauses_s):
        middle = units.seconds(float(np.median(sessions.pauses_s)))
        high = units.seconds(float(np.percentile(sessions.pauses_s, 90)))
        rows.append(("pause, median", middle, f"p90 {high}"))
    if sessions.alone:
        rows.append(("outside", units.count(sessions.alone), "requests"))
    return tuple(rows)


def _shares(shares: ShareStatistics) -> tuple[tuple[str, str, str], ...]:
    rows = [("number", units.count(shares.n), f"Gini {shares.gini:.2f}")]
    rows += [(_short(name), units.percent(share), "") for name, share in shares.busiest.items()]
    return tuple(rows)


def _short(name: str) -> str:
    return name if len(name) <= 24 else f"{name[:21]}..."


def notes(found: Description) -> list[str]:
    """What a reader of the numbers should know of them."""
    lines = []
    arrivals = found.arrivals
    if arrivals.tie_share >= MANY_TIES:
        words = "no common grid"
        if arrivals.tick_s is not None:
            words = f"a clock that ticks every {arrivals.tick_s:.4g} s"
        line = f"{units.percent(arrivals.tie_share)} of requests have the time of the one before"
        tick_s, rate_rps = arrivals.tick_s, arrivals.rate_rps
        if tick_s is None or rate_rps is None or tick_s * rate_rps > COARSE_TICKS:
            words += "): the CV of gaps and short-scale dispersion show the clock, not the traffic"
        else:
            words += ")"
        lines.append(f"{line} ({words}")
    if "thinking" not in found.lengths:
        lines.append("no thinking is recorded: answer tokens are all that was generated")
    if found.estimated:
        lines.append(f"estimated, not measured: {', '.join(found.estimated)}")
    for name, each in found.lengths.items():
        if each.fitted.why and each.fitted.best is not None:
            lines.append(
                f"for {name} tokens ponder trace fit takes the {each.fitted.fields['kind']} law, "
                f"not the {each.fitted.best.title}: {each.fitted.why}"
            )
        if each.sample.zero_share:
            share = units.percent(each.sample.zero_share)
            lines.append(f"{share} of {name} lengths are 0; tails and laws are of the others")
    return lines
