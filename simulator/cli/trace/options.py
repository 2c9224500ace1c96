"""Options that several commands about traces have."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

import click

from simulator.errors import InputError, Problem

out = click.option(
    "-o",
    "--out",
    required=True,
    metavar="OUT",
    type=click.Path(path_type=Path),
    help="Where to write; .gz at the end compresses.",
)
target = click.option(
    "--to",
    "target",
    default="auto",
    metavar="FORMAT",
    help="jsonl, csv, parquet or mooncake [default: by the suffix of OUT].",
)


def finite(_: click.Context, __: click.Parameter, value: float | None) -> float | None:
    """Callback of an option: a number that is one."""
    if value is not None and not math.isfinite(value):
        raise click.BadParameter("must be a finite number")
    return value


def keep_inputs(out: Path, inputs: Iterable[Path]) -> None:
    """Raises InputError if `out` is one of the files that are read."""
    for path in inputs:
        if out.exists() and path.exists() and out.samefile(path):
            raise InputError(Problem("would overwrite what it is made from", file=str(out)))
