"""What `ponder explain` prints."""

from __future__ import annotations

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from simulator.report.units import NOTHING, count, percent, seconds
from simulator.studies.explain import Explanation

GIB = 2.0**30
BOUND_STYLES = {"memory": "cyan", "compute": "green", "network": "magenta", "launch": "yellow"}
# Lines of the memory budget that are sums, not parts.
_SUMS = ("total", "utilisation", "KV")


class ExplanationTables:
    """An explanation that rich can print."""

    def __init__(self, explanation: Explanation) -> None:
        self.explanation = explanation

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        explanation = self.explanation
        gpus = f"{explanation.num_gpus} x " if explanation.num_gpus > 1 else ""
        mode = "asynchronous" if explanation.async_scheduling else "synchronous"
        head = f"{explanation.model} on {gpus}{explanation.gpu}, {explanation.engine} ({mode})"
        yield Text.assemble((head, "bold"), f", weights {'/'.join(explanation.weights)}")
        yield _iteration(explanation)
        yield _totals(explanation)
        yield _memory(explanation)
        yield _fitting(explanation)
        for note in explanation.notes:
            yield Text.assemble(("note ", "bold"), (note, "dim"))


def _iteration(explanation: Explanation) -> Table:
    doing = []
    if explanation.decodes:
        what = f"{explanation.decodes:,} requests decoding at {explanation.context_tokens:,} tokens"
        doing.append(what)
    if explanation.prefill_tokens:
        doing.append(f"{explanation.prefill_tokens:,} prompt tokens of one more")
    table = _table(f"One iteration: {' and '.join(doing)}")
    for heading in ("part", "time", "share", "limited by", "GB moved", "TFLOP"):
        text = heading in ("part", "limited by")
        table.add_column(heading, justify="left" if text else "right", no_wrap=True)
    for share in explanation.shares:
        table.add_row(
            share.name,
            _milliseconds(share.seconds),
            percent(share.share),
            Text(share.bound, style=BOUND_STYLES.get(share.bound, "")),
            f"{share.gigabytes:.3f}" if share.gigabytes else NOTHING,
            f"{share.teraflops:.4f}" if share.teraflops else NOTHING,
        )
    table.add_section()
    moved = sum(share.gigabytes for share in explanation.shares)
    computed = sum(share.teraflops for share in explanation.shares)
    whole = _milliseconds(explanation.iteration_s)
    table.add_row("iteration", whole, "", "", f"{moved:.3f}", f"{computed:.4f}", style="bold")
    return table


def _totals(explanation: Explanation) -> Text:
    tokens_per_s = explanation.decodes / explanation.iteration_s
    return Text(
        f"MBU {percent(explanation.mbu)} (memory bandwidth in use), MFU"
        f" {percent(explanation.mfu)} (arithmetic in use), {count(tokens_per_s)} output tok/s"
        f" a replica; bytes and operations are those of one GPU\n",
        style="dim",
    )


def _memory(explanation: Explanation) -> Table:
    table = _table("Memory of one GPU")
    table.add_column("line")
    table.add_column("GiB", justify="right")
    table.add_column("", style="dim")
    lines = explanation.memory or {}
    notes = _memory_notes(explanation)
    for name, value in lines.items():
        minus = "" if name in (*_SUMS, "unused") else "-"
        style = "bold" if name in _SUMS else ""
        table.add_row(name, f"{minus}{value / GIB:,.2f}", notes.get(name, ""), style=style)
    if not lines:
        table.add_row("KV", NOTHING, f"num_gpu_blocks {explanation.num_gpu_blocks:,} is given")
    return table


def _memory_notes(explanation: Explanation) -> dict[str, str]:
    tokens = explanation.kv_bytes_per_token
    return {
        "total": "what CUDA reports",
        "utilisation": "of which the engine may use gpu_memory_utilization",
        "activations": "peak of the engine's dummy run",
        "KV": f"{explanation.num_gpu_blocks:,} blocks of {explanation.block_size} tokens in"
        f" {explanation.layers_per_block} layers; {tokens:,} B per token in all layers",
        "unused": "less than a block",
    }


def _fitting(explanation: Explanation) -> Table:
    table = _table("Largest decoding batch of a replica")
    for heading in ("context tokens", "requests", "limited by", "iteration", "output tok/s"):
        table.add_column(heading, justify="left" if heading == "limited by" else "right")
    for row in explanation.fitting:
        table.add_row(
            f"{row.context_tokens:,}",
            f"{row.requests:,}",
            row.limit,
            seconds(row.iteration_s),
            count(row.output_tokens_per_s),
        )
    return table


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)


def _milliseconds(value_s: float) -> str:
    return f"{value_s * 1e3:,.3f} ms"
