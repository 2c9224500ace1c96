"""`ponder trace convert`: write a trace in another format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from simulator.cli.interrupts import catch_interrupts
from simulator.cli.trace import options


@click.command("convert")
@click.argument("trace", metavar="IN", type=click.Path(path_type=Path))
@options.out
@click.option(
    "--from", "source", default="auto", metavar="FORMAT", help="Format of IN [default: by content]."
)
@options.target
@click.option(
    "--block-size",
    type=int,
    metavar="TOKENS",
    help="Tokens of a hashed block of IN [default: as published, 512 or 16].",
)
@click.option(
    "--tokenizer",
    metavar="PATH",
    help="A tokenizer.json that counts the tokens of texts [default: characters / 4].",
)
def command(
    trace: Path,
    out: Path,
    source: str,
    target: str,
    block_size: int | None,
    tokenizer: str | None,
) -> None:
    """Read the trace IN and write it to OUT, in one of ponder's formats or Mooncake's.

    Prints how many requests there are, how many rows were left out and why, and which columns are
    guesses. A row that can't be read is an error, and nothing is written then.
    """
    from workloads.traces import READERS, read_trace, rows_to_batch
    from workloads.traces.writers import format_of, write_trace

    catch_interrupts()

    target = format_of(out, target)
    options.keep_inputs(out, [trace])
    given: dict[str, Any] = {"block_size": block_size, "tokenizer": tokenizer}
    given = {name: value for name, value in given.items() if value is not None}
    rows, reader = read_trace(trace, source, **given)
    written = write_trace(rows_to_batch(rows), out, target)
    kind = next(kind for kind in READERS if READERS[kind] is type(reader))
    click.echo(f"read   {trace} ({kind}: {reader.title})")
    for reason, count in rows.dropped.items():
        click.echo(f"left out  {count:,} rows: {reason}")
    if rows.estimated:
        click.echo(f"estimated, not in the trace: {', '.join(rows.estimated)}")
    click.echo(f"wrote  {out} ({target}): {written:,} requests")
