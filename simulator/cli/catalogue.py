"""What `ponder models` and `ponder gpus` share: one list, as a table or as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click


def show(rows: Sequence[Mapping[str, Any]], headings: Mapping[str, str], as_json: bool) -> None:
    """Print `rows` as JSON, or the keys in `headings` as the columns of a table.

    `headings` is key -> heading; numbers are set to the right.
    """
    if as_json:
        click.echo(json.dumps([dict(row) for row in rows], indent=2))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    for key, heading in headings.items():
        numeric = all(_is_number(row[key]) for row in rows if row[key] is not None)
        table.add_column(heading, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_cell(row[key]) for key in headings))
    Console(width=None if sys.stdout.isatty() else 120).print(table)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, list | tuple):
        return "\n".join(map(str, value))
    return str(value)
