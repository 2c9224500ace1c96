"""Options that several commands about traces have."""

from __future__ import annotations

from pathlib import Path

import click

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
