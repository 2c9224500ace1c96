"""The final table of a run, for a terminal of 80 columns or more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any

from rich.console import Console, ConsoleOptions, JustifyMethod, RenderResult
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from simulator.metrics.latency import PERCENTS
from simulator.report.rows import (
    CLASS_COLUMNS,
    POOL_COLUMNS,
    POOL_DID,
    POOL_IS,
    Block,
    blocks,
    class_rows,
    latency_rows,
    load_line,
    pool_rows,
    slo_line,
)

_WIDE = 112  # columns needed to give every percentile its half-width
VERDICT_STYLES = {"OK": "green", "OVERLOADED": "bold red", "UNKNOWN": "yellow"}


class SummaryTable:
    """A summary that rich can print; it shows more intervals where the terminal is wide."""

    def __init__(self, summary: dict[str, Any], *, notes: bool = True) -> None:
        self.summary = summary
        self.notes = summary["notes"] if notes else []

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        summary = self.summary
        yield _latencies(summary, with_intervals=options.max_width >= _WIDE)
        objectives = slo_line(summary)
        if objectives:
            yield Text.assemble(("SLO ", "bold"), objectives)
        if class_rows(summary):
            yield _parts_table("Classes", CLASS_COLUMNS, class_rows(summary))
        yield from _pools(summary, in_one=options.max_width >= _WIDE)
        yield _grid(blocks(summary))
        for note in self.notes:
            yield Text.assemble(("note ", "bold"), (note, "dim"))
        yield _verdict(summary)


def _latencies(summary: dict[str, Any], *, with_intervals: bool) -> Table:
    table = Table(title=f"ponder · {summary['name']}" if summary["name"] else "ponder")
    table.add_column("", style="bold", no_wrap=True)
    table.add_column("mean ± 95 %", justify="right", no_wrap=True)
    for percent in PERCENTS:
        table.add_column(f"p{percent}", justify="right", no_wrap=True)
    for row in latency_rows(summary):
        cells = row.percentiles_ci95 if with_intervals else row.percentiles
        table.add_row(row.name, row.mean, *cells)
    return table


def _pools(summary: dict[str, Any], *, in_one: bool) -> Iterator[Table]:
    """What the pools are and did, in one table or in two; nothing of a single pool."""
    rows = pool_rows(summary)
    if not rows:
        return
    if in_one:
        yield _parts_table("Pools", POOL_COLUMNS, rows)
        return
    split = 1 + len(POOL_IS)
    yield _parts_table("Pools", POOL_IS, [row[:split] for row in rows])
    yield _parts_table(None, POOL_DID, [(row[0], *row[split:]) for row in rows])


def _parts_table(
    title: str | None, headings: Sequence[str], rows: Sequence[Sequence[str]]
) -> Table:
    """A table without lines of what the whole is made of, the name of each part first."""
    table = Table(title=title, title_justify="left", title_style="bold", box=None)
    table.add_column("", style="cyan", no_wrap=True)
    for heading in headings:
        justify: JustifyMethod = "left" if heading in ("model", "GPU") else "right"
        table.add_column(heading, justify=justify, overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def _grid(shown: list[Block]) -> Table:
    """Blocks in two columns, filled row by row."""
    grid = Table.grid(padding=(0, 2, 1, 0))
    for left, right in zip_longest(shown[::2], shown[1::2]):
        grid.add_row(block_table(left), block_table(right) if right else "")
    return grid


def block_table(block: Block) -> Table:
    """A block as a table without lines, its title above."""
    table = Table(
        title=block.title, title_justify="left", title_style="bold", box=None, show_header=False
    )
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(style="dim")
    for row in block.rows:
        table.add_row(*row)
    return table


def _verdict(summary: dict[str, Any]) -> Panel:
    verdict = summary["verdict"]
    style = VERDICT_STYLES[verdict]
    text = Text.assemble((verdict, style), ": ", summary["verdict_reason"])
    text.append(f"\n{load_line(summary)}", style="dim")
    return Panel(text, title="load", border_style=style)
