"""`ponder schema`: the JSON Schema of experiment files."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command("schema")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="File to write to.")
def command(out: Path | None) -> None:
    """Print the JSON Schema of experiment files.

    Editors with a YAML language server use it to complete keys, check values and show what a field
    means. Save it once and name it in the first line of an experiment:

    \b
        ponder schema --out ponder.schema.json
        # yaml-language-server: $schema=ponder.schema.json
    """
    from simulator.config.schema import experiment_schema

    text = json.dumps(experiment_schema(), indent=2, ensure_ascii=False)
    if out is None:
        click.echo(text)
        return
    try:
        out.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise click.FileError(str(out), error.strerror) from None
