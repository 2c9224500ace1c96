"""`ponder models`: the model architectures that come with ponder."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from simulator.cost.catalogue import ModelRow

HEADINGS = {
    "name": "name",
    "parameters": "parameters",
    "active": "active",
    "weights": "weights",
    "layers": "layers",
    "kv_bytes_per_token": "KV bytes\nper token",
    "max_context_tokens": "context\ntokens",
    "aliases": "also known as (and with the organisation's name)",
}


@click.command("models")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def command(as_json: bool) -> None:
    """List the models that `model:` in an experiment can name, by name or alias.

    "Active" parameters are those that one token is computed with. Aliases in brackets are
    checkpoints with other weights. Any other model of these families can be given by the path of
    its Hugging Face config.json.
    """
    from simulator.cli.catalogue import show
    from simulator.cost.catalogue import list_models

    rows = list_models()
    show([asdict(row) if as_json else _row(row) for row in rows], HEADINGS, as_json)


def _row(row: ModelRow) -> dict[str, object]:
    """A row of the table, with what does not fit a terminal left out."""
    same: list[str] = []
    others: list[str] = []
    for alias in row.aliases:
        short = alias.rsplit("/", 1)[-1]
        if short.lower() != row.name and short not in same + others:
            (same if alias not in row.other_weights else others).append(short)
    return asdict(row) | {
        "parameters": f"{row.parameters / 1e9:.1f} B",
        "active": f"{row.active_parameters / 1e9:.1f} B",
        "aliases": ", ".join(same) + (f" (+ {', '.join(others)})" if others else ""),
    }
