"""`ponder models`: the model architectures that come with ponder."""

from __future__ import annotations

from dataclasses import asdict

import click

HEADINGS = {
    "name": "name",
    "parameters": "parameters",
    "layers": "layers",
    "kv_bytes_per_token": "KV bytes/token",
    "max_context_tokens": "context tokens",
    "aliases": "aliases",
}


@click.command("models")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def command(as_json: bool) -> None:
    """List the models that `model:` in an experiment can name, by name or alias.

    Any other dense model can be given by the path of its Hugging Face config.json.
    """
    from simulator.cli.catalogue import show
    from simulator.cost.architecture import list_models

    show([asdict(row) for row in list_models()], HEADINGS, as_json)
