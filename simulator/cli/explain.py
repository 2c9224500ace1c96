"""`ponder explain`: where one iteration's time and the GPUs' memory go."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click


@click.command("explain")
@click.argument("experiment", type=click.Path(path_type=Path))
@click.option("--pool", "name", metavar="NAME", help="Which pool [default: the only one].")
@click.option(
    "--batch",
    type=click.IntRange(min=0),
    metavar="N",
    help="Decoding requests [default: as many as fit].",
)
@click.option(
    "--context",
    type=click.IntRange(min=1),
    metavar="TOKENS",
    help="Context of each of them [default: 4096, or max_model_len].",
)
@click.option(
    "--prefill",
    type=click.IntRange(min=0),
    default=0,
    metavar="TOKENS",
    help="Prompt tokens of one more request in the same iteration.",
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="PATH=VALUE",
    help="Change one value, e.g. --set pools.main.tensor_parallel_size=2. May be given many times.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def command(
    experiment: Path,
    name: str | None,
    batch: int | None,
    context: int | None,
    prefill: int,
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """Take one iteration of a pool of the experiment in the YAML file EXPERIMENT apart.

    Prints what each part of it costs and what limits that part (memory bandwidth, arithmetic, the
    network, kernels too small to fill the GPU, the CPU), the memory budget of one GPU, and the
    largest batch that fits at growing context lengths. Nothing is simulated.
    """
    from simulator.config.loader import load_experiment
    from simulator.config.resolve import resolve_pool
    from simulator.errors import InputError
    from simulator.studies.explain import explain

    loaded = load_experiment(experiment, overrides)
    if name not in loaded.pools and (name is not None or len(loaded.pools) > 1):
        raise InputError(f"--pool: must be one of {', '.join(loaded.pools)}")
    pool = resolve_pool(*loaded.one_pool(name))
    try:
        explanation = explain(pool, batch=batch, context_tokens=context, prefill_tokens=prefill)
    except InputError as error:
        lines = [f"--{problem.field}: {problem.message}" for problem in error.problems]
        raise InputError("\n".join(lines)) from None
    if as_json:
        click.echo(json.dumps(explanation.to_dict(), indent=2))
        return
    from rich.console import Console

    from simulator.studies.explain_tables import ExplanationTables

    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(ExplanationTables(explanation))
