"""`ponder trace generate`: write the requests of a workload as a trace."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from simulator.cli.interrupts import catch_interrupts
from simulator.cli.trace import options


@click.command("generate")
@click.argument("workload", type=click.Path(path_type=Path))
@options.out
@options.target
@click.option(
    "--seed", type=click.IntRange(0, 2**63 - 1), help="Seed, instead of the file's (or 0)."
)
@click.option(
    "--num-requests",
    type=click.IntRange(1, 100_000_000),
    help="End after so many requests, instead of where the file says.",
)
@click.option(
    "--duration-s",
    type=click.FloatRange(0, 1e9, min_open=True),
    callback=options.finite,
    help="End at this time, instead of where the file says.",
)
@click.option(
    "--assumed-tpot-ms",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    help="Time per output token that turns of sessions wait for, in the times written.",
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="PATH=VALUE",
    help="Change one value, e.g. --set workload.arrivals.rate_rps=3. May be given many times.",
)
def command(
    workload: Path,
    out: Path,
    target: str,
    seed: int | None,
    num_requests: int | None,
    duration_s: float | None,
    assumed_tpot_ms: float,
    overrides: tuple[str, ...],
) -> None:
    """Draw the requests of a workload and write them to OUT, to drive another tool with.

    WORKLOAD is an experiment file, or one with its `workload` alone, as `ponder trace fit` writes.
    Nothing is served here: when a turn of a session comes depends on how fast the one before it
    is answered, so its time is the earliest one, with --assumed-tpot-ms a likelier one.
    """
    from simulator.config.loader import load_workload
    from simulator.errors import InputError, Problem
    from workloads.batch import RequestBatch
    from workloads.generate import served_at
    from workloads.traces.writers import format_of, write_trace
    from workloads.workload import Workload

    catch_interrupts()
    target = format_of(out, target)
    kind: Workload
    kind, own_seed = load_workload(workload, overrides)
    options.keep_inputs(out, [workload, *kind.inputs()])
    if num_requests is not None or duration_s is not None:
        kind = kind.model_copy(update={kind.limit_field: num_requests, "duration_s": duration_s})
    if kind.is_closed_loop:
        message = "a closed loop has no times before it is served: give it other arrivals"
        raise InputError(Problem(message, file=str(workload), field="workload.arrivals"))
    if kind.needs_an_end:
        message = "must say how much: give --num-requests or --duration-s, or say it here"
        raise InputError(Problem(message, file=str(workload), field="workload"))
    tokens = [0, 0, 0]
    end_s = 0.0

    def pieces() -> Iterator[RequestBatch]:
        nonlocal end_s
        for batch in kind.batches(own_seed if seed is None else seed):
            batch = served_at(batch, assumed_tpot_ms / 1e3)
            columns = (batch.prompt_tokens, batch.thinking_tokens, batch.answer_tokens)
            for i, column in enumerate(columns):
                tokens[i] += int(column.sum())
            end_s = float(batch.arrival_s[-1]) if len(batch) else end_s
            yield batch

    written = write_trace(pieces(), out, target)
    click.echo(f"wrote  {out} ({target}): {written:,} requests in {end_s:,.0f} s")
    prompt, thinking, answer = (total / written for total in tokens)
    click.echo(f"mean tokens  prompt {prompt:,.0f}, thinking {thinking:,.0f}, answer {answer:,.0f}")
